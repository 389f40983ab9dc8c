/** Token buckets by name: how often an address or a key may call. */

export interface RateLimiterOptions {
  /** Tokens that come back each second; more than 0. */
  readonly perSecond: number;
  /** Tokens a full bucket holds: what a caller may use at once. At least 1. */
  readonly burst: number;
  /** Buckets kept; strangers choose the names, so this bounds the memory they can take. */
  readonly maxEntries: number;
  /** UNIX ms. */
  readonly now: () => number;
}

/** Tokens that were asked for. */
export interface Charge {
  /** 0 when granted, else the ms until the same question is granted. */
  readonly waitMs: number;
  /** Gives back what was granted. Once. */
  giveBack(): void;
}

/** Times are sums of fractions of a ms at 10^12: differences below this are rounding. */
const ROUNDING_MS = 0.01;

/**
 * One bucket for each name, full when first asked for. Kept is the moment at which it is full again (the generic cell
 * rate algorithm); a bucket that is full is the same as none and dropped. When too many are in use, the one unused for
 * longest goes.
 */
export class RateLimiter {
  readonly #now: () => number;
  readonly #maxEntries: number;
  readonly #burst: number;
  readonly #msPerToken: number;
  /** UNIX ms at which each is full again, in order of last use. */
  readonly #fullAtMs = new Map<string, number>();

  constructor({ perSecond, burst, maxEntries, now }: RateLimiterOptions) {
    this.#now = now;
    this.#maxEntries = maxEntries;
    this.#burst = burst;
    this.#msPerToken = 1000 / perSecond;
  }

  /**
   * Takes `cost` tokens (1 unless told; more than `burst` counts as `burst`, else it could never be granted).
   * Gives 0 when granted, else the ms until the same question is granted; a refusal takes nothing.
   */
  take(key: string, cost = 1): number {
    const now = this.#now();
    const wholeMs = this.#burst * this.#msPerToken;
    // At most empty: after the clock was set back a bucket must not stay locked for as long.
    const fullAtMs = Math.min(Math.max(this.#fullAtMs.get(key) ?? now, now), now + wholeMs);
    const nextFullAtMs = fullAtMs + Math.min(cost, this.#burst) * this.#msPerToken;
    const waitMs = Math.max(0, Math.ceil(nextFullAtMs - now - wholeMs - ROUNDING_MS));
    this.#fullAtMs.delete(key);
    this.#fullAtMs.set(key, waitMs === 0 ? nextFullAtMs : fullAtMs);
    this.#evict(now);
    return waitMs;
  }

  /** As {@link take}, for what may turn out to cost nothing. */
  charge(key: string, cost = 1): Charge {
    const waitMs = this.take(key, cost);
    const paidAtMs = this.#fullAtMs.get(key) ?? 0;
    return { waitMs, giveBack: () => waitMs === 0 && this.#credit(key, cost, paidAtMs) };
  }

  /** What time has given back until now is not given a second time. */
  #credit(key: string, cost: number, paidAtMs: number): void {
    const fullAtMs = this.#fullAtMs.get(key);
    if (fullAtMs === undefined) return;
    const owedMs = Math.max(0, paidAtMs - this.#now());
    this.#fullAtMs.set(key, fullAtMs - Math.min(Math.min(cost, this.#burst) * this.#msPerToken, owedMs));
  }

  #evict(now: number): void {
    for (const [key, fullAtMs] of this.#fullAtMs) {
      if (fullAtMs > now && this.#fullAtMs.size <= this.#maxEntries) return;
      this.#fullAtMs.delete(key);
    }
  }
}
