/** The same code on a real Redis Cluster: all flows, a slot that moves, a master that is away. */
import type { Cluster } from "ioredis";
import { describe, expect, onTestFinished, test } from "vitest";

import { SupervisorError } from "../../../src/errors.ts";
import { SIGNED_RUNNER } from "../../../src/rpc/examples.ts";
import { RedisConnection } from "../../../src/store/redis-connection.ts";
import { RedisKeys } from "../../../src/store/redis-keys.ts";
import { createRedisJobSource, type RedisJobSource } from "../../../src/store/redis-source.ts";
import { createRedisStore } from "../../../src/store/redis-store.ts";
import type { Store } from "../../../src/store/store.ts";
import { startCluster, type TestCluster } from "../../support/redis-cluster.ts";
import { findFaults } from "../../support/store-faults.ts";
import { anAdmission, aRegistration, aToken, IDENTITY, nowSeconds, QUIET, storeOptions } from "../../support/store.ts";
import { waitUntil } from "../../support/wait.ts";

const KEEP = { maxAgeSeconds: 1000, maxJobs: 1000, maxBytes: 1e9 };

interface Started {
  readonly cluster: TestCluster;
  readonly client: Cluster;
  readonly store: Store;
  readonly source: RedisJobSource;
  readonly keys: RedisKeys;
}

async function start(commandTimeoutMs = 5000): Promise<Started> {
  const cluster = await startCluster();
  const [node] = cluster.nodes;
  if (node === undefined) throw new Error("no nodes");
  const wanted = { url: cluster.url, shards: "auto", commandTimeoutMs, leaseMs: 20_000 } as const;
  const store = createRedisStore(storeOptions(node, wanted));
  const runner = { name: "build-1", groups: ["build"] };
  const source = createRedisJobSource({ ...wanted, prefix: "horus", runner, log: QUIET, now: Date.now });
  onTestFinished(async () => {
    await Promise.allSettled([source.stop(), store.stop()]);
  });
  await store.start(IDENTITY);
  await store.runners.register(aRegistration(), "{}");
  await source.start();
  const { key } = SIGNED_RUNNER.body;
  expect(await source.attach({ ...runner, key, slots: 99, version: "1", process: aToken() })).toEqual({
    outcome: "attached",
  });
  const keys = new RedisKeys({ prefix: "horus", shards: 16 });
  return { cluster, client: cluster.client(), store, source, keys };
}

/** A new job that lies in this shard. */
function admissionTo(shard: number, keys: RedisKeys): ReturnType<typeof anAdmission> {
  const job = anAdmission();
  return keys.shardOf(job.id) === shard ? job : admissionTo(shard, keys);
}

describe("On a Cluster", () => {
  test("jobs go their way over sixteen shards on three masters", { timeout: 60_000 }, async () => {
    const { client, store, source, keys, cluster } = await start();
    const events = new Set<string>();
    const ids: string[] = [];
    for (let index = 0; index < 60; index += 1) {
      const job = anAdmission({ maxAttempts: 2 });
      store.jobs.onChange(job.id, () => events.add(job.id));
      expect(await store.jobs.admit(job)).toEqual({ outcome: "new", state: "pending" });
      ids.push(job.id);
    }
    const sizes = await Promise.all(cluster.nodes.map(async (node) => node.client().dbsize()));
    for (const size of sizes) expect(size).toBeGreaterThan(20);
    expect(await client.hget("horus:meta", "shards")).toBe("16");

    const claimed = await source.claim(60, aToken());
    expect(claimed).toHaveLength(60);
    expect((await source.renew(claimed.map(({ lease }) => lease))).every(({ outcome }) => outcome === "renewed")).toBe(
      true,
    );
    for (const [index, { lease }] of claimed.entries()) {
      await source.append(lease, [{ attempt: 1, seq: 1, time_ms: 1, stream: "stdout", text: "x" }]);
      if (index % 3 === 0) await source.release(lease);
      else if (index % 3 === 1) await store.jobs.cancel(lease.id, {}, "x");
      else await source.finish(lease, { status: "completed", code: 0, isRetryable: true });
    }
    await store.maintenance.maintain(KEEP);
    expect(await findFaults(client, keys)).toEqual([]);
    await waitUntil(() => events.size > 40);

    const listed: string[] = [];
    let page = await store.jobs.list({ principal: "alice", limit: 7 });
    for (;;) {
      listed.push(...page.jobs.map(({ id }) => id));
      if (page.next === undefined) break;
      page = await store.jobs.list({ principal: "alice", limit: 7, before: page.next });
    }
    expect(listed.toSorted()).toEqual(ids.toSorted());

    const call = { key: "ed25519:caller", nonce: aToken(), iat: nowSeconds(), exp: nowSeconds() + 60 };
    expect(await store.replay.claimNonce(call)).toEqual({ outcome: "fresh" });
    expect(await store.replay.claimNonce(call)).toEqual({ outcome: "replay" });
    await store.revocations.revoke(["ed25519:caller"]);
    expect(await store.revocations.cancelJobsOf("ed25519:caller", true)).toBeGreaterThan(0);
    expect(await source.heartbeat({ running: 1, isDraining: false })).toBe("ok");
    expect(await store.runners.isServed("build")).toBe(true);
    expect((await store.runners.list()).map(({ waiting }) => waiting)).toEqual([0]);
    expect(store.health()).toMatchObject({ isUp: true, durability: "memory", problems: [] });
    expect(await store.runners.remove("build-1", true)).toEqual({ outcome: "removed", cancelled: 0 });
  });

  test("a slot that moves refuses calls whole, and loses nothing", { timeout: 60_000 }, async () => {
    const { cluster, client, store, source, keys } = await start();
    const jobs = await Promise.all(
      Array.from({ length: 40 }, async () => {
        const job = anAdmission();
        await store.jobs.admit(job);
        return job;
      }),
    );
    const claimed = await source.claim(20, aToken());
    // The shard of a waiting job moves from its master to the next, key by key.
    const running = new Set(claimed.map(({ lease }) => lease.id));
    const runningShards = new Set([...running].map((id) => keys.shardOf(id)));
    const waiting = jobs.find(({ id }) => !running.has(id) && runningShards.has(keys.shardOf(id)))?.id ?? "";
    const shard = keys.shardOf(waiting);
    const moving = await beginMove(cluster, keys.of(shard, "leases"));
    const outcomes = new Set<unknown>();
    // Also before the first key has gone: what never existed there is looked for on the other node already.
    for (let moved = 0, isMoving = true; isMoving; moved += 1, isMoving = await moving.step()) {
      // Refusals take their time: the client tries again for a while.
      if (moved % 2 !== 0) continue;
      const calls = await Promise.allSettled([
        store.jobs.admit(admissionTo(shard, keys)),
        source.renew(claimed.map(({ lease }) => lease)),
        // All that other shards have, so that this one is asked each time.
        source.claim(moved === 0 ? 1 : 40, aToken()),
        store.maintenance.maintain(KEEP),
        store.jobs.cancel(waiting, {}, "x"),
      ]);
      for (const call of calls) outcomes.add(call.status === "fulfilled" ? "answered" : appliedOf(call.reason));
      // What was refused left nothing half done.
      expect(await findFaults(client, keys)).toEqual([]);
    }
    await moving.end();

    expect([...outcomes].filter((outcome) => outcome !== "answered" && outcome !== "no")).toEqual([]);
    await waitUntil(async () => (await store.jobs.admit(jobs[1] ?? anAdmission())).outcome === "duplicate");
    for (const { id } of jobs) expect(await store.jobs.head(id)).toMatchObject({ id });
    await store.maintenance.maintain(KEEP);
    expect(await findFaults(client, keys)).toEqual([]);
  });

  test("a master that is away keeps nobody from connecting to the others", { timeout: 60_000 }, async () => {
    const cluster = await startCluster();
    await cluster.nodes[2]?.kill("SIGKILL");

    // A client asks any of the masters whether it is ready; a third of them asks the dead one first.
    for (let count = 0; count < 12; count += 1) {
      const connection = new RedisConnection({
        url: cluster.url,
        commandTimeoutMs: 1000,
        log: QUIET,
        monotonicMs: () => performance.now(),
      });
      await connection.start();
      expect(connection.isUp).toBe(true);
      await connection.stop();
    }
  });

  test("a master that is away takes its own jobs along, and no others", { timeout: 60_000 }, async () => {
    const { cluster, store, source, keys } = await start(1000);
    const jobs = Array.from({ length: 64 }, () => anAdmission());
    await Promise.all(jobs.map(async (job) => store.jobs.admit(job)));
    const before = await source.claim(30, aToken());
    const [first, , last] = cluster.nodes;
    await last?.kill("SIGSTOP");

    const answers = await source.renew(before.map(({ lease }) => lease));
    const renewed = before.filter((_, index) => answers[index]?.outcome === "renewed");
    expect(renewed.length).toBeGreaterThan(0);
    expect(renewed.length).toBeLessThan(before.length);
    const taken = await source.claim(40, aToken());
    expect(taken.length).toBeGreaterThan(0);
    expect(first?.pid).toBeGreaterThan(0);

    await last?.kill("SIGCONT");
    const rest: string[] = [];
    let token = aToken();
    await waitUntil(async () => {
      // A claim that failed is repeated with its token, as the contract says.
      const more = await source.claim(40, token).catch(() => undefined);
      if (more !== undefined) token = aToken();
      rest.push(...(more ?? []).map(({ lease }) => lease.id));
      return before.length + taken.length + rest.length >= 64;
    });

    // What the frozen master took unheard was found again: nothing waits for its lease to run out.
    const all = [...[...before, ...taken].map(({ lease }) => lease.id), ...rest];
    expect(new Set(all)).toEqual(new Set(jobs.map(({ id }) => id)));
    expect(all).toHaveLength(64);
    expect(keys.shards).toBe(16);
  });
});

function appliedOf(error: unknown): unknown {
  return error instanceof SupervisorError ? error.data?.["applied"] : error;
}

/** Moves the slot of a key to another master, one key a step. */
async function beginMove(
  cluster: TestCluster,
  key: string,
): Promise<{ step(): Promise<boolean>; end(): Promise<void> }> {
  const clients = cluster.nodes.map((node) => node.client());
  const ids = await cluster.ids();
  const slot = Number(await clients[0]?.call("CLUSTER", "KEYSLOT", key));
  const from = Math.floor((slot * ids.length) / 16_384);
  const to = (from + 1) % ids.length;
  const [source, target] = [clients[from], clients[to]];
  if (source === undefined || target === undefined) throw new Error("no such node");
  await target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[from] ?? "");
  await source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[to] ?? "");
  return {
    async step() {
      const names = [await source.call("CLUSTER", "GETKEYSINSLOT", slot, 1000)].flat().map(String);
      // Records first: what names them is still here, and a script must not stop between the two.
      const name = names.find((each) => each.includes(":job:")) ?? names[0];
      if (name === undefined) return false;
      await source.call("MIGRATE", "127.0.0.1", Number(cluster.nodes[to]?.port), name, 0, 5000);
      return true;
    },
    async end() {
      for (const client of [target, source, ...clients])
        await client.call("CLUSTER", "SETSLOT", slot, "NODE", ids[to] ?? "");
    },
  };
}
