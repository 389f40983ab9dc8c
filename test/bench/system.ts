/** What the benches of the whole way share: a Redis, the supervisor as a process, a registered runner, a load generator. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Check } from "typebox/schema";

import { readSeed } from "../../src/auth/key-file.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { dataPaths } from "../../src/data-directory.ts";
import { assemble, type OnEnd } from "../support/assemble.ts";
import { type Load, LoadDone } from "./load.ts";
import { Part, Program } from "./part.ts";
import { RedisServer } from "./redis-server.ts";
import type { JobsFor } from "./signed-jobs.ts";

/** The runner's name in every bench. */
export const RUNNER = "bench";
/** Jobs at a time it is registered for. */
export const RUNNER_SLOTS = 64;

/** What every bench is told. */
export interface BenchOptions {
  /** Of one round. */
  readonly seconds: number;
  readonly rounds: number;
  /** Calls in flight. */
  readonly connections: number;
  /** Of the benches of scale; as many as are required unless told. */
  readonly jobs?: number;
  /** Where V8 profiles of the servers go. */
  readonly profile: string | undefined;
}

export interface System extends AsyncDisposable {
  readonly redis: RedisServer;
  readonly supervisor: { readonly pid: number; readonly port: number };
  readonly load: Part;
  readonly jobs: JobsFor;
  readonly dataDirectory: string;
  /** For the supervisor's command line. */
  readonly env: Readonly<Record<string, string>>;
}

/** Variables of the supervisor beside those of every bench. */
type Environment = Readonly<Record<string, string>>;

/** Starts all of it; `await using` stops it in reverse. */
export async function startSystem({ profile }: Pick<BenchOptions, "profile">, more: Environment = {}): Promise<System> {
  return assemble(async (onEnd) => startParts(onEnd, { profile, more }));
}

async function startParts(
  onEnd: OnEnd,
  { profile, more }: { readonly profile: string | undefined; readonly more: Environment },
): Promise<Omit<System, keyof AsyncDisposable>> {
  const directory = await mkdtemp(join(tmpdir(), "horus-bench-data-"));
  onEnd(async () => rm(directory, { recursive: true, force: true }));
  const redis = await RedisServer.start();
  onEnd(async () => redis[Symbol.asyncDispose]());
  const env = {
    SUPERVISOR_REDIS_URL: `unix://${redis.socket}`,
    SUPERVISOR_DATA_DIR: directory,
    // All calls come from one address: its limit is not what is measured.
    SUPERVISOR_RPC_ADDRESS_CALLS_PER_SECOND: "1000000",
    SUPERVISOR_RPC_ADDRESS_BURST: "1000000",
    // A connection has to wait for its turn, on a busy machine for long.
    SUPERVISOR_HTTP_KEEP_ALIVE_MS: "600000",
    ...more,
  };
  const { program, match } = await Program.start(["--port", "0"], /"http:\/\/127\.0\.0\.1:(\d+)\/?"/u, {
    env,
    profile,
  });
  onEnd(async () => program[Symbol.asyncDispose]());
  const port = Number(match[1]);
  const url = `http://127.0.0.1:${port}`;
  await Program.run(["runner", "register", RUNNER, "--slots", String(RUNNER_SLOTS), "--to", url], { env });
  const load = await Part.start("load", {});
  onEnd(async () => load[Symbol.asyncDispose]());
  const paths = dataPaths(directory);
  const jobs = {
    supervisor: createNativeSigner(await readSeed(paths.identity)).publicKey,
    seed: await readSeed(paths.owner),
    runner: RUNNER,
  };
  return {
    redis,
    supervisor: { pid: program.pid, port },
    load,
    jobs,
    dataDirectory: directory,
    env: { ...env, SUPERVISOR_URL: url },
  };
}

/** Has the load generator send; resolves when all of it was answered well. */
export async function sendLoad(load: Part, wanted: Load): Promise<LoadDone> {
  const done = await load.ask(wanted);
  if (!Check(LoadDone, done)) throw new TypeError(`load: ${JSON.stringify(done)}`);
  return done;
}
