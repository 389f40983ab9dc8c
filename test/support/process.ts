/** Programs as processes: run to their end, or started, watched and stopped. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProcessOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
}

/** Runs a program to its end. `argv` is program and arguments. */
export async function runProcess(argv: readonly string[], options: ProcessOptions = {}): Promise<Ran> {
  const [program = "", ...words] = argv;
  const child = spawn(program, words, { env: { ...options.env }, cwd: options.cwd });
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output.stderr += text));
  child.stdin.on("error", () => undefined).end(options.input ?? "");
  await once(child, "close");
  return { code: child.exitCode, ...output };
}

/** A program that goes on; whoever starts it stops it. */
export class RunningProcess {
  readonly child: ChildProcess;
  #output = "";
  #stdout = "";
  #changed: () => void = () => undefined;

  constructor(argv: readonly string[], options: ProcessOptions & { readonly detached?: boolean } = {}) {
    const [program = "", ...words] = argv;
    this.child = spawn(program, words, {
      env: { ...options.env },
      cwd: options.cwd,
      stdio: ["ignore", "pipe", "pipe"],
      detached: options.detached ?? false,
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#output += text;
        if (stream === this.child.stdout) this.#stdout += text;
        this.#changed();
      });
    }
    this.child.on("exit", () => this.#changed());
  }

  /** Everything it wrote, to either stream. */
  get output(): string {
    return this.#output;
  }

  /** What it wrote to stdout alone. */
  get stdout(): string {
    return this.#stdout;
  }

  get isUp(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Resolves with the first match in its output, from a position on. @throws Error when it ends before that. */
  async waitFor(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.#output.slice(from));
      if (match !== null) return match;
      if (!this.isUp) throw new Error(`It ended without ${pattern.source}:\n${this.#output}`);
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  /** Sends a signal and resolves with exit code or signal when it is gone. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | NodeJS.Signals | null> {
    if (this.isUp) {
      const gone = once(this.child, "exit");
      this.child.kill(signal);
      await gone;
    }
    return this.child.exitCode ?? this.child.signalCode;
  }

  /** Sends a signal to its whole group, as a terminal does; it must have been started detached. */
  signalGroup(signal: NodeJS.Signals): void {
    if (this.child.pid !== undefined) process.kill(-this.child.pid, signal);
  }
}

/** Processes whose command line contains this text; of them, the children of a parent where one is named. */
export function pidsOf(text: string, parent?: number): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/u.test(name))
    .filter((pid) => seenIn(pid, "cmdline").replaceAll("\0", " ").includes(text))
    .filter((pid) => parent === undefined || parentOf(seenIn(pid, "stat")) === parent)
    .map(Number);
}

/** Empty where the process has gone meanwhile. */
function seenIn(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
}

/** proc(5): the second number after the name, which stands in parentheses and may hold anything. */
function parentOf(stat: string): number {
  return Number(stat.slice(stat.lastIndexOf(")")).split(" ")[2]);
}
