/** What a long queue costs: create, claim, get, list and cancel with many jobs pending beside few, and memory a job. */
import { randomBytes } from "node:crypto";

import { createLog } from "../../src/log.ts";
import { createRedisJobSource, type RedisJobSource } from "../../src/store/redis-source.ts";
import { assemble, type OnEnd } from "../support/assemble.ts";
import type { Bound } from "./bound.ts";
import { type BullmqSettings, installBullmq } from "./bullmq.ts";
import { Caller, timed } from "./caller.ts";
import { type CallSide, compareLatencies, percentile } from "./latencies.ts";
import { residentBytes } from "./machine.ts";
import { Part } from "./part.ts";
import { preload, preloadedId } from "./preload.ts";
import { Progress } from "./progress.ts";
import { RedisServer } from "./redis-server.ts";
import type { Figures } from "./report.ts";
import { type BenchOptions, RUNNER, startSystem, type System } from "./system.ts";

const MANY = 200_000;
const FEW = 1000;
/** Of a page of jobs, in ms, and of a supervisor. */
const PAGE_MS = 50;
const SUPERVISOR_BYTES = 200 * 1024 * 1024;

/** All in one run, call by call in turn. */
export async function benchDepth(options: BenchOptions): Promise<Figures> {
  const progress = new Progress("depth");
  const many = options.jobs ?? MANY;
  await using systems = await assemble(async (onEnd) => startDepths(onEnd, { options, many, progress }));
  const { deep, shallow, empty } = systems;
  const about = { rounds: options.rounds, seconds: options.seconds, most: 2 };
  const onRound = (round: number): void => progress.tell("measuring", `round ${round} of ${options.rounds}`);
  const comparisons = await compareLatencies({
    ...about,
    onRound,
    title: (call) => `${call} with ${many.toLocaleString("en-US")} jobs pending, beside ${FEW.toLocaleString("en-US")}`,
    subject: sideOf("deep", deep),
    baseline: sideOf("shallow", shallow),
  });
  const besideEmpty = await compareLatencies({
    ...about,
    onRound,
    title: (call) => `${call} with ${many.toLocaleString("en-US")} jobs pending, beside an empty queue`,
    subject: sideOf("deep", deep),
    baseline: { name: "empty", calls: { create: async () => empty.create() } },
  });
  const bounds: Bound[] = [
    { title: "p99 of a list page", value: percentile(deep.pageMs, 0.99), unit: "ms", atMost: PAGE_MS },
    {
      title: "resident memory of the supervisor",
      value: ((await residentBytes(deep.system.supervisor.pid)) ?? Number.NaN) / 2 ** 20,
      unit: "MiB",
      atMost: SUPERVISOR_BYTES / 2 ** 20,
    },
    { title: "Redis memory of a pending job", value: systems.bytesPerJob, unit: "bytes" },
  ];
  progress.tell("BullMQ's memory");
  const bullmq = await bullmqBytes(many).catch((error: unknown) => String(error));
  progress.end();
  const isMeasured = typeof bullmq === "number";
  if (isMeasured)
    bounds.push({ title: "Redis memory of a job that waits in BullMQ, unsigned", value: bullmq, unit: "bytes" });
  return {
    comparisons: [...comparisons, ...besideEmpty],
    bounds,
    notMeasured: isMeasured ? [] : [`BullMQ's memory: ${bullmq}`],
  };
}

interface Depths {
  readonly deep: Depth;
  readonly shallow: Depth;
  readonly empty: Depth;
  readonly bytesPerJob: number;
}

async function startDepths(
  onEnd: OnEnd,
  { options, many, progress }: { readonly options: BenchOptions; readonly many: number; readonly progress: Progress },
): Promise<Depths> {
  const start = async (count: number): Promise<Depth & { readonly bytes: number }> => {
    progress.tell("starting");
    const system = await startSystem(options);
    onEnd(async () => system[Symbol.asyncDispose]());
    const before = await system.redis.usedBytes();
    const onProgress = (done: number): void => progress.tell(`${count} jobs`, `${done} admitted`);
    await preload({ redisSocket: system.redis.socket, jobs: system.jobs, count, onProgress });
    const bytes = (await system.redis.usedBytes()) - before;
    const depth = await Depth.open(system, count);
    onEnd(async () => depth.close());
    return Object.assign(depth, { bytes });
  };
  const deep = await start(many);
  return { deep, shallow: await start(FEW), empty: await start(0), bytesPerJob: deep.bytes / many };
}

function sideOf(name: string, depth: Depth): CallSide {
  return {
    name,
    calls: {
      create: async () => depth.create(),
      claim: async () => depth.claim(),
      get: async () => depth.get(),
      list: async () => depth.list(),
      cancel: async () => depth.cancel(),
    },
  };
}

/** A system whose queue stays as deep as it is: what a call takes out of it is put back off the clock. */
class Depth {
  readonly system: System;
  /** Of every page, in ms. */
  readonly pageMs: number[] = [];
  readonly #caller: Caller;
  readonly #source: RedisJobSource;
  /** Ids in the order they came; those that do not wait any more are not in the set. */
  readonly #order: string[];
  readonly #pending: Set<string>;
  #cursor: string | undefined;

  private constructor(
    system: System,
    parts: { readonly caller: Caller; readonly source: RedisJobSource; ids: string[] },
  ) {
    this.system = system;
    this.#caller = parts.caller;
    this.#source = parts.source;
    this.#order = parts.ids;
    this.#pending = new Set(parts.ids);
  }

  static async open(system: System, count: number): Promise<Depth> {
    const source = createRedisJobSource({
      url: `unix://${system.redis.socket}`,
      prefix: "horus",
      runner: { name: RUNNER, groups: [] },
      log: createLog({ level: "silent", pretty: false }),
      now: Date.now,
    });
    await source.start();
    const caller = new Caller(system.supervisor.port, system.jobs);
    return new Depth(system, {
      caller,
      source,
      ids: Array.from({ length: count }, (_, number) => preloadedId(number)),
    });
  }

  async close(): Promise<void> {
    this.#caller.close();
    await this.#source.stop();
  }

  async create(): Promise<number> {
    const ms = await this.#create();
    // As many as come go: from somewhere in the middle.
    await this.#cancel();
    return ms;
  }

  async claim(): Promise<number> {
    const { value, ms } = await timed(async () => this.#source.claim(1, randomBytes(16).toString("hex")));
    const lease = value[0]?.lease;
    if (lease === undefined) throw new Error("Nothing was claimed.");
    await this.#source.finish(lease, { status: "completed", code: 0, isRetryable: false });
    this.#pending.delete(lease.id);
    await this.#create();
    return ms;
  }

  async get(): Promise<number> {
    const { value, ms } = await this.#caller.call("get_job", { id: this.#anyPending() });
    if (value.state !== "pending") throw new Error(`${value.id} is ${value.state}`);
    return ms;
  }

  /** Page by page through all of them. */
  async list(): Promise<number> {
    const cursor = this.#cursor === undefined ? {} : { cursor: this.#cursor };
    const { value, ms } = await this.#caller.call("list_jobs", { state: "pending", ...cursor });
    this.#cursor = value.next;
    this.pageMs.push(ms);
    return ms;
  }

  async cancel(): Promise<number> {
    const ms = await this.#cancel();
    await this.#create();
    return ms;
  }

  async #create(): Promise<number> {
    const { value, ms } = await this.#caller.create();
    this.#order.push(value.id);
    this.#pending.add(value.id);
    return ms;
  }

  async #cancel(): Promise<number> {
    const id = this.#anyPending();
    const { ms } = await this.#caller.call("cancel_job", { id });
    this.#pending.delete(id);
    return ms;
  }

  #anyPending(): string {
    if (this.#pending.size === 0) throw new RangeError("Nothing is pending.");
    for (;;) {
      const id = this.#order[Math.floor(Math.random() * this.#order.length)];
      if (id !== undefined && this.#pending.has(id)) return id;
    }
  }
}

/** Of one job that waits in BullMQ, with the same payload. */
async function bullmqBytes(jobs: number): Promise<number> {
  await using bullmq = await installBullmq();
  await using redis = await RedisServer.start();
  const settings = { directory: bullmq.directory, redisSocket: redis.socket, work: "function", slots: 1 } as const;
  await using producer = await Part.start("bullmq", { ...settings, role: "producer" } satisfies BullmqSettings);
  const before = await redis.usedBytes();
  await producer.ask({ jobs, inFlight: 256 });
  return ((await redis.usedBytes()) - before) / jobs;
}
