/** Somebody who can write to Redis, against a real runner: what is refused with which reason, and what remains possible. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { createVerifier } from "../../src/auth/native-verifier.ts";
import { signDocument } from "../../src/auth/signature.ts";
import { verifyReceipt } from "../../src/client/receipt.ts";
import type { JobDocument, JobView } from "../../src/rpc/schema.ts";
import { createJobVerifier, createRunner, openSeenJobs, type Runner, type SeenJobs } from "../../src/runner/index.ts";
import { RedisKeys } from "../../src/store/redis-keys.ts";
import { createRedisJobSource, type RedisJobSource } from "../../src/store/redis-source.ts";
import { aCreateJob } from "../support/calls.ts";
import { type Node, startNode, testSigner } from "../support/node.ts";
import { registerRunner } from "../support/registration.ts";
import { aRunnerOptions, quietLog } from "../support/runner-harness.ts";

let node: Node;
let redis: Redis;
let directory = "";
let runner: Runner;
let source: RedisJobSource;
let seen: SeenJobs;
const keys = new RedisKeys({ prefix: "horus", shards: 1 });
const proof = (): string => join(directory, "ran");

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "horus-attacker-"));
  node = await startNode({
    keys: { alice: { roles: ["submitter"] }, ops: { roles: ["registrar"] } },
    settings: "[jobs]\nlease_ms = 5000\nreap_interval_ms = 100\n",
  });
  redis = node.redis.client();
  await registerRunner(node, "build-1", { groups: ["build"], executors: ["sh"] });
  await registerRunner(node, "web-1", { groups: ["web"] });
  await startRunner("seen");
});

afterAll(async () => {
  await stopRunner();
  await node[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

/** The runner `build-1`, with its memory in a file of this name. */
async function startRunner(memory: string): Promise<void> {
  const named = { name: "build-1", groups: ["build"] };
  source = createRedisJobSource({ url: node.redis.url, prefix: "horus", runner: named, log: quietLog, now: Date.now });
  await source.start();
  seen = await openSeenJobs({ path: join(directory, memory), now: Date.now });
  runner = createRunner({
    ...aRunnerOptions({ scratchDirectory: join(directory, "scratch") }),
    ...named,
    source,
    seen,
    signer: testSigner("build-1"),
    supervisor: node.identity,
    verifyJob: createJobVerifier({
      supervisor: node.identity,
      queues: ["build-1", "build"],
      verifier: createVerifier({ crypto: "native", maxInFlight: 64 }),
      now: Date.now,
    }),
  });
  await runner.start();
}

async function stopRunner(): Promise<void> {
  await runner.stop();
  await seen.close();
  await source.stop();
}

/** A job in a queue that nobody serves, so that it can be changed before it is claimed; its payload leaves a mark. */
async function admitted(wanted: Partial<JobDocument> = {}): Promise<JobDocument> {
  const message = await aCreateJob(testSigner("alice"), {
    supervisor: node.identity,
    runner: "web",
    payload: `echo ran >> ${proof()}`,
    ...wanted,
  });
  const { job } = message.params;
  await node.client("alice").submitJob({ job, signatures: await signed(job) });
  return job;
}

async function signed(job: JobDocument): Promise<{ public_key: string; signature: string }[]> {
  const { signature } = await signDocument(testSigner("alice"), "job", job);
  return [{ public_key: testSigner("alice").publicKey, signature }];
}

/** Puts a record into the queue of this runner, whatever state it has. */
async function putInQueue(id: string, queue = "build"): Promise<void> {
  await redis.zrem(keys.queue(0, "web"), id);
  await redis.hset(keys.job(id), "state", "pending", "queue", queue);
  await redis.zadd(keys.of(0, "expiry"), 9e12, id);
  await redis.zadd(keys.queue(0, queue), 1, id);
  await redis.publish(keys.hintChannel(queue), "1");
}

async function ended(id: string): Promise<JobView> {
  const client = node.client("alice");
  await client.call("wait_job", { id, wait_ms: 20_000 });
  return client.call("get_job", { id });
}

/** How often a payload has run. */
async function runs(): Promise<number> {
  const text = await readFile(proof(), "utf8").catch(() => "");
  return text.split("\n").length - 1;
}

/** An honest job runs afterwards: the runner goes on. */
async function expectGoesOn(): Promise<void> {
  const before = await runs();
  const { id } = await admitted({ runner: "build" });
  expect(await ended(id)).toMatchObject({ state: "completed" });
  expect(await runs()).toBe(before + 1);
}

const forgeries: readonly (readonly [string, (job: JobDocument) => Promise<unknown>, RegExp])[] = [
  [
    "a changed payload",
    async ({ id }) => {
      const document = (await redis.hget(keys.job(id), "document")) ?? "";
      return redis.hset(keys.job(id), "document", document.replace("echo ran", "echo own").replace('"web"', '"build"'));
    },
    /the signature by ed25519:[0-9a-f]{64} is not good/,
  ],
  ["a changed queue", async () => undefined, /it was found in queue "build" and belongs to "web"/],
  [
    "a forged record, signed by a key of the attacker's own",
    async (job) => {
      const mallory = testSigner("mallory");
      const forged = { ...job, runner: "build", caller_id: mallory.publicKey };
      const { text, signature } = await signDocument(mallory, "job", forged);
      const signatures = JSON.stringify([{ public_key: mallory.publicKey, signature }]);
      return redis.hset(keys.job(job.id), { document: text, signatures });
    },
    /its ticket is another job's/,
  ],
  [
    "a ticket by the attacker",
    async (job) => {
      const mallory = testSigner("mallory");
      const forged = { ...job, runner: "build" };
      const { text, digest } = await signDocument(mallory, "job", forged);
      const { expires_at: exp, id } = forged;
      const body = { v: 1, aud: node.identity, job: digest, id, queue: "build", iat: forged.created_at, exp } as const;
      const { signature } = await signDocument(mallory, "ticket", body);
      const ticket = JSON.stringify({ body, public_key: mallory.publicKey, signature });
      return redis.hset(keys.job(id), { document: text, ticket, signatures: JSON.stringify(await signed(forged)) });
    },
    /its ticket is by another supervisor/,
  ],
  [
    "a swapped ticket",
    async (job) => {
      const other = await admitted();
      // The right queue, so that nothing but the ticket is wrong.
      const moved = { ...job, runner: "build" };
      const { text } = await signDocument(testSigner("alice"), "job", moved);
      const ticket = (await redis.hget(keys.job(other.id), "ticket")) ?? "";
      return redis.hset(keys.job(job.id), { document: text, ticket, signatures: JSON.stringify(await signed(moved)) });
    },
    /its ticket is another job's/,
  ],
  [
    "a ticket for another queue, with a document its owner signed for this one",
    async (job) => {
      const moved = { ...job, runner: "build" };
      const { text } = await signDocument(testSigner("alice"), "job", moved);
      return redis.hset(keys.job(job.id), { document: text, signatures: JSON.stringify(await signed(moved)) });
    },
    /its ticket is another job's/,
  ],
  ["no document at all", async ({ id }) => redis.hset(keys.job(id), "document", "{"), /not canonical text/],
];

describe("whoever can write to Redis", () => {
  test.each(forgeries)("makes no runner execute %s", async (_what, change, reason) => {
    const before = await runs();
    const job = await admitted();
    await change(job);

    await putInQueue(job.id);
    const client = node.client("alice");
    const end = await client.call("wait_job", { id: job.id, wait_ms: 20_000 });

    expect(end).toMatchObject({ state: "failed", code: -1 });
    expect(end.reason).toMatch(reason);
    expect(await runs()).toBe(before);
    await expectGoesOn();
  });

  test("makes no runner execute again what this runner finished", async () => {
    const { id } = await admitted({ runner: "build" });
    expect(await ended(id)).toMatchObject({ state: "completed" });
    const before = await runs();

    await redis.zrem(keys.done(0, "completed"), id);
    await putInQueue(id);
    const { state, reason } = await node.client("alice").call("wait_job", { id, wait_ms: 20_000 });

    expect([state, reason]).toEqual(["failed", "refused: this runner has finished it already"]);
    expect(await runs()).toBe(before);
    await expectGoesOn();
  });
});

describe("what remains possible until expires_at, as SECURITY.md says", () => {
  test("a job that was cancelled before this runner claimed it can be put back, and runs", async () => {
    // Late enough to be cancelled first, and not so late that the runner would wait for its time.
    const { id } = await admitted({ runner: "build-1", not_before: Math.floor(Date.now() / 1000) + 20 });
    await node.client("alice").call("cancel_job", { id });
    const before = await runs();

    await redis.zrem(keys.done(0, "cancelled"), id);
    await putInQueue(id, "build-1");
    const view = await ended(id);

    expect(view.state).toBe("completed");
    expect(await runs()).toBe(before + 1);
  });

  test("a job that this runner finished runs again where its memory was lost", async () => {
    const { id } = await admitted({ runner: "build" });
    await ended(id);
    const before = await runs();
    await stopRunner();
    await startRunner("another-memory");

    await redis.zrem(keys.done(0, "completed"), id);
    await putInQueue(id);
    const view = await ended(id);

    expect(view).toMatchObject({ state: "completed", attempt: 2 });
    expect(await runs()).toBe(before + 1);
  });

  test("states and results as the supervisor shows them can be forged, and a receipt tells", async () => {
    const { id } = await admitted({ runner: "build" });
    const { receipt } = await ended(id);
    await redis.hset(keys.job(id), "result", JSON.stringify({ text: "forged" }));

    const view = await node.client("alice").call("get_job", { id });

    expect(view.result).toEqual({ text: "forged" });
    expect(view.receipt).toEqual(receipt);
    const runnerKeys = [testSigner("build-1").publicKey];
    expect(verifyReceipt({ view, supervisor: node.identity, runnerKeys })).toMatchObject({
      ok: false,
      trust: "vouched for by the supervisor",
    });
  });
});
