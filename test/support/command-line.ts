/** The command line in this process: one line to its end, lines that go on, and a whole system of them on a real Redis. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { runCli } from "../../bin/cli.ts";
import type { Ran } from "./program.ts";
import { startRedis } from "./redis.ts";
import { RecordingTerminal, type TerminalWishes } from "./terminal.ts";

/** Runs one command line to its end. */
export async function runLine(argv: readonly string[], wishes: TerminalWishes = {}): Promise<Ran> {
  const terminal = new RecordingTerminal(wishes);
  const code = await runCli(argv, terminal);
  return { code, stdout: terminal.stdout, stderr: terminal.stderr };
}

/** A command line that goes on. */
export interface RunningLine {
  readonly terminal: RecordingTerminal;
  /** The exit code, once it has ended. */
  readonly ended: Promise<number>;
}

/** Starts a command line and leaves it running; whoever starts it interrupts it. */
export function startLine(argv: readonly string[], wishes: TerminalWishes = {}): RunningLine {
  const terminal = new RecordingTerminal(wishes);
  return { terminal, ended: runCli(argv, terminal) };
}

export interface Console extends AsyncDisposable {
  readonly directory: string;
  readonly dataDirectory: string;
  readonly url: string;
  readonly redis: Awaited<ReturnType<typeof startRedis>>;
  /** The environment of every line: this system's address, Redis and data directory. */
  readonly env: Readonly<Record<string, string>>;
  readonly supervisor: RunningLine;
  run(argv: readonly string[], wishes?: TerminalWishes): Promise<Ran>;
  /** Runs with `--json` and parses what was printed. */
  json(argv: readonly string[], wishes?: TerminalWishes): Promise<Record<string, unknown>>;
  /** Starts a line that is interrupted with the system. */
  start(argv: readonly string[], wishes?: TerminalWishes): RunningLine;
  /** Starts a runner with `bash -s` and waits until it takes jobs. */
  startRunner(name: string, args?: readonly string[]): Promise<RunningLine>;
}

/** Redis, and a supervisor started by its own command line on a free port. */
export async function startConsole(settings = ""): Promise<Console> {
  const directory = await mkdtemp(join(tmpdir(), "horus-console-"));
  const dataDirectory = join(directory, "data");
  const configFile = join(directory, "settings.toml");
  await writeFile(configFile, settings);
  const redis = await startRedis();
  const base = {
    PATH: process.env["PATH"] ?? "",
    HOME: directory,
    SUPERVISOR_REDIS_URL: redis.url,
    SUPERVISOR_DATA_DIR: dataDirectory,
  };
  const lines: RunningLine[] = [];
  const startIn = (env: Readonly<Record<string, string>>, argv: readonly string[], wishes: TerminalWishes = {}) => {
    const line = startLine(argv, { ...wishes, env: { ...env, ...wishes.env } });
    lines.push(line);
    return line;
  };
  const stop = async (): Promise<void> => {
    for (const { terminal, ended } of lines.toReversed()) {
      terminal.interrupt();
      await ended;
    }
    await redis.stop();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    const supervisor = startIn(base, ["--config", configFile, "--port", "0"]);
    const [, url = ""] = await untilWritten(supervisor, /"(http:\/\/127\.0\.0\.1:\d+)\/?"/u);
    const env = { ...base, SUPERVISOR_URL: url };
    const run = async (argv: readonly string[], wishes: TerminalWishes = {}): Promise<Ran> =>
      runLine(argv, { ...wishes, env: { ...env, ...wishes.env } });
    const start = (argv: readonly string[], wishes?: TerminalWishes): RunningLine => startIn(env, argv, wishes);
    return {
      directory,
      dataDirectory,
      url,
      redis,
      env,
      supervisor,
      run,
      start,
      async json(argv, wishes) {
        const { stdout, stderr } = await run([...argv, "--json"], wishes);
        if (stdout === "") throw new Error(`supervisor ${argv.join(" ")} printed nothing: ${stderr}`);
        const value: unknown = JSON.parse(stdout);
        return typeof value === "object" && value !== null ? { ...value } : { value };
      },
      async startRunner(name, args = []) {
        const line = start(["runner", "start", name, "--exec", "bash -s", ...args]);
        await untilWritten(line, /"event":"runner_started"/u);
        return line;
      },
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The first match in what it writes. @throws Error with what it wrote when it ends before that */
export async function untilWritten({ terminal, ended }: RunningLine, pattern: RegExp): Promise<RegExpExecArray> {
  const early = ended.then((code): never => {
    throw new Error(`It ended with ${code} without ${pattern.source}:\n${terminal.stdout}${terminal.stderr}`);
  });
  // Its end later on is no error of this wait.
  early.catch(() => undefined);
  return Promise.race([terminal.waitFor(pattern), early]);
}
