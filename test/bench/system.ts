/** What the benches of the whole way share: a Redis, the supervisor as a process, a registered runner, a load generator. */
import { Check } from "typebox/schema";

import { assemble, type OnEnd } from "../support/assemble.ts";
import { type Load, LoadDone } from "./load.ts";
import { Part, Program } from "./part.ts";
import type { RedisServer } from "./redis-server.ts";
import type { JobsFor } from "./signed-jobs.ts";
import { type Environment, Site } from "./site.ts";

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
  readonly env: Environment;
}

/** Starts all of it; `await using` stops it in reverse. */
export async function startSystem({ profile }: Pick<BenchOptions, "profile">, more: Environment = {}): Promise<System> {
  return assemble(async (onEnd) => startParts(onEnd, { profile, more }));
}

async function startParts(
  onEnd: OnEnd,
  { profile, more }: { readonly profile: string | undefined; readonly more: Environment },
): Promise<Omit<System, keyof AsyncDisposable>> {
  const site = await Site.start(onEnd, more);
  const supervisor = await site.startSupervisor({ profile });
  const env = { ...site.env, SUPERVISOR_URL: `http://127.0.0.1:${supervisor.port}` };
  await Program.run(["runner", "register", RUNNER, "--slots", String(RUNNER_SLOTS)], { env });
  const load = await Part.start("load", {});
  onEnd(async () => load[Symbol.asyncDispose]());
  const { redis, dataDirectory } = site;
  return { redis, supervisor, load, jobs: await site.jobsFor(RUNNER), dataDirectory, env };
}

/** Has the load generator send; resolves when all of it was answered well. */
export async function sendLoad(load: Part, wanted: Load): Promise<LoadDone> {
  const done = await load.ask(wanted);
  if (!Check(LoadDone, done)) throw new TypeError(`load: ${JSON.stringify(done)}`);
  return done;
}
