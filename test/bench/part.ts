/** The parts of a bench that run as processes of their own, and the questions they are asked. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/** The program that holds every role; see run.ts. */
const RUN = fileURLToPath(new URL("run.js", import.meta.url));
const SUPERVISOR = fileURLToPath(new URL("../../bin/supervisor.js", import.meta.url));

/** What a process of a bench is started with beside its role. */
export interface PartOptions {
  /** A directory for the V8 profile it writes when it ends. */
  readonly profile?: string | undefined;
}

/** Stops a child and resolves when it is gone. */
async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  await gone;
}

function profiling({ profile }: PartOptions): string[] {
  return profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`];
}

/** A role of run.ts in a process of its own: it answers one question after the other. */
export class Part implements AsyncDisposable {
  readonly #role: string;
  readonly #child: ChildProcess;
  #ready: unknown;

  private constructor(role: string, child: ChildProcess) {
    this.#role = role;
    this.#child = child;
  }

  /** Resolves when it is ready. */
  static async start(role: string, settings: object, options: PartOptions = {}): Promise<Part> {
    const child = fork(RUN, [role, JSON.stringify(settings)], { execArgv: profiling(options) });
    const part = new Part(role, child);
    part.#ready = await part.#hear();
    return part;
  }

  /** What it said when it was ready. */
  get ready(): unknown {
    return this.#ready;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** @throws Error when the part refuses or ends. */
  async ask(question: object): Promise<unknown> {
    this.#child.send(question);
    return this.#hear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stopChild(this.#child);
  }

  async #hear(): Promise<unknown> {
    const answer = await new Promise<unknown>((resolve, reject) => {
      const onExit = (): void => reject(new Error(`${this.#role} ended (exit code ${this.#child.exitCode})`));
      this.#child.once("exit", onExit);
      this.#child.once("message", (message) => {
        this.#child.off("exit", onExit);
        resolve(message);
      });
    });
    if (typeof answer === "object" && answer !== null && "refusal" in answer) {
      throw new Error(`${this.#role}: ${String(answer.refusal)}`);
    }
    return answer;
  }
}

/** The other end: says that it is ready, then answers questions until the bench is over. */
export function answerQuestions(ready: object, answer: (question: unknown) => Promise<object>): void {
  process.on("message", (question) => {
    void (async () => {
      try {
        process.send?.(await answer(question));
      } catch (error) {
        process.send?.({ refusal: error instanceof Error ? error.message : String(error) });
      }
    })();
  });
  process.once("disconnect", () => process.exit(0));
  process.once("SIGTERM", () => process.exit(0));
  process.send?.(ready);
}

interface ProgramOptions extends PartOptions {
  readonly env: Readonly<Record<string, string>>;
}

/** Between two looks at a program's output, in ms. */
const LOOK_MS = 20;

/**
 * The supervisor's command line as a process. Its output goes into a file, as a service's does: a pipe would have this
 * process read every line while the load generator and the servers need the cores.
 */
export class Program implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #directory: string;

  private constructor(child: ChildProcess, directory: string) {
    this.#child = child;
    this.#directory = directory;
  }

  /** Runs a command to its end. @throws Error with its output when it failed. */
  static async run(args: readonly string[], options: ProgramOptions): Promise<void> {
    await using program = await Program.#spawn(args, options);
    if (program.#isUp) await once(program.#child, "exit");
    if (program.#child.exitCode !== 0) throw await program.#failure(args);
  }

  /** Starts one that goes on; resolves with it and the first match in its output. @throws Error when it ends before. */
  static async start(
    args: readonly string[],
    expected: RegExp,
    options: ProgramOptions,
  ): Promise<{ program: Program; match: RegExpExecArray }> {
    const program = await Program.#spawn(args, options);
    for (;;) {
      const match = expected.exec(await program.output());
      if (match !== null) return { program, match };
      if (!program.#isUp) {
        const failure = await program.#failure(args);
        await program[Symbol.asyncDispose]();
        throw failure;
      }
      await setTimeout(LOOK_MS);
    }
  }

  static async #spawn(args: readonly string[], options: ProgramOptions): Promise<Program> {
    const directory = await mkdtemp(join(tmpdir(), "horus-bench-output-"));
    await using file = await open(join(directory, "output"), "a");
    // Nothing of the machine's own settings gets in.
    const env = { PATH: process.env["PATH"], HOME: process.env["HOME"], ...options.env };
    const stdio = ["ignore", file.fd, file.fd] as const;
    const child = spawn(process.execPath, [...profiling(options), SUPERVISOR, ...args], { env, stdio: [...stdio] });
    return new Program(child, directory);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stopChild(this.#child);
    await rm(this.#directory, { recursive: true, force: true });
  }

  /** Everything it wrote, to either stream. */
  async output(): Promise<string> {
    return readFile(join(this.#directory, "output"), "utf8");
  }

  get #isUp(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async #failure(args: readonly string[]): Promise<Error> {
    return new Error(`supervisor ${args.join(" ")} ended:\n${await this.output()}`);
  }
}
