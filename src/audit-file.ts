/** The audit trail's own file: appended to, closed to others, and opened again when it was moved away. */
import { closeSync, openSync, writeSync } from "node:fs";

import { errorText } from "./errors.ts";
import type { LogDestination } from "./log.ts";

/**
 * Each line is handed to the system before the next decision is made, so that a crash loses none. A file that can not be
 * written does not stop the supervisor: it becomes `problem`, for health and for whoever looks.
 */
export class AuditFile implements LogDestination {
  readonly #path: string;
  #file: number | undefined;
  #problem: string | undefined;

  /** @throws Error naming the file and the fix: a trail that was asked for and can not be kept refuses the start. */
  constructor(path: string) {
    this.#path = path;
    this.#open();
    if (this.#problem !== undefined) throw new Error(this.#problem);
  }

  /** Why lines are lost at the moment; undefined: none are. */
  get problem(): string | undefined {
    return this.#problem;
  }

  write(text: string): void {
    if (this.#file === undefined) return;
    try {
      writeSync(this.#file, text);
      this.#problem = undefined;
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Opens the path once more: whoever rotates logs moves the file away, then sends SIGHUP. */
  reopen(): void {
    this.close();
    this.#open();
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #open(): void {
    try {
      this.#file = openSync(this.#path, "a", 0o600);
      this.#problem = undefined;
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#problem = `--audit-log ${this.#path} can not be written (${errorText(error)}). Make room or mend its directory; a running supervisor opens it again on SIGHUP.`;
  }
}
