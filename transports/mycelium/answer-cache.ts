/** Final answers kept for repeats: the same bytes from the same node are not executed again. */

/** Bounds of an {@link AnswerCache}. */
export interface AnswerCacheOptions {
  /** Default 10 minutes, longer than any signed call over this carrier is valid. */
  readonly ttlMs?: number;
  /** Default 1,000 answers. */
  readonly maxEntries?: number;
  /** Default 16 MiB. */
  readonly maxBytes?: number;
  /** Milliseconds of a clock that never runs backwards. Default `performance.now`. */
  readonly now?: () => number;
}

/** An answer with what bounds it: the node it went to, the keys whose rights it rests on. */
export interface CachedAnswer {
  readonly node: string;
  readonly keys: readonly string[];
  readonly principal: string;
  readonly bytes: Uint8Array;
}

interface Entry extends CachedAnswer {
  readonly expiresAt: number;
}

interface Share {
  entries: number;
  bytes: number;
}

const DEFAULT_TTL_MS = 600_000;
const DEFAULT_MAX_ENTRIES = 1_000;
const DEFAULT_MAX_BYTES = 16 * 1024 * 1024;
/** No node may hold more than this part of it, so that none can push out what others will ask for again. */
const NODE_SHARE = 1 / 4;

/** Bounded in time, number and bytes, and for each node; the oldest of the one who wants more makes room. */
export class AnswerCache {
  readonly #ttlMs: number;
  readonly #maxEntries: number;
  readonly #maxBytes: number;
  readonly #now: () => number;
  /** Oldest first: all live equally long. */
  readonly #entries = new Map<string, Entry>();
  readonly #shares = new Map<string, Share>();
  #bytes = 0;
  #revocations = 0;

  constructor(options: AnswerCacheOptions = {}) {
    this.#ttlMs = options.ttlMs ?? DEFAULT_TTL_MS;
    this.#maxEntries = options.maxEntries ?? DEFAULT_MAX_ENTRIES;
    this.#maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES;
    this.#now = options.now ?? (() => performance.now());
  }

  get size(): number {
    return this.#entries.size;
  }

  /** How many revocations there were: an answer begun before one may rest on rights that have ended. */
  get revocations(): number {
    return this.#revocations;
  }

  get(digest: string): CachedAnswer | undefined {
    this.#expire();
    return this.#entries.get(digest);
  }

  /**
   * Keeps an answer.
   * @param since {@link revocations} when its execution began; the answer is not kept when there was one in between
   */
  set(digest: string, answer: CachedAnswer, since: number): void {
    if (since !== this.#revocations || answer.bytes.length > this.#maxBytes * NODE_SHARE) {
      return;
    }
    this.#expire();
    this.#drop(digest);
    while (this.#isShareFull(answer)) {
      this.#dropOldest(({ node }) => node === answer.node);
    }
    while (this.#entries.size >= this.#maxEntries || this.#bytes + answer.bytes.length > this.#maxBytes) {
      this.#dropOldest(() => true);
    }
    this.#entries.set(digest, { ...answer, expiresAt: this.#now() + this.#ttlMs });
    this.#count(answer, 1);
  }

  /** Forgets every answer that rests on `key`. */
  revoke(key: string): void {
    this.#revocations += 1;
    for (const [digest, entry] of this.#entries) {
      if (entry.keys.includes(key)) {
        this.#drop(digest);
      }
    }
  }

  #isShareFull(answer: CachedAnswer): boolean {
    const share = this.#shares.get(answer.node) ?? { entries: 0, bytes: 0 };
    return (
      share.entries >= Math.max(1, this.#maxEntries * NODE_SHARE) ||
      share.bytes + answer.bytes.length > this.#maxBytes * NODE_SHARE
    );
  }

  #expire(): void {
    const now = this.#now();
    for (const [digest, entry] of this.#entries) {
      if (entry.expiresAt > now) {
        return;
      }
      this.#drop(digest);
    }
  }

  #dropOldest(isMeant: (entry: Entry) => boolean): void {
    for (const [digest, entry] of this.#entries) {
      if (isMeant(entry)) {
        this.#drop(digest);
        return;
      }
    }
  }

  #drop(digest: string): void {
    const entry = this.#entries.get(digest);
    if (entry !== undefined) {
      this.#entries.delete(digest);
      this.#count(entry, -1);
    }
  }

  #count(answer: CachedAnswer, sign: 1 | -1): void {
    const share = this.#shares.get(answer.node) ?? { entries: 0, bytes: 0 };
    share.entries += sign;
    share.bytes += sign * answer.bytes.length;
    this.#bytes += sign * answer.bytes.length;
    if (share.entries === 0) {
      this.#shares.delete(answer.node);
    } else {
      this.#shares.set(answer.node, share);
    }
  }
}
