/** The built program on a terminal of its own, with the test at its keyboard: `script` makes the terminal. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

import { PROGRAM } from "./program.ts";
import { waitUntil } from "./wait.ts";

export class PseudoTerminal {
  readonly #child: ChildProcess;
  #shown = "";

  /** Runs the program with these words; `before` is what stands before it in the shell's line, such as `echo x |`. */
  constructor(words: readonly string[], { env, before = "exec" }: { env: Record<string, string>; before?: string }) {
    const line = [...PROGRAM, ...words].map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`).join(" ");
    this.#child = spawn("script", ["--quiet", "--flush", "--return", "--command", `${before} ${line}`, "/dev/null"], {
      env: { PATH: process.env["PATH"], HOME: process.env["HOME"], SHELL: "/bin/sh", TERM: "dumb", ...env },
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => (this.#shown += text));
    // It may have ended before the last key.
    this.#child.stdin?.on("error", () => undefined);
  }

  /** All that stood on the screen so far. */
  get shown(): string {
    return this.#shown;
  }

  /** What of the pattern stands on the screen, once it does. */
  async waitFor(pattern: RegExp): Promise<RegExpExecArray> {
    return waitUntil(() => {
      const found = pattern.exec(this.#shown);
      if (found === null && this.#child.exitCode !== null) {
        throw new Error(`It ended without ${pattern.source}:\n${this.#shown}`);
      }
      return found;
    });
  }

  type(keys: string): void {
    this.#child.stdin?.write(keys);
  }

  /** The exit code, once it has ended. */
  async ended(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "close");
    return this.#child.exitCode;
  }

  /** At the end of a test, however it went. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }
}
