/** A storm over the overlay: links that lose, repeat, reorder, delay and part, daemons and supervisors that are killed. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { RpcError } from "../../src/client/index.ts";
import { CarrierError } from "../../src/errors.ts";
import { TERMINAL_STATES } from "../../src/rpc/schema.ts";
import { RedisKeys } from "../../src/store/redis-keys.ts";
import { STEPS } from "./dying-daemon.ts";
import { MortalSupervisor } from "./mortal-supervisor.ts";
import type { SimulatedDaemon } from "./mycelium-daemon.ts";
import { SimulatedOverlay } from "./mycelium-overlay.ts";
import { anOverlayCaller, type Caller, registerRunner, startRunner } from "./overlay-system.ts";
import { startRedis, type TestRedis } from "./redis.ts";
import { seededRandom } from "./signing.ts";

/** How hard it gets. */
export interface Storm {
  /** One of them is the callers', each of the others has a supervisor; these share one Redis. */
  readonly nodes: number;
  readonly seed: number;
  readonly jobs: number;
  /** Jobs are sent in waves of so many. */
  readonly wave: number;
  readonly waveEveryMs: number;
  readonly partitionMs: number;
  /** A message may take up to so much longer than the next one. */
  readonly delaysUpToMs: number;
  /** Of one call. */
  readonly deadlineMs: number;
  readonly repeatAfterMs: number;
}

/** What became of one job's caller. */
export interface Outcome {
  readonly id: string;
  /** When the job was sent, after the storm's beginning. */
  readonly atMs: number;
  readonly ms: number;
  readonly error?: unknown;
}

/** What can be said after a storm; ids are sorted. */
export interface Aftermath {
  readonly outcomes: readonly Outcome[];
  /** Jobs in Redis, and how many admissions Redis has counted. */
  readonly admitted: readonly string[];
  readonly admissions: number;
  /** State of each job in Redis when all had ended, or none did any more. */
  readonly states: ReadonlyMap<string, string>;
  /** A line for each execution. */
  readonly ran: readonly string[];
  /** Blows that were dealt, and how many there were to deal. */
  readonly deeds: readonly string[];
  readonly blows: number;
}

/**
 * Bad links all the time, and one blow after the other while jobs are sent.
 * @param tell gets each blow that was dealt, in words
 */
export async function runStorm(storm: Storm, tell: (news: string) => void = () => undefined): Promise<Aftermath> {
  const run = await startRun(storm);
  try {
    const sending = sendJobs(run);
    const dealing = unleash(run, tell);
    const outcomes = await sending;
    tell("all jobs are settled");
    const deeds = await dealing;
    return { outcomes, ...deeds, ...(await look(run)) };
  } finally {
    await run.close();
  }
}

const RUNNER = "busy";
const ENDED: ReadonlySet<string> = new Set(TERMINAL_STATES);
/** A busy machine must not cost a lease: what runs twice here is the overlay's doing. */
const UNHURRIED = "[jobs]\nlease_ms = 120000\n";
/** No further job has ended for so long: none will. Longer than a lease, its reaping and a retry. */
const STANDSTILL_MS = 180_000;

/** Everything of one run. */
interface Run {
  readonly storm: Storm;
  readonly overlay: SimulatedOverlay;
  readonly daemons: readonly SimulatedDaemon[];
  readonly supervisors: readonly MortalSupervisor[];
  /** At the last node, one for each supervisor. */
  readonly callers: readonly Caller[];
  readonly redis: TestRedis;
  /** Each job writes its id there when it runs. */
  readonly file: string;
  readonly random: () => number;
  readonly startedMs: number;
  /** All jobs are sent and settled. */
  isOver: boolean;
  readonly close: () => Promise<void>;
}

async function startRun(storm: Storm): Promise<Run> {
  const { nodes, seed, repeatAfterMs } = storm;
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const each of closers.splice(0).toReversed()) await each();
  };
  try {
    const directory = await mkdtemp(join(tmpdir(), "horus-storm-"));
    closers.push(async () => rm(directory, { recursive: true, force: true }));
    const redis = await startRedis();
    closers.push(async () => redis.stop());
    const overlay = new SimulatedOverlay({ seed, link: { delayMs: 1 } });
    closers.push(async () => overlay.close());
    const daemons = [];
    while (daemons.length < nodes) daemons.push(await overlay.createNode());
    const supervisors = await startSupervisors(daemons.slice(0, -1), { redis, closers });
    const callers = await startCallers({ daemons, supervisors, closers, repeatAfterMs });
    const random = seededRandom(seed);
    const parts = {
      storm,
      overlay,
      daemons,
      supervisors,
      callers,
      redis,
      random,
      startedMs: performance.now(),
      isOver: false,
    };
    return { ...parts, file: join(directory, "ran"), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function startSupervisors(
  daemons: readonly SimulatedDaemon[],
  { redis, closers }: { readonly redis: TestRedis; readonly closers: (() => Promise<void>)[] },
): Promise<readonly MortalSupervisor[]> {
  const supervisors: MortalSupervisor[] = [];
  const keys = {
    alice: { roles: ["submitter"] as const },
    ops: { roles: ["registrar"] as const },
    [RUNNER]: { roles: ["runner"] as const },
  };
  for (const daemon of daemons) {
    const supervisor = await MortalSupervisor.start(daemon, { redis, keys, settings: UNHURRIED });
    closers.push(async () => supervisor[Symbol.asyncDispose]());
    supervisors.push(supervisor);
  }
  return supervisors;
}

interface CallersWish extends Pick<Run, "daemons" | "supervisors"> {
  readonly closers: (() => Promise<void>)[];
  readonly repeatAfterMs: number;
}

async function startCallers({ daemons, supervisors, closers, repeatAfterMs }: CallersWish): Promise<readonly Caller[]> {
  const from = daemons.at(-1);
  const [first] = supervisors;
  if (from === undefined || first === undefined) throw new Error("There is no node.");
  const callers = supervisors.map((supervisor, index) => {
    const about = { from, to: daemons[index] ?? from, node: supervisor.node, as: "alice" };
    return anOverlayCaller({ ...about, repeatAfterMs });
  });
  closers.push(async () => {
    for (const caller of callers) await caller[Symbol.asyncDispose]();
  });
  await registerRunner(first.node.client("ops"), { node: first.node, name: RUNNER });
  const runner = await startRunner(first.node, RUNNER, 8);
  closers.push(async () => runner[Symbol.asyncDispose]());
  return callers;
}

/** Jobs in waves, and now and then a call whose nonce can be used up; all of them to the end. */
async function sendJobs(run: Run): Promise<readonly Outcome[]> {
  const { storm, callers } = run;
  const sent: Promise<Outcome>[] = [];
  while (sent.length < storm.jobs) {
    for (let index = 0; index < storm.wave && sent.length < storm.jobs; index += 1) {
      const caller = callers[sent.length % callers.length];
      if (caller !== undefined) sent.push(submit(run, caller));
    }
    await sleep(storm.waveEveryMs);
  }
  const outcomes = await Promise.all(sent);
  run.isOver = true;
  return outcomes;
}

/** The job, and then a signed call about it: the first is repeatable by its id, the second only by a fresh nonce. */
async function submit({ file, startedMs: beginMs, storm: { deadlineMs } }: Run, caller: Caller): Promise<Outcome> {
  const { client } = caller;
  const signed = await caller.job(RUNNER, { payload: `echo "$HORUS_JOB_ID" >> '${file}'` });
  const { id } = signed.job;
  const startedMs = performance.now();
  const outcome = (error?: unknown): Outcome => {
    const times = { atMs: startedMs - beginMs, ms: performance.now() - startedMs };
    return error === undefined ? { id, ...times } : { id, ...times, error };
  };
  try {
    await client.call("create_job", signed, { deadlineMs });
  } catch (error) {
    return outcome(error);
  }
  const answered = outcome();
  const asked = await client.call("wait_job", { id, wait_ms: 0 }, { deadlineMs }).catch(settledError);
  // Whoever was told that the job is there finds it there.
  return asked instanceof RpcError && asked.code === -32004
    ? outcome(new Error(`${id} was admitted, then missing`))
    : answered;
}

function settledError(error: unknown): CarrierError | RpcError {
  if (error instanceof CarrierError || error instanceof RpcError) return error;
  throw error;
}

/** Ends when all blows are dealt or the jobs are settled. */
async function unleash(run: Run, tell: (news: string) => void): Promise<Pick<Aftermath, "deeds" | "blows">> {
  const { overlay, daemons, random, storm } = run;
  const links = daemons.flatMap((one, index) => daemons.slice(index + 1).map((other) => overlay.link(one, other)));
  const weather = { loss: 0.1, duplication: 0.2, reorderMs: storm.delaysUpToMs };
  for (const link of links) Object.assign(link, weather);
  const deeds: string[] = [];
  const all = blows(run, links);
  for (const [name, blow] of all) {
    if (run.isOver) break;
    await sleep(random() * storm.waveEveryMs);
    if (await blow()) {
      deeds.push(name);
      tell(name);
    }
  }
  return { deeds, blows: all.length };
}

type Blow = readonly [string, () => Promise<boolean>];

/** Each step of each supervisor, each daemon, and a partition, in an order that the seed gives. */
function blows(run: Run, links: readonly { isPartitioned: boolean }[]): readonly Blow[] {
  const { supervisors, daemons, random, storm } = run;
  const kills = supervisors.flatMap((supervisor, index) =>
    STEPS.map((step): Blow => {
      const kill = async (): Promise<boolean> => {
        const isDead = await supervisor.kill(step, () => !run.isOver);
        await sleep(random() * 500);
        if (isDead) await supervisor.revive();
        return isDead;
      };
      return [`supervisor ${index} killed at ${step}`, kill];
    }),
  );
  const restarts = daemons.map((daemon, index): Blow => {
    const restart = async (): Promise<boolean> => {
      await daemon.stop();
      await sleep(random() * 1000);
      await daemon.start();
      return true;
    };
    return [`daemon ${index} killed`, restart];
  });
  const part = async (): Promise<boolean> => {
    for (const link of links) link.isPartitioned = true;
    await sleep(storm.partitionMs);
    for (const link of links) link.isPartitioned = false;
    return true;
  };
  const all: readonly Blow[] = [...kills, ...restarts, ["all links parted", part]];
  const order = new Map(all.map((blow) => [blow, random()]));
  return all.toSorted((one, other) => (order.get(one) ?? 0) - (order.get(other) ?? 0));
}

/** Straight from Redis and the file, once every admitted job has ended, or none does any more. */
async function look({ redis, file }: Run): Promise<Pick<Aftermath, "admitted" | "admissions" | "states" | "ran">> {
  const client = redis.client();
  const keys = new RedisKeys({ prefix: "horus", shards: 1 });
  const admitted = (await client.zrange(keys.of(0, "jobs"), "0", "-1")).toSorted();
  const states = new Map<string, string>();
  let movedMs = performance.now();
  while (states.size < admitted.length && performance.now() - movedMs < STANDSTILL_MS) {
    await sleep(200);
    for (const id of admitted.filter((each) => !states.has(each))) {
      const state = (await client.hget(keys.job(id), "state")) ?? "";
      if (!ENDED.has(state)) continue;
      states.set(id, state);
      movedMs = performance.now();
    }
  }
  for (const id of admitted) states.set(id, (await client.hget(keys.job(id), "state")) ?? "missing");
  const ran = (await readFile(file, "utf8")).trim().split("\n").toSorted();
  return { admitted, admissions: Number(await client.get(keys.of(0, "seq"))), states, ran };
}
