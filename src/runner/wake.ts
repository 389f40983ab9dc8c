/** What a loop sleeps on: a time, or somebody who rings. */

/** One loop waits, anybody rings. A ring while nobody waits is kept for the next wait, so none falls into a gap. */
export class Wake {
  #isRung = false;
  #resume: (() => void) | undefined;

  ring(): void {
    this.#isRung = true;
    this.#resume?.();
  }

  /** Resolves when rung, or after `ms` where they are given. */
  async wait(ms?: number): Promise<void> {
    if (!this.#isRung) {
      await new Promise<void>((resolve) => {
        const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
        this.#resume = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#resume = undefined;
    }
    this.#isRung = false;
  }
}

/** Resolves after `ms`, or as soon as the signal aborts; never rejects. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted === true) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
    function done(): void {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
  });
}

/**
 * The promise's own outcome, unless it takes longer than `ms`.
 * @throws Error naming what took too long; what the promise does later is ignored.
 */
export async function withDeadline<Value>(promise: Promise<Value>, ms: number, what: string): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: no answer within ${Math.round(ms)} ms`)), ms);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/** Many wait for the next beat; a beat while nobody waits is forgotten. */
export class Pulse {
  readonly #waiting = new Set<() => void>();

  beat(): void {
    for (const resume of this.#waiting) resume();
    this.#waiting.clear();
  }

  /** True at the next beat, false when `ms` have passed without one. */
  async next(ms: number): Promise<boolean> {
    return new Promise<boolean>((resolve) => {
      const resume = (): void => {
        clearTimeout(timer);
        resolve(true);
      };
      const giveUp = (): void => {
        this.#waiting.delete(resume);
        resolve(false);
      };
      // Thawed after a freeze, timers come first: a beat that is on its way is heard before it is missed.
      const timer = setTimeout(() => setImmediate(giveUp), ms);
      this.#waiting.add(resume);
    });
  }
}
