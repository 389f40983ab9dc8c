/** How far a long run has come, on standard error: one line that changes on a terminal, a line for each stage elsewhere. */

/** Between two changes of the line, in ms. */
const EVERY_MS = 500;

export class Progress {
  readonly #name: string;
  #stage = "";
  #toldMs = 0;

  constructor(name: string) {
    this.#name = name;
  }

  /** What is done at present, and how much of it is done. */
  tell(stage: string, done = ""): void {
    const isNew = stage !== this.#stage;
    this.#stage = stage;
    if (!process.stderr.isTTY) {
      if (isNew) process.stderr.write(`${this.#name}: ${stage}\n`);
      return;
    }
    const now = performance.now();
    if (!isNew && now - this.#toldMs < EVERY_MS) return;
    this.#toldMs = now;
    process.stderr.write(`\r\u001B[K${this.#name}: ${stage} ${done}`);
  }

  /** Leaves the terminal as it was. */
  end(): void {
    if (process.stderr.isTTY) process.stderr.write("\r\u001B[K");
  }
}
