/** A child process of the demo: started in its own group, stopped gently, then by force; its last words kept. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** Time to end after SIGTERM, in ms. */
const STOP_MS = 12_000;
const KEPT_LINES = 20;

export interface ChildOptions {
  /** Program and arguments. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Hears each line it writes; the last ones are kept in any case, to say why it failed. */
  readonly onLine?: ((line: string) => void) | undefined;
}

export class Child {
  readonly name: string;
  readonly #process: ChildProcess;
  readonly #lines: string[] = [];
  readonly #onLine: (line: string) => void;

  constructor(name: string, { argv, env, cwd, onLine = () => undefined }: ChildOptions) {
    this.name = name;
    this.#onLine = onLine;
    const [program = "", ...words] = argv;
    // A group of its own: Ctrl-C goes to the demo alone, which stops its children in order.
    this.#process = spawn(program, words, { detached: true, stdio: ["ignore", "pipe", "pipe"], env: { ...env }, cwd });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on("line", (line) => this.#keep(line));
    }
    this.#process.on("error", (error) => this.#keep(error.message));
  }

  /** Process id, which is its group's as well; undefined where it could not be started. */
  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Still running? */
  get isUp(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null && this.#process.pid !== undefined;
  }

  /** The last lines it wrote. */
  get lastWords(): string {
    return this.#lines.join("\n");
  }

  /** Resolves when it has ended, whatever the reason. */
  async ended(signal: AbortSignal): Promise<void> {
    if (this.isUp) await once(this.#process, "exit", { signal });
  }

  /** SIGTERM, then after a deadline SIGKILL to its group; resolves when it is gone. */
  async stop(): Promise<void> {
    const { pid } = this.#process;
    if (pid === undefined || !this.isUp) return;
    const exited = once(this.#process, "exit");
    this.#process.kill("SIGTERM");
    const timer = setTimeout(() => process.kill(-pid, "SIGKILL"), STOP_MS);
    await exited;
    clearTimeout(timer);
  }

  #keep(line: string): void {
    if (line === "") return;
    this.#lines.push(line);
    this.#lines.splice(0, Math.max(0, this.#lines.length - KEPT_LINES));
    this.#onLine(line);
  }
}
