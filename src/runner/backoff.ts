/** Growing waits with jitter, so that many runners do not come back to a recovering source in one moment. */

const BASE_MS = 100;
const MAX_MS = 2000;

/** Doubles from 100 ms to 2 s; each wait is somewhere between half of that and all of it. */
export class Backoff {
  readonly #random: () => number;
  #failures = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** Milliseconds to wait after one more failure. */
  next(): number {
    const ceiling = Math.min(MAX_MS, BASE_MS * 2 ** this.#failures);
    this.#failures += 1;
    return ceiling * (0.5 + this.#random() / 2);
  }

  reset(): void {
    this.#failures = 0;
  }
}
