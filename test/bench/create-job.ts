/** Signed `create_job` over HTTP: the supervisor against the bare pipeline, on one Redis, by one load generator. */
import { Check } from "typebox/schema";

import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { BareReady, type BareSettings } from "./bare-server.ts";
import { processorMs } from "./machine.ts";
import { Part } from "./part.ts";
import { type Comparison, compare, type Sample } from "./rounds.ts";
import { type BenchOptions, sendLoad, startSystem, type System } from "./system.ts";

/** More than any round uses: rounds end by the clock. */
const MAX_CALLS_PER_SECOND = 12_000;

export async function benchCreateJob(options: BenchOptions): Promise<Comparison> {
  await using system = await startSystem(options);
  const settings: BareSettings = {
    redisSocket: system.redis.socket,
    key: createNativeSigner(system.jobs.seed).publicKey.slice("ed25519:".length),
    restBytes: await restBytes(system),
  };
  await using bare = await Part.start("bare", settings, options);
  const { ready } = bare;
  if (!Check(BareReady, ready)) throw new TypeError(`bare: ${JSON.stringify(ready)}`);
  return await compare({
    title: "create_job: signed, over HTTP",
    unit: "calls a second",
    rounds: options.rounds,
    required: 0.7,
    aim: 0.85,
    subject: { name: "supervisor", measure: async () => measure(system, system.supervisor, options) },
    baseline: { name: "bare", measure: async () => measure(system, { pid: bare.pid, port: ready.port }, options) },
  });
}

/** What a record of the supervisor holds beside document and signatures, so that the bare pipeline writes as much. */
async function restBytes(system: System): Promise<number> {
  const { supervisor, load, jobs, redis } = system;
  await sendLoad(load, { host: "127.0.0.1", port: supervisor.port, jobs, connections: 1, calls: 1, seconds: 10 });
  const [key] = await redis.client.keys("*:job:*");
  if (key === undefined) throw new Error("The supervisor's job records are not where this bench looks for them.");
  const { document: _document, signatures: _signatures, ...rest } = await redis.client.hgetall(key);
  return Object.entries(rest).reduce((sum, [name, value]) => sum + name.length + value.length, 0);
}

interface Server {
  readonly pid: number;
  readonly port: number;
}

async function measure(system: System, { pid, port }: Server, options: BenchOptions): Promise<Sample> {
  const processes = { server: pid, redis: system.redis.pid };
  const before = await processorTimes(processes);
  const done = await sendLoad(system.load, {
    host: "127.0.0.1",
    port,
    jobs: system.jobs,
    connections: options.connections,
    calls: Math.ceil(options.seconds * MAX_CALLS_PER_SECOND),
    seconds: options.seconds,
  });
  const after = await processorTimes(processes);
  const used: Record<string, number> = {};
  for (const [name, ms] of Object.entries(after)) {
    used[`${name} processor µs a call`] = ((ms - (before[name] ?? 0)) * 1000) / done.calls;
  }
  return {
    perSecond: (done.calls * 1000) / done.ms,
    details: {
      "median ms": done.medianMs,
      "p99 ms": done.p99Ms,
      ...used,
    },
  };
}

/** By name, those that the system tells of. */
async function processorTimes(pids: Readonly<Record<string, number>>): Promise<Readonly<Record<string, number>>> {
  const times: Record<string, number> = {};
  for (const [name, pid] of Object.entries(pids)) {
    const ms = await processorMs(pid);
    if (ms !== undefined) times[name] = ms;
  }
  return times;
}
