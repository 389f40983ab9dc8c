/** Deadlines of many calls that may all take the same time: one timer serves them, however many are on their way. */
import { DeadlineError } from "./redis-errors.ts";

interface Held {
  /** By `performance.now`. */
  readonly endsMs: number;
  readonly reject: (error: DeadlineError) => void;
}

export class Deadlines {
  readonly #ms: number;
  /** In the order they were taken, which is that of their ends. */
  readonly #held = new Set<Held>();
  #timer: NodeJS.Timeout | undefined;

  constructor(ms: number) {
    this.#ms = ms;
  }

  /** Rejects with {@link DeadlineError} when the work takes longer; the work itself goes on, unheard. */
  async hold<Value>(work: Promise<Value>): Promise<Value> {
    return new Promise((resolve, reject) => {
      const held = { endsMs: performance.now() + this.#ms, reject };
      this.#held.add(held);
      if (this.#timer === undefined) this.#wait(this.#ms);
      work.then(
        (value) => {
          this.#held.delete(held);
          return resolve(value);
        },
        (error: unknown) => {
          this.#held.delete(held);
          reject(error);
        },
      );
    });
  }

  /** Holds no process: what is waited for does. */
  #wait(ms: number): void {
    this.#timer = setTimeout(() => this.#look(), ms).unref();
  }

  #look(): void {
    this.#timer = undefined;
    const nowMs = performance.now();
    for (const held of this.#held) {
      if (held.endsMs > nowMs) {
        this.#wait(held.endsMs - nowMs);
        return;
      }
      this.#held.delete(held);
      held.reject(new DeadlineError(this.#ms));
    }
  }
}
