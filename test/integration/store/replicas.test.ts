/** Replicas: an acknowledgement that stands on them, and a failover by Sentinels. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Redis } from "ioredis";
import { describe, expect, onTestFinished, test } from "vitest";

import { freePort } from "../../../bin/demo/port.ts";
import { SupervisorError } from "../../../src/errors.ts";
import { createRedisStore } from "../../../src/store/redis-store.ts";
import type { Store } from "../../../src/store/store.ts";
import { startCluster } from "../../support/redis-cluster.ts";
import { startRedis, type TestRedis } from "../../support/redis.ts";
import { anAdmission, aRegistration, IDENTITY, storeOptions } from "../../support/store.ts";
import { waitUntil } from "../../support/wait.ts";

/** A master and its replica, in step. */
async function startPair(): Promise<readonly [TestRedis, TestRedis]> {
  // A first synchronisation waits five seconds for further replicas unless told.
  const master = await startRedis({ port: true, settings: ["--repl-diskless-sync-delay", "0"] });
  const replica = await startRedis({ port: true, settings: ["--replicaof", "127.0.0.1", String(master.port)] });
  const client = master.client();
  await waitUntil(async () => /state=online/u.test(await client.info("replication")));
  return [master, replica];
}

async function startStore(redis: TestRedis, wanted: Parameters<typeof storeOptions>[1]): Promise<Store> {
  const store = createRedisStore(storeOptions(redis, wanted));
  onTestFinished(async () => store.stop());
  await store.start(IDENTITY);
  await store.runners.register(aRegistration(), "{}");
  return store;
}

const TOO_FEW = { name: "unavailable", data: { applied: "unknown", reason: "too_few_replicas" } };

describe("replicated(1)", () => {
  test("acknowledges what the replica has, also a duplicate, and nothing else", async () => {
    const [master, replica] = await startPair();
    const store = await startStore(master, { durability: "replicated(1)", commandTimeoutMs: 3000 });
    const { jobs } = store;
    const first = anAdmission();
    expect(store.health()).toMatchObject({ durability: "replicated(1)", warnings: [], problems: [] });

    await master.client().script("FLUSH");
    expect(await jobs.admit(first)).toEqual({ outcome: "new", state: "pending" });
    expect(await replica.client().exists(`horus:{s0}:job:${first.id}`)).toBe(1);

    await replica.kill("SIGSTOP");
    const second = anAdmission();
    await expect(jobs.admit(second)).rejects.toMatchObject(TOO_FEW);
    await expect(jobs.admit(second)).rejects.toMatchObject(TOO_FEW);
    // Nothing is promised by a refusal.
    expect(await jobs.admit({ ...second, digest: "e".repeat(64) })).toEqual({ outcome: "conflict" });
    // Reads and the rest do not wait behind it.
    expect(await jobs.head(second.id)).toMatchObject({ state: "pending" });

    await replica.kill("SIGCONT");
    await waitUntil(async () =>
      jobs.admit(second).then(
        ({ outcome }) => outcome === "duplicate",
        () => false,
      ),
    );
    expect(await replica.client().exists(`horus:{s0}:job:${second.id}`)).toBe(1);
  });

  test("gives the script's own failures and a full memory's refusal as they are", async () => {
    const [master] = await startPair();
    const store = await startStore(master, { durability: "replicated(1)" });
    await master.client().config("SET", "maxmemory", "1mb");
    await expect(store.jobs.admit(anAdmission())).rejects.toMatchObject({
      data: { applied: "no", reason: "out_of_memory" },
    });
  });

  test("asks the right master of a Cluster", async () => {
    const cluster = await startCluster();
    const [node] = cluster.nodes;
    if (node === undefined) throw new Error("no nodes");
    const wanted = { url: cluster.url, shards: "auto", durability: "replicated(1)", commandTimeoutMs: 2000 } as const;
    const store = await startStore(node, { ...wanted, allowUnsafeRedis: true });
    expect(store.health().problems.join()).toMatch(/0 replicas are connected/u);
    for (let index = 0; index < 3; index += 1) {
      const job = anAdmission();
      await expect(store.jobs.admit(job)).rejects.toMatchObject(TOO_FEW);
      expect(await store.jobs.head(job.id)).toMatchObject({ state: "pending" });
    }
  });
});

describe("Sentinels", () => {
  test("lead the store to the new master, where every acknowledged job stands", { timeout: 60_000 }, async () => {
    const [master, replica] = await startPair();
    const sentinel = await startSentinel(Number(master.port));
    const url = `redis+sentinel://127.0.0.1:${sentinel}/main`;
    const store = await startStore(master, { url, durability: "replicated(1)", commandTimeoutMs: 2000 });
    const acknowledged = [anAdmission(), anAdmission(), anAdmission()];
    for (const job of acknowledged) await store.jobs.admit(job);
    const before = await replica.client().info("replication");
    expect(before).toMatch(/role:slave/u);

    await master.kill("SIGKILL");
    await waitUntil(async () => /role:master/u.test(await replica.client().info("replication")), 40_000);
    await waitUntil(async () =>
      store.jobs.head(acknowledged[0]?.id ?? "").then(
        (head) => head !== undefined,
        () => false,
      ),
    );

    for (const { id } of acknowledged) expect(await store.jobs.head(id)).toMatchObject({ state: "pending" });
    // Alone, the new master can not promise what is asked for; it says so instead of pretending.
    let last: unknown;
    await waitUntil(async () => {
      last = await store.jobs.admit(anAdmission()).catch((error: unknown) => error);
      // Its own connection may take a moment longer.
      return !(last instanceof SupervisorError) || last.data?.["reason"] !== "not_connected";
    });
    expect(last).toMatchObject(TOO_FEW);
  });
});

/** One Sentinel that watches a master called `main`; its port. */
async function startSentinel(masterPort: number): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), "horus-sentinel-"));
  const port = await freePort();
  const file = join(directory, "sentinel.conf");
  const lines = [
    `port ${port}`,
    "bind 127.0.0.1",
    `dir ${directory}`,
    `sentinel monitor main 127.0.0.1 ${masterPort} 1`,
    "sentinel down-after-milliseconds main 500",
    "sentinel failover-timeout main 3000",
  ];
  await writeFile(file, `${lines.join("\n")}\n`);
  const child: ChildProcess = spawn("redis-server", [file, "--sentinel"], { stdio: "ignore" });
  onTestFinished(async () => {
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
    await rm(directory, { recursive: true, force: true });
  });
  const client = new Redis({ port, maxRetriesPerRequest: null });
  client.on("error", () => undefined);
  // It has found the replica as well.
  await waitUntil(async () => String(await client.call("SENTINEL", "REPLICAS", "main")).includes("127.0.0.1"), 30_000);
  client.disconnect();
  return port;
}
