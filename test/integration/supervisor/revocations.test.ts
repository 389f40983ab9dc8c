/** Revocations that could not be carried out at their moment, and calls that wait when one comes. */
import { afterEach, describe, expect, test } from "vitest";

import type { JobHead } from "../../../src/jobs/job.ts";
import { createRedisJobSource } from "../../../src/store/redis-source.ts";
import { aCall, aCreateJob } from "../../support/calls.ts";
import { type KeyWish, type Node, startNode, testSigner } from "../../support/node.ts";
import { startRedis, type TestRedis } from "../../support/redis.ts";
import { registerRunner } from "../../support/registration.ts";
import { aToken, QUIET } from "../../support/store.ts";
import { waitUntil } from "../../support/wait.ts";

const OTHERS: Readonly<Record<string, KeyWish>> = { ops: { roles: ["registrar"] }, root: { roles: ["admin"] } };
const ALICE: KeyWish = { roles: ["submitter"] };
const alice = testSigner("alice");
const nodes: Node[] = [];

afterEach(async () => {
  for (const node of nodes.splice(0)) await node[Symbol.asyncDispose]();
});

/** A supervisor whose file has this entry for alice, or none; with its audit lines about revocations. */
type Audited = Node & { readonly revocations: string[]; readonly missing: string[] };

async function aNode(redis: TestRedis, entry: KeyWish | undefined): Promise<Audited> {
  const revocations: string[] = [];
  const missing: string[] = [];
  const node = await startNode({
    keys: entry === undefined ? OTHERS : { ...OTHERS, alice: entry },
    redis,
    keyringCheckMs: 50,
    onLog: (line) => {
      if (line.includes('"what":"revocation"')) revocations.push(line);
      if (line.includes('"event":"keys_missing"')) missing.push(line);
    },
  });
  nodes.push(node);
  return Object.assign(node, { revocations, missing });
}

async function stop(node: Node): Promise<void> {
  nodes.splice(nodes.indexOf(node), 1);
  await node[Symbol.asyncDispose]();
}

async function aWaitingJob(node: Node): Promise<string> {
  const message = await aCreateJob(alice, { supervisor: node.identity });
  expect(await node.send(message)).toMatchObject({ result: { state: "pending" } });
  return message.params.job.id;
}

/** Claims what waits, as the runner `build`. */
async function claim(node: Node): Promise<readonly string[]> {
  const runner = { name: "build", groups: [] };
  const source = createRedisJobSource({ url: node.redis.url, prefix: "horus", runner, log: QUIET, now: Date.now });
  await source.start();
  const jobs = await source.claim(10, aToken());
  await source.stop();
  return jobs.map(({ lease }) => lease.id);
}

async function untilCancelled(node: Node, id: string): Promise<JobHead | undefined> {
  await waitUntil(async () => (await node.store.jobs.head(id))?.state === "cancelled");
  return node.store.jobs.head(id);
}

async function isRevoked(node: Node): Promise<boolean> {
  return node.store.revocations.isRevoked(alice.publicKey);
}

/** Revokes alice in one node's keyring, as a changed file would. */
function revokeAlice(node: Node): void {
  const keys = node.keyring.all();
  const entry = keys.find(({ name }) => name === "alice");
  if (entry === undefined) throw new Error("alice is not enrolled");
  node.keyring.replace([...keys.filter((key) => key !== entry), { ...entry, revokedAtMs: 1 }]);
}

describe("A revocation while Redis is away", () => {
  test("is carried out once Redis is back, with one line for the failure and one for the end", async () => {
    const redis = await startRedis({ aof: "always" });
    const node = await aNode(redis, ALICE);
    await registerRunner(node, "build");
    const id = await aWaitingJob(node);

    await redis.kill("SIGKILL");
    revokeAlice(node);
    await waitUntil(() => node.revocations.length === 1);
    await redis.restart();
    await waitUntil(() => node.store.health().isUp);

    expect(await untilCancelled(node, id)).toMatchObject({ reason: "revoked" });
    await waitUntil(() => node.revocations.length === 2);
    await stop(node);
    expect(node.revocations).toEqual([
      expect.stringContaining('"outcome":"failed"'),
      expect.stringMatching(/"outcome":"done","cancelled":1/u),
    ]);
  });
});

describe("A key revoked in keys.toml while no supervisor ran", () => {
  test("has its waiting jobs cancelled at the start, and its running ones left alone; once", async () => {
    const redis = await startRedis();
    const first = await aNode(redis, ALICE);
    await registerRunner(first, "build");
    const running = await aWaitingJob(first);
    expect(await claim(first)).toEqual([running]);
    const waiting = await aWaitingJob(first);
    await stop(first);

    const second = await aNode(redis, { ...ALICE, revokedAtMs: 1 });
    expect(await untilCancelled(second, waiting)).toMatchObject({ reason: "revoked" });
    expect(await isRevoked(second)).toBe(true);
    await stop(second);
    const third = await aNode(redis, { ...ALICE, revokedAtMs: 1 });
    expect(await third.store.jobs.head(running)).toMatchObject({ state: "running", isCancelling: false });
    await stop(third);

    expect(second.revocations).toEqual([expect.stringMatching(/"outcome":"done","cancelled":1/u)]);
    expect(third.revocations).toEqual([]);
  });

  test("has its running jobs stopped where the file says so", async () => {
    const redis = await startRedis();
    const first = await aNode(redis, ALICE);
    await registerRunner(first, "build");
    const id = await aWaitingJob(first);
    expect(await claim(first)).toEqual([id]);
    await stop(first);

    const second = await aNode(redis, { ...ALICE, revokedAtMs: 1, cancelRunning: true });

    await waitUntil(async () => (await second.store.jobs.head(id))?.isCancelling === true);
  });
});

/** A node whose file has Alice, and which all supervisors have agreed on; with a job of hers that waits. */
async function anAgreedNode(redis: TestRedis): Promise<{ first: Audited; id: string }> {
  const first = await aNode(redis, ALICE);
  await registerRunner(first, "build");
  const id = await aWaitingJob(first);
  await waitUntil(async () => (await first.store.keyrings.readEnrolled()).includes(alice.publicKey));
  return { first, id };
}

describe("A key revoked in keys.toml under a running supervisor", () => {
  test("has its running jobs stopped when the file says so later", async () => {
    const node = await aNode(await startRedis(), ALICE);
    await registerRunner(node, "build");
    const id = await aWaitingJob(node);
    expect(await claim(node)).toEqual([id]);
    revokeAlice(node);
    await waitUntil(async () => isRevoked(node));
    expect(await node.store.jobs.head(id)).toMatchObject({ isCancelling: false });

    node.keyring.replace(
      node.keyring.all().map((key) => (key.name === "alice" ? Object.assign({}, key, { cancelRunning: true }) : key)),
    );

    await waitUntil(async () => (await node.store.jobs.head(id))?.isCancelling === true);
  });

  test("is revoked although it had expired, with its waiting jobs", async () => {
    const node = await aNode(await startRedis(), ALICE);
    await registerRunner(node, "build");
    const id = await aWaitingJob(node);
    const expired = node.keyring
      .all()
      .map((key) => (key.name === "alice" ? Object.assign({}, key, { notAfterMs: 1 }) : key));
    node.keyring.replace(expired);
    expect(await isRevoked(node)).toBe(false);

    node.keyring.replace(expired.filter(({ name }) => name !== "alice"));

    expect(await untilCancelled(node, id)).toMatchObject({ reason: "revoked" });
  });

  test("is revoked although it had gone missing before: the way out that health names", async () => {
    const redis = await startRedis();
    const { first, id } = await anAgreedNode(redis);
    const entry = first.keyring.all().find(({ name }) => name === "alice");
    await stop(first);
    const second = await aNode(redis, undefined);
    await waitUntil(() => !second.supervisor.readiness().ready);

    second.keyring.replace([...second.keyring.all(), ...(entry === undefined ? [] : [{ ...entry, revokedAtMs: 1 }])]);

    expect(await untilCancelled(second, id)).toMatchObject({ reason: "revoked" });
    await waitUntil(() => second.supervisor.readiness().ready);
  });
});

describe("A key taken out of keys.toml", () => {
  test("under a running supervisor is revoked, with its waiting jobs", async () => {
    const { first, id } = await anAgreedNode(await startRedis());

    first.keyring.replace(first.keyring.all().filter(({ name }) => name !== "alice"));

    expect(await untilCancelled(first, id)).toMatchObject({ reason: "revoked" });
    expect(await isRevoked(first)).toBe(true);
    await waitUntil(async () => !(await first.store.keyrings.readEnrolled()).includes(alice.publicKey));
    expect(first.supervisor.readiness().ready).toBe(true);
    await stop(first);
    expect(first.revocations).toEqual([expect.stringMatching(/"outcome":"done","cancelled":1/u)]);
  });

  test("while none ran turns health red, revokes nothing, and is mended by the right file", async () => {
    const redis = await startRedis();
    const { first, id } = await anAgreedNode(redis);
    await stop(first);

    // An old file, one cut at a table, a fresh first start's: nobody can tell them from a removal.
    const second = await aNode(redis, undefined);
    await waitUntil(() => JSON.stringify(second.supervisor.readiness()).includes("that were enrolled before"));
    expect(second.supervisor.readiness().ready).toBe(false);
    // Health is for anybody to read; the log is not.
    expect(JSON.stringify(second.supervisor.readiness())).not.toContain(alice.publicKey);
    expect(second.missing).toEqual([expect.stringContaining(alice.publicKey)]);
    expect(await isRevoked(second)).toBe(false);
    expect(await second.store.jobs.head(id)).toMatchObject({ state: "pending" });
    await stop(second);

    const third = await aNode(redis, ALICE);
    await waitUntil(() => third.supervisor.readiness().ready);
    expect(await isRevoked(third)).toBe(false);
  });

  test("is not revoked by the stale file of a supervisor that is left alone", async () => {
    const redis = await startRedis();
    const { first, id } = await anAgreedNode(redis);
    const second = await aNode(redis, undefined);
    await waitUntil(() => !first.supervisor.readiness().ready && !second.supervisor.readiness().ready);

    await stop(first);

    await waitUntil(() => JSON.stringify(second.supervisor.readiness()).includes("that were enrolled before"));
    expect(await isRevoked(second)).toBe(false);
    expect(await second.store.jobs.head(id)).toMatchObject({ state: "pending" });
  });
});

describe("A wait that is in flight when its key is revoked", () => {
  test.each(["wait_job", "get_job_logs"])("ends %s as unauthenticated, at any supervisor", async (method) => {
    const redis = await startRedis();
    const [here, there] = [await aNode(redis, ALICE), await aNode(redis, ALICE)];
    await registerRunner(here, "build");
    const id = await aWaitingJob(here);
    const waits = [here, there].map(async (node) =>
      node.send(await aCall(method, { id, wait_ms: 20_000 }, { aud: node.identity, signer: alice })),
    );
    // Both are at their wait: their nonces are used up.
    await waitUntil(async () => (await redis.client().keys("*:nonce:*")).length >= 3);

    revokeAlice(here);

    for (const answer of await Promise.all(waits)) expect(answer).toMatchObject({ error: { code: -32_001 } });
  });

  test("ends as forbidden when the key is given to another principal, whose job it is not", async () => {
    const redis = await startRedis();
    const node = await aNode(redis, ALICE);
    await registerRunner(node, "build");
    const id = await aWaitingJob(node);
    const wait = node.send(await aCall("wait_job", { id, wait_ms: 20_000 }, { aud: node.identity, signer: alice }));
    await waitUntil(async () => (await redis.client().keys("*:nonce:*")).length >= 2);

    node.keyring.replace(
      node.keyring.all().map((key) => (key.name === "alice" ? Object.assign({}, key, { principal: "bob" }) : key)),
    );

    expect(await wait).toMatchObject({ error: { code: -32_003 } });
  });
});
