/** The daemon's only lock: fair, and given back when the one who waits for it leaves. */

/** A mutex whose waiters are served in order. */
export class DaemonLock {
  #isTaken = false;
  readonly #waiters: (() => void)[] = [];

  /** Resolves with the way to give it back, or with undefined when `left` aborts first. */
  async acquire(left: AbortSignal): Promise<(() => void) | undefined> {
    if (this.#isTaken) {
      await new Promise<void>((resolve) => {
        this.#waiters.push(resolve);
      });
    }
    this.#isTaken = true;
    let isGiven = false;
    const release = (): void => {
      if (!isGiven) {
        isGiven = true;
        this.#isTaken = false;
        const next = this.#waiters.shift();
        // Taken on behalf of the next one at once, so that nobody slips in between.
        this.#isTaken = next !== undefined;
        next?.();
      }
    };
    if (left.aborted) {
      release();
      return undefined;
    }
    return release;
  }
}
