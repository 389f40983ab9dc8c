/**
 * Two supervisors and four runners on one Redis, all of them the built program, and every job a process of its own: what is
 * asked is who gets how much and whether anything gets lost, and an executor inside the runner would leave half of it out.
 */
import { setTimeout as sleep } from "node:timers/promises";

import { assemble, type OnEnd } from "../support/assemble.ts";
import type { Bound } from "./bound.ts";
import { Caller } from "./caller.ts";
import { idleness, type Served } from "./idleness.ts";
import { Program } from "./part.ts";
import { Progress } from "./progress.ts";
import type { RedisServer } from "./redis-server.ts";
import type { Figures } from "./report.ts";
import { Site } from "./site.ts";
import type { BenchOptions } from "./system.ts";

const JOBS = 20_000;
const GROUP = "crew";
const RUNNERS = ["runner-1", "runner-2", "runner-3", "runner-4"] as const;
/** Jobs at a time of each runner. */
const SLOTS = 8;
/** One job in so many is sent to both supervisors at the same moment. */
const TWIN_EVERY = 8;
/** Callers of each supervisor, a call in flight each. */
const CALLERS = 8;
/** No job ends any more after so long. */
const PATIENCE_MS = 60_000;
const LOOK_MS = 100;

export async function benchFleet(options: BenchOptions): Promise<Figures> {
  const progress = new Progress("fleet");
  const count = options.jobs ?? JOBS;
  progress.tell("starting");
  await using fleet = await assemble(startFleet);
  const startMs = performance.now();
  const admitted = await submit(fleet, count, (sent) => progress.tell("submitting", `${sent} of ${count}`));
  await untilEnded(fleet, count, (ended) => progress.tell("running", `${ended} of ${count} ended`));
  const tookMs = performance.now() - startMs;
  progress.tell("looking");
  const served = await readServed(fleet, admitted.keys());
  const accepted = await acceptances(fleet);
  progress.end();
  const bounds = [...once(admitted, { served, accepted }), ...evenness(served, count), ...idleBounds(served)];
  bounds.push({
    title: "from the first job sent to the last one ended",
    value: (count * 1000) / tookMs,
    unit: "jobs a second",
  });
  return { comparisons: [], bounds, notMeasured: [] };
}

interface Fleet {
  readonly redis: RedisServer;
  readonly runners: readonly Program[];
  readonly callers: readonly (readonly Caller[])[];
}

async function startFleet(onEnd: OnEnd): Promise<Fleet> {
  const site = await Site.start(onEnd);
  const ports: number[] = [];
  for (let number = 0; number < 2; number += 1) ports.push((await site.startSupervisor()).port);
  const runners = await Promise.all(
    RUNNERS.map(async (name, index) => startRunner(onEnd, site, { name, port: ports[index % ports.length] ?? 0 })),
  );
  const jobs = await site.jobsFor(GROUP);
  const callers = ports.map((port) => Array.from({ length: CALLERS }, () => new Caller(port, jobs)));
  onEnd(async () => {
    for (const caller of callers.flat()) caller.close();
  });
  return { redis: site.redis, runners, callers };
}

async function startRunner(
  onEnd: OnEnd,
  site: Site,
  { name, port }: { readonly name: string; readonly port: number },
): Promise<Program> {
  const words = ["runner", "start", name, "--group", GROUP, "--slots", String(SLOTS), "--exec", "true"];
  const env = { ...site.env, SUPERVISOR_URL: `http://127.0.0.1:${port}` };
  const { program } = await Program.start(words, /runner_started/u, { env });
  onEnd(async () => program[Symbol.asyncDispose]());
  return program;
}

/** By job, how often it was answered as new. */
async function submit(
  { callers: [near = [], far = []] }: Fleet,
  count: number,
  onSent: (sent: number) => void,
): Promise<ReadonlyMap<string, number>> {
  const admitted = new Map<string, number>();
  let left = count;
  const lane = async (index: number): Promise<void> => {
    const callers = index % 2 === 0 ? [near[index], far[index]] : [far[index], near[index]];
    const [first, second] = callers;
    if (first === undefined || second === undefined) throw new RangeError("There is no supervisor.");
    while (left > 0) {
      left -= 1;
      const signed = await first.signJob();
      const both = left % TWIN_EVERY === 0 ? [first, second] : [first];
      const answers = await Promise.all(both.map(async (caller) => (await caller.submit(signed)).value));
      admitted.set(signed.job.id, answers.filter(({ duplicate }) => !duplicate).length);
      onSent(admitted.size);
    }
  };
  await Promise.all(near.map(async (_, index) => lane(index)));
  return admitted;
}

/** @throws Error when no job ends any more. */
async function untilEnded({ redis }: Fleet, count: number, onEnded: (ended: number) => void): Promise<void> {
  let before = 0;
  let changedMs = performance.now();
  for (;;) {
    const keys = await redis.client.keys("horus:*:done:*");
    const ended = (await Promise.all(keys.map(async (key) => redis.client.zcard(key)))).reduce((a, b) => a + b, 0);
    onEnded(ended);
    if (ended >= count) return;
    if (ended !== before) changedMs = performance.now();
    if (performance.now() - changedMs > PATIENCE_MS) throw new Error(`${count - ended} of ${count} jobs do not end`);
    before = ended;
    await sleep(LOOK_MS);
  }
}

/** Every job as its record says; those that are gone are left out. */
async function readServed({ redis }: Fleet, ids: Iterable<string>): Promise<readonly Served[]> {
  const served = await Promise.all(
    [...ids].map(async (id): Promise<Served[]> => {
      const fields = ["state", "runner", "attempt", "admitted_ms", "started_ms", "finished_ms"];
      const [state, runner, attempt, admitted, started, finished] = await redis.client.hmget(
        `horus:{s0}:job:${id}`,
        ...fields,
      );
      if (typeof state !== "string" || typeof runner !== "string") return [];
      const times = { admittedMs: Number(admitted), startedMs: Number(started), finishedMs: Number(finished) };
      return [{ id, state, runner, attempt: Number(attempt), ...times }];
    }),
  );
  return served.flat();
}

/** By job, how many outcomes runners handed in and were told to be accepted. */
async function acceptances({ runners }: Fleet): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  for (const runner of runners) {
    for (const line of (await runner.output()).split("\n")) {
      if (!line.includes('"event":"attempt_ended"') || !line.includes('"kind":"finished"')) continue;
      const id = /"jobId":"([^"]+)"/u.exec(line)?.[1];
      if (id !== undefined) counts.set(id, (counts.get(id) ?? 0) + 1);
    }
  }
  return counts;
}

function once(
  admitted: ReadonlyMap<string, number>,
  { served, accepted }: { readonly served: readonly Served[]; readonly accepted: ReadonlyMap<string, number> },
): readonly Bound[] {
  const completed = new Set(served.filter(({ state }) => state === "completed").map(({ id }) => id));
  const ids = [...admitted.keys()];
  const none = { unit: "jobs", atMost: 0 };
  return [
    { title: "not admitted as new exactly once", value: ids.filter((id) => admitted.get(id) !== 1).length, ...none },
    { title: "lost: not there or not completed", value: ids.filter((id) => !completed.has(id)).length, ...none },
    {
      title: "without exactly one accepted outcome",
      value: ids.filter((id) => accepted.get(id) !== 1).length,
      ...none,
    },
    { title: "executed more than once", value: served.filter(({ attempt }) => attempt !== 1).length, ...none },
  ];
}

function evenness(served: readonly Served[], count: number): readonly Bound[] {
  const shares = RUNNERS.map((name) => served.filter(({ runner }) => runner === name).length);
  const even = count / RUNNERS.length;
  const worst = Math.max(...shares.map((share) => Math.abs(share - even)));
  return [
    ...shares.map((value, index) => ({ title: `run by ${RUNNERS[index]}`, value, unit: "jobs" })),
    { title: "farthest from an even share", value: (worst * 100) / even, unit: "%", atMost: 10 },
  ];
}

function idleBounds(served: readonly Served[]): readonly Bound[] {
  const { longestMs, share } = idleness(served, { runners: RUNNERS, slots: SLOTS });
  return [
    { title: "slots that stood free while jobs waited", value: share * 100, unit: "% of their time" },
    // A look at the queue is due each second by itself: longer means that nobody looked.
    { title: "longest that a runner without a job sat while jobs waited", value: longestMs, unit: "ms", atMost: 1250 },
  ];
}
