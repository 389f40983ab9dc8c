/** The system under test: a compiled copy of the program as two supervisors and three runners on one Redis. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { readSeed } from "../../src/auth/key-file.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import type { Signer } from "../../src/client/index.ts";
import { dataPaths } from "../../src/data-directory.ts";
import { killLeftovers } from "../../src/runner/leftovers.ts";
import type { Build } from "../bench/build.ts";
import { assemble, type OnEnd } from "../support/assemble.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { breakBuild } from "./breakages.ts";
import type { Victim, Victims } from "./faults.ts";
import { Member } from "./member.ts";

export interface ChaosSystemOptions {
  readonly leaseMs: number;
  /** Which part of the program is broken on purpose (see breakages.ts); none unless told. */
  readonly broken?: string;
  /** The compiled program, in which that is broken. */
  readonly built: Pick<Build, "directory">;
  /** Ends all waiting when the run is given up. */
  readonly signal: AbortSignal;
}

export interface ChaosSystem extends AsyncDisposable {
  readonly supervisors: readonly Member[];
  readonly runners: readonly Member[];
  /** These and Redis, as faults see them. */
  readonly victims: Victims;
  readonly redis: TestRedis;
  /** Signs jobs and calls as their owner. */
  readonly owner: Signer;
  /** The identity of both supervisors. */
  readonly supervisor: string;
  /** Every execution writes its lines there. */
  readonly executions: string;
}

/** The group of all runners. */
export const GROUP = "crew";
export const RUNNERS = ["runner-1", "runner-2", "runner-3"] as const;
const SUPERVISORS = ["supervisor-1", "supervisor-2"] as const;
/** Jobs at a time of each runner. */
const SLOTS = 8;

/** Starts all of it; `await using` leaves no process and no file behind. */
export async function startChaosSystem(options: ChaosSystemOptions): Promise<ChaosSystem> {
  return assemble(async (onEnd) => startParts(options, onEnd));
}

async function startParts(
  { leaseMs, broken, built, signal }: ChaosSystemOptions,
  onEnd: OnEnd,
): Promise<Omit<ChaosSystem, keyof AsyncDisposable>> {
  const directory = await mkdtemp(join(tmpdir(), "horus-chaos-"));
  onEnd(async () => rm(directory, { recursive: true, force: true }));
  if (broken !== undefined) await breakBuild(built.directory, broken);
  // What is acknowledged is on disk: a killed Redis has lost nothing of it.
  const redis = await startRedis({ aof: "always" });
  onEnd(async () => redis.stop());
  const place = { directory, program: join(built.directory, "bin/supervisor.js"), redis, signal };
  const settings = join(directory, "settings.toml");
  await writeFile(settings, settingsText(leaseMs));
  const supervisors = SUPERVISORS.map((name) => aSupervisor(name, settings, place));
  const runners = RUNNERS.map((name, index) => {
    const url = (): string => supervisors[index % supervisors.length]?.ready?.[1] ?? "";
    return aRunner(name, { settings, place, url });
  });
  onEnd(async () => {
    for (const member of [...runners, ...supervisors]) await member.kill();
    // Jobs are in process groups of their own; they are known by the directory in their environment.
    await killLeftovers(directory);
  });
  // The first one makes the identity and the keys that the other takes over.
  for (const supervisor of supervisors) await supervisor.start();
  await Promise.all(runners.map(async (runner) => runner.start()));
  const paths = dataPaths(join(directory, "data"));
  return {
    supervisors,
    runners,
    victims: { supervisors, runners, redis: aVictim(redis) },
    redis,
    owner: createNativeSigner(await readSeed(paths.owner)),
    supervisor: createNativeSigner(await readSeed(paths.identity)).publicKey,
    executions: join(directory, "executions"),
  };
}

interface Place {
  readonly directory: string;
  readonly program: string;
  readonly redis: TestRedis;
  readonly signal: AbortSignal;
}

/** Nothing of the machine's own settings gets in. */
function environment({ directory, redis }: Place): Readonly<Record<string, string | undefined>> {
  return {
    PATH: process.env["PATH"],
    HOME: directory,
    SUPERVISOR_REDIS_URL: redis.url,
    SUPERVISOR_DATA_DIR: join(directory, "data"),
  };
}

function aSupervisor(name: string, settings: string, place: Place): Member {
  return new Member({
    name,
    // A free port each time: nothing can have taken it while the process was away.
    argv: () => [process.execPath, place.program, "--config", settings, "--port", "0"],
    env: () => environment(place),
    cwd: place.directory,
    ready: /"(http:\/\/127\.0\.0\.1:\d+)\/?"/u,
    signal: place.signal,
  });
}

function aRunner(
  name: string,
  { settings, place, url }: { readonly settings: string; readonly place: Place; readonly url: () => string },
): Member {
  const words = ["runner", "start", name, "--group", GROUP, "--slots", String(SLOTS), "--exec", "bash -s"];
  return new Member({
    name,
    argv: () => [process.execPath, place.program, ...words, "--config", settings],
    env: () => ({ ...environment(place), SUPERVISOR_URL: url() }),
    cwd: place.directory,
    ready: /"event":"runner_started"/u,
    signal: place.signal,
  });
}

function aVictim(redis: TestRedis): Victim {
  return {
    name: "redis",
    kill: async () => redis.kill("SIGKILL"),
    start: async () => redis.restart(),
    freeze: async () => redis.kill("SIGSTOP"),
    thaw: async () => redis.kill("SIGCONT"),
  };
}

/** Short times, so that what vanished is noticed within a run (spec: faults, "Method"). */
function settingsText(leaseMs: number): string {
  return `
[redis]
durability = "always"
command_timeout_ms = ${Math.ceil(leaseMs / 2)}

[jobs]
lease_ms = ${leaseMs}
reap_interval_ms = ${Math.ceil(leaseMs / 8)}
retry_base_ms = 100
retry_max_ms = 200
`;
}
