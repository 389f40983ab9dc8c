/** A whole system of processes for one test: Redis, supervisors, runners, one data directory, and the command line. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { runLine } from "./command-line.ts";
import { type Ran, RunningProgram, type RunOptions, runProgram } from "./program.ts";
import { type RedisOptions, startRedis } from "./redis.ts";

/** Short leases, so that a vanished runner is noticed within a test (spec: faults, "Method"). */
const SETTINGS = `
[jobs]
lease_ms = 2000
reap_interval_ms = 250
retry_base_ms = 100
retry_max_ms = 200
`;

type LineOptions = Pick<RunOptions, "env" | "input">;

export interface System extends AsyncDisposable {
  readonly directory: string;
  readonly dataDirectory: string;
  readonly redis: Awaited<ReturnType<typeof startRedis>>;
  /** Address of the first supervisor. */
  readonly url: string;
  startSupervisor(
    args?: readonly string[],
    env?: Readonly<Record<string, string>>,
  ): Promise<{ program: RunningProgram; url: string }>;
  startRunner(name: string, args?: readonly string[], env?: Readonly<Record<string, string>>): Promise<RunningProgram>;
  /** Runs a command in this process, with the system's address and data directory. */
  run(args: readonly string[], options?: LineOptions): Promise<Ran>;
  /** The same as a process of its own, which costs a start. */
  runProgram(args: readonly string[], options?: LineOptions): Promise<Ran>;
  /** Runs a command that prints JSON and parses it. @throws Error with its output when it failed */
  json(args: readonly string[], options?: LineOptions): Promise<Record<string, unknown>>;
}

/** Starts Redis and one supervisor; `await using` stops everything in reverse. */
export async function startSystem(settings = SETTINGS, redisOptions: RedisOptions = {}): Promise<System> {
  const directory = await mkdtemp(join(tmpdir(), "horus-e2e-"));
  const dataDirectory = join(directory, "data");
  const configFile = join(directory, "supervisor.toml");
  await writeFile(configFile, settings);
  const redis = await startRedis(redisOptions);
  const programs: RunningProgram[] = [];
  const env = { SUPERVISOR_REDIS_URL: redis.url, SUPERVISOR_DATA_DIR: dataDirectory };
  let url = "";

  const inSystem = (options: LineOptions = {}): LineOptions => ({
    ...options,
    env: { ...env, SUPERVISOR_URL: url, ...options.env },
  });
  const run: System["run"] = async (args, options) => runLine(args, inSystem(options));

  const startSupervisor: System["startSupervisor"] = async (args = [], extra = {}) => {
    const port = args.includes("--port") ? [] : ["--port", "0"];
    const program = new RunningProgram(["--config", configFile, ...port, ...args], {
      env: { ...env, ...extra },
      cwd: directory,
    });
    programs.push(program);
    const [, found = ""] = await program.waitFor(/"(http:\/\/127\.0\.0\.1:\d+)\/?"/u);
    return { program, url: found };
  };

  const system: System = {
    directory,
    dataDirectory,
    redis,
    get url() {
      return url;
    },
    startSupervisor,
    run,
    runProgram: async (args, options) => runProgram(args, inSystem(options)),
    async startRunner(name, args = ["--exec", "bash -s"], extra = {}) {
      const program = new RunningProgram(["runner", "start", name, "--config", configFile, ...args], {
        env: { ...env, SUPERVISOR_URL: url, ...extra },
        cwd: directory,
      });
      programs.push(program);
      await program.waitFor(/"event":"runner_started"/u);
      return program;
    },
    async json(args, options) {
      const ran = await run([...args, "--json"], options);
      if (ran.stdout === "") throw new Error(`supervisor ${args.join(" ")} failed: ${ran.stderr}`);
      return asObject(JSON.parse(ran.stdout));
    },
    async [Symbol.asyncDispose]() {
      for (const program of programs.toReversed()) await program.stop("SIGKILL");
      await redis.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
  try {
    ({ url } = await startSupervisor());
  } catch (error) {
    await system[Symbol.asyncDispose]();
    throw error;
  }
  return system;
}

function asObject(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw new Error(`Not an object: ${JSON.stringify(value)}`);
  return { ...value };
}
