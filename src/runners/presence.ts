/** Which names are served at this moment, remembered for an instant: every admission asks, and the answer changes rarely. */

export interface PresenceOptions {
  /** Is a live runner there for this name? */
  isServed(name: string): Promise<boolean>;
  /** An answer is given again for this long, in ms. */
  readonly keepMs: number;
  /** UNIX ms. */
  readonly now: () => number;
}

interface Known {
  readonly answer: Promise<boolean>;
  readonly askedMs: number;
}

/** Names remembered; they are registered ones, so a node with more of them only asks more often. */
const MAX_NAMES = 1000;

/**
 * Answers from memory while an answer is young, else asks once for all who want to know. It informs callers
 * (`runner_online`) and decides nothing: evidence of life is itself older than `keepMs`, a heartbeat's age.
 */
export class Presence {
  readonly #options: PresenceOptions;
  readonly #known = new Map<string, Known>();

  constructor(options: PresenceOptions) {
    this.#options = options;
  }

  /** @throws what `isServed` throws; a failure is not remembered. */
  isServed(name: string): Promise<boolean> {
    const { keepMs, now } = this.#options;
    const known = this.#known.get(name);
    // A clock that was set back must not keep an answer for hours.
    const ageMs = known === undefined ? 0 : now() - known.askedMs;
    if (known !== undefined && ageMs >= 0 && ageMs < keepMs) return known.answer;
    return this.#ask(name);
  }

  #ask(name: string): Promise<boolean> {
    if (this.#known.size >= MAX_NAMES) this.#known.clear();
    const asked = { answer: this.#options.isServed(name), askedMs: this.#options.now() };
    this.#known.set(name, asked);
    asked.answer.catch(() => {
      if (this.#known.get(name) === asked) this.#known.delete(name);
    });
    return asked.answer;
  }
}
