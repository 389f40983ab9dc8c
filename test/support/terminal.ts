/** A terminal that records: what a command wrote, with the person's keys (input, Ctrl-C, SIGHUP) in the test's hand. */
import type { Terminal } from "../../bin/terminal.ts";
import { PROGRAM } from "./program.ts";

export interface TerminalWishes {
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Standard input; undefined: a keyboard, where nobody piped anything. */
  readonly input?: string;
  readonly isInteractive?: boolean;
  /** What a person at the keyboard types when asked, some time later where it is a promise; absent: nobody is there. */
  readonly answer?: string | Promise<string>;
  readonly colours?: Partial<Terminal["colours"]>;
}

export class RecordingTerminal implements Terminal {
  readonly isInteractive: boolean;
  readonly colours: Terminal["colours"];
  readonly ask?: (question: string) => Promise<string>;
  readonly env: Terminal["env"];
  readonly program = PROGRAM;
  stdout = "";
  stderr = "";
  readonly #stop = new AbortController();
  readonly #reloads = new Set<() => void>();
  readonly #input: string | undefined;
  #changed: () => void = () => undefined;

  constructor({ env = {}, input, isInteractive = false, answer, colours }: TerminalWishes = {}) {
    if (answer !== undefined) {
      this.ask = async (question) => {
        this.err(question);
        return answer;
      };
    }
    this.env = env;
    this.#input = input;
    this.isInteractive = isInteractive;
    this.colours = { out: false, err: false, ...colours };
  }

  get stop(): AbortSignal {
    return this.#stop.signal;
  }

  /** Commands that hear SIGHUP at the moment. */
  get reloadListeners(): number {
    return this.#reloads.size;
  }

  // Arrow functions: commands pass a terminal on as `{ ...terminal, stop }`.
  readonly out = (text: string): void => {
    this.stdout += text;
    this.#changed();
  };

  readonly err = (text: string): void => {
    this.stderr += text;
    this.#changed();
  };

  readonly readInput = async (): Promise<string | undefined> => this.#input;

  readonly onReload = (callback: () => void): (() => void) => {
    this.#reloads.add(callback);
    return () => this.#reloads.delete(callback);
  };

  /** Ctrl-C. */
  interrupt(): void {
    this.#stop.abort("SIGINT");
  }

  /** SIGHUP. */
  hangUp(): void {
    for (const reload of this.#reloads) reload();
  }

  /** Resolves with the first match in what was written to either stream. */
  async waitFor(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.stderr) ?? pattern.exec(this.stdout);
      if (match !== null) return match;
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }
}
