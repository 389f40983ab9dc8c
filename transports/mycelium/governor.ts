/** Bounds how many messages a daemon is given: each stays in its outbox for ten minutes and slows all others. */

/** How fast messages may leave. */
export interface GovernorOptions {
  /** Sustained messages a second. Default 12: at more a daemon comes to a third of a core within ten minutes. */
  readonly perSecond?: number;
  /** Messages that may leave at once after a pause. Default 200. */
  readonly burst?: number;
  /** Milliseconds of a clock that never runs backwards. Default `performance.now`. */
  readonly now?: () => number;
}

/** Options of a rate that may be left to the default. */
export function governorOptions(perSecond: number | undefined): GovernorOptions {
  return perSecond === undefined ? {} : { perSecond };
}

interface Waiter {
  readonly grant: () => void;
}

const DEFAULT_PER_SECOND = 12;
const DEFAULT_BURST = 200;

/**
 * A token bucket whose waiters are served in order. One governor belongs to one daemon: everything in this process
 * that sends through that daemon shares it.
 */
export class Governor {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #now: () => number;
  readonly #waiters: Waiter[] = [];
  #tokens: number;
  #filledAt: number;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: GovernorOptions = {}) {
    this.#perMs = (options.perSecond ?? DEFAULT_PER_SECOND) / 1000;
    this.#burst = options.burst ?? DEFAULT_BURST;
    this.#now = options.now ?? (() => performance.now());
    this.#tokens = this.#burst;
    this.#filledAt = this.#now();
  }

  /** Takes a token if one is there and nobody waits for it. */
  tryAcquire(): boolean {
    this.#fill();
    if (this.#waiters.length > 0 || this.#tokens < 1) {
      return false;
    }
    this.#tokens -= 1;
    return true;
  }

  /**
   * Resolves when a message may leave.
   * @throws the signal's reason when it aborts first; no token is spent then
   */
  acquire(signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) {
      return Promise.reject(toError(signal.reason));
    }
    if (this.tryAcquire()) {
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const give = (): void => {
        const index = this.#waiters.indexOf(waiter);
        this.#waiters.splice(index, 1);
        reject(toError(signal?.reason));
      };
      const waiter: Waiter = {
        grant: () => {
          signal?.removeEventListener("abort", give);
          resolve();
        },
      };
      signal?.addEventListener("abort", give, { once: true });
      this.#waiters.push(waiter);
      this.#schedule();
    });
  }

  #fill(): void {
    const now = this.#now();
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#filledAt) * this.#perMs);
    this.#filledAt = now;
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#waiters.length === 0) {
      return;
    }
    const waitMs = Math.max(1, Math.ceil((1 - this.#tokens) / this.#perMs));
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#fill();
      while (this.#tokens >= 1 && this.#waiters.length > 0) {
        this.#tokens -= 1;
        this.#waiters.shift()?.grant();
      }
      this.#schedule();
    }, waitMs);
  }
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error("stopped before a message could leave");
}
