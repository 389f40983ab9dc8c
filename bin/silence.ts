/** Says to a person who waits that nobody answers, once, and that somebody does again: the client repeats without a word. */

/** So long nobody wonders, ms. */
const PATIENCE_MS = 3000;

/**
 * The silence of one supervisor. States: *quiet* (nobody waits, or not for long), *waiting* (a timer runs), *failing* (a call
 * failed, and a shorter one runs), *told*; an answer to any call makes it quiet again.
 */
export class Silence {
  readonly #url: string;
  readonly #tell: (text: string) => void;
  #timer: NodeJS.Timeout | undefined;
  #isFailing = false;
  #isTold = false;

  constructor(url: string, tell: (text: string) => void) {
    this.#url = url;
    this.#tell = tell;
  }

  /** A call is on its way whose answer takes up to `ms` where all is well. */
  waits(ms: number): void {
    if (!this.#isFailing) this.#timer ??= this.#in(ms + PATIENCE_MS);
  }

  /** A call came back without an answer, and will be repeated. */
  failed(): void {
    if (this.#isFailing) return;
    clearTimeout(this.#timer);
    this.#isFailing = true;
    this.#timer = this.#in(PATIENCE_MS);
  }

  answered(): void {
    const wasTold = this.#isTold;
    this.end();
    if (wasTold) this.#tell(`${this.#url} answers again`);
  }

  /** Nobody waits any more. */
  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isFailing = false;
    this.#isTold = false;
  }

  #in(ms: number): NodeJS.Timeout {
    return setTimeout(() => {
      if (this.#isTold) return;
      this.#isTold = true;
      this.#tell(`no answer from ${this.#url} since ${clock(PATIENCE_MS)}; trying on`);
    }, ms).unref();
  }
}

/** The local time of so many ms ago, as HH:MM:SS. */
function clock(agoMs: number): string {
  return new Date(Date.now() - agoMs).toTimeString().slice(0, 8);
}
