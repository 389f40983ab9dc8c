/** Jobs that do nothing, from the first submission to the last one completed, beside BullMQ on a Redis of its own. */
import { setTimeout } from "node:timers/promises";

import { Check } from "typebox/schema";

import { BULLMQ_COMPLETED, BullmqDone, type BullmqSettings, installBullmq } from "./bullmq.ts";
import { Part, Program } from "./part.ts";
import { RedisServer } from "./redis-server.ts";
import type { Figures } from "./report.ts";
import { type Comparison, compare, type Sample, type Side } from "./rounds.ts";
import { type BenchOptions, RUNNER, RUNNER_SLOTS, sendLoad, startSystem, type System } from "./system.ts";

/** Of one round for each second of it: about as fast as one core starts processes. */
const JOBS_PER_SECOND = 250;
/** Between two looks at what is completed, in ms. */
const LOOK_MS = 5;
/** Without an end by then there will be none, in ms. */
const ROUND_MAX_MS = 120_000;

/** Signed jobs through supervisor and runner; BullMQ's are unsigned, and added straight to Redis. */
export async function benchEndToEnd(options: BenchOptions): Promise<Figures> {
  await using bullmq = await installBullmq();
  await using system = await startSystem(options);
  await using _ = await startRunner(system, options);
  const subject = { name: "supervisor", measure: async () => measureSupervisor(system, options) };
  const comparisons: Comparison[] = [];
  for (const work of ["process", "function"] as const) {
    await using baseline = await BullmqSide.start(work, bullmq.directory, options);
    comparisons.push(
      await compare({
        title: `no-op jobs end to end: signed, a process each; BullMQ: unsigned, a ${work} each`,
        unit: "jobs a second",
        rounds: options.rounds,
        subject,
        baseline,
      }),
    );
  }
  return { comparisons, notMeasured: [] };
}

async function startRunner({ env }: System, { profile }: BenchOptions): Promise<AsyncDisposable> {
  const args = ["runner", "start", RUNNER, "--slots", String(RUNNER_SLOTS), "--exec", "true"];
  const { program } = await Program.start(args, /runner_started/u, { env, profile });
  return program;
}

async function measureSupervisor({ redis, load, supervisor, jobs }: System, options: BenchOptions): Promise<Sample> {
  const completed = async (): Promise<number> => {
    const keys = await redis.client.keys("*:done:completed");
    return (await Promise.all(keys.map(async (key) => redis.client.zcard(key)))).reduce((sum, count) => sum + count, 0);
  };
  const calls = jobsOf(options);
  const before = await completed();
  const { startedMs } = await sendLoad(load, {
    host: "127.0.0.1",
    port: supervisor.port,
    jobs,
    connections: options.connections,
    calls,
    seconds: ROUND_MAX_MS / 1000,
  });
  return untilCompleted({ completed, wanted: before + calls, jobs: calls, startedMs });
}

class BullmqSide implements Side, AsyncDisposable {
  readonly name = "BullMQ";
  readonly #options: BenchOptions;
  readonly #redis: RedisServer;
  readonly #worker: Part;
  readonly #producer: Part;

  private constructor(options: BenchOptions, redis: RedisServer, parts: { worker: Part; producer: Part }) {
    this.#options = options;
    this.#redis = redis;
    this.#worker = parts.worker;
    this.#producer = parts.producer;
  }

  static async start(work: BullmqSettings["work"], directory: string, options: BenchOptions): Promise<BullmqSide> {
    const redis = await RedisServer.start();
    const settings = { directory, redisSocket: redis.socket, work, slots: RUNNER_SLOTS };
    const role = async (name: BullmqSettings["role"]): Promise<Part> =>
      Part.start("bullmq", { ...settings, role: name } satisfies BullmqSettings);
    return new BullmqSide(options, redis, { worker: await role("worker"), producer: await role("producer") });
  }

  async measure(): Promise<Sample> {
    const completed = async (): Promise<number> => this.#redis.client.zcard(BULLMQ_COMPLETED);
    const jobs = jobsOf(this.#options);
    const before = await completed();
    const done = await this.#producer.ask({ jobs, inFlight: this.#options.connections });
    if (!Check(BullmqDone, done)) throw new TypeError(`BullMQ: ${JSON.stringify(done)}`);
    return untilCompleted({ completed, wanted: before + jobs, jobs, startedMs: done.startedMs });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#producer[Symbol.asyncDispose]();
    await this.#worker[Symbol.asyncDispose]();
    await this.#redis[Symbol.asyncDispose]();
  }
}

function jobsOf({ seconds }: BenchOptions): number {
  return Math.ceil(seconds * JOBS_PER_SECOND);
}

/** @throws Error when they do not all complete. */
async function untilCompleted({
  completed,
  wanted,
  jobs,
  startedMs,
}: {
  readonly completed: () => Promise<number>;
  readonly wanted: number;
  readonly jobs: number;
  readonly startedMs: number;
}): Promise<Sample> {
  for (let count = await completed(); count < wanted; count = await completed()) {
    if (Date.now() - startedMs > ROUND_MAX_MS) throw new Error(`${wanted - count} of ${jobs} jobs did not complete`);
    await setTimeout(LOOK_MS);
  }
  return { perSecond: (jobs * 1000) / (Date.now() - startedMs) };
}
