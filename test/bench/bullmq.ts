/** BullMQ, the queue most Node programs use: installed for the bench alone, in processes of its own. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { type Static, Type } from "typebox";
import { Check } from "typebox/schema";

import { answerQuestions } from "./part.ts";
import { PAYLOAD } from "./signed-jobs.ts";

const VERSION = "6.7.0";
/** The client it recommends, in a version it takes. */
const CLIENT = "ioredis@5";
const QUEUE = "bench";
/** Where BullMQ keeps the ids of completed jobs. */
export const BULLMQ_COMPLETED = `bull:${QUEUE}:completed`;

export const BullmqSettings = Type.Object({
  /** Holds node_modules. */
  directory: Type.String(),
  redisSocket: Type.String(),
  role: Type.Union([Type.Literal("producer"), Type.Literal("worker")]),
  /** What a job does: start a program that does nothing, as a runner does, or nothing at all. */
  work: Type.Union([Type.Literal("process"), Type.Literal("function")]),
  /** Jobs at a time. */
  slots: Type.Integer(),
});
export type BullmqSettings = Static<typeof BullmqSettings>;

const Wanted = Type.Object({ jobs: Type.Integer(), inFlight: Type.Integer() });
export const BullmqDone = Type.Object({
  /** UNIX ms when the first job was added. */
  startedMs: Type.Number(),
});

/** As much of it as the bench uses. */
interface Bullmq {
  readonly Queue: new (name: string, options: object) => { add(name: string, data: object): Promise<unknown> };
  readonly Worker: new (
    name: string,
    processor: () => Promise<void>,
    options: object,
  ) => { waitUntilReady(): Promise<unknown> };
}

export interface Installed extends AsyncDisposable {
  readonly directory: string;
}

/** Into a temporary directory. @throws Error with npm's words. */
export async function installBullmq(): Promise<Installed> {
  const directory = await mkdtemp(join(tmpdir(), "horus-bench-bullmq-"));
  const installed: Installed = {
    directory,
    [Symbol.asyncDispose]: async () => rm(directory, { recursive: true, force: true }),
  };
  const args = [
    "install",
    "--prefix",
    directory,
    "--no-audit",
    "--no-fund",
    "--ignore-scripts",
    `bullmq@${VERSION}`,
    CLIENT,
  ];
  const ran = spawnSync("npm", args, { encoding: "utf8" });
  if (ran.status === 0) return installed;
  await installed[Symbol.asyncDispose]();
  throw new Error(`bullmq@${VERSION} can not be installed:\n${ran.stderr}`);
}

/** The role `bullmq` of run.ts. */
export async function runBullmq(settings: unknown): Promise<void> {
  if (!Check(BullmqSettings, settings)) throw new TypeError("not the settings of a BullMQ process");
  const { Queue, Worker } = await load(settings.directory);
  const connection = { path: settings.redisSocket, maxRetriesPerRequest: null };
  if (settings.role === "worker") {
    const processor = settings.work === "process" ? startNothing : async () => undefined;
    const worker = new Worker(QUEUE, processor, { connection, concurrency: settings.slots });
    await worker.waitUntilReady();
    answerQuestions({ ready: true }, async () => ({}));
    return;
  }
  const queue = new Queue(QUEUE, { connection });
  answerQuestions({ ready: true }, async (wanted) => {
    if (!Check(Wanted, wanted)) throw new TypeError("not a number of jobs");
    const startedMs = Date.now();
    const left = Array.from({ length: wanted.jobs }).values();
    const add = async (): Promise<void> => {
      for (const _ of left) await queue.add("noop", { payload: PAYLOAD });
    };
    await Promise.all(Array.from({ length: wanted.inFlight }, add));
    return { startedMs } satisfies Static<typeof BullmqDone>;
  });
}

async function load(directory: string): Promise<Bullmq> {
  const entry = join(directory, "node_modules", "bullmq", "dist", "cjs", "index.js");
  const loaded: unknown = await import(pathToFileURL(entry).href);
  if (!isBullmq(loaded)) throw new TypeError(`${entry} is not the BullMQ this bench knows`);
  return loaded;
}

function isBullmq(value: unknown): value is Bullmq {
  return typeof value === "object" && value !== null && "Queue" in value && "Worker" in value;
}

/** What a runner does for a job: a process, its input, its output and its end. */
async function startNothing(): Promise<void> {
  const child = spawn("true", [], { stdio: ["pipe", "pipe", "pipe"] });
  // It ends without reading: that is no fault.
  child.stdin.on("error", () => undefined);
  child.stdin.end(PAYLOAD);
  child.stdout.resume();
  child.stderr.resume();
  await once(child, "close");
}
