/** Faults of Redis: typed errors that say whether the request was applied, and nothing stuck afterwards. */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";

import { describe, expect, onTestFinished, test } from "vitest";

import { SupervisorError } from "../../../src/errors.ts";
import { createLog } from "../../../src/log.ts";
import { createRedisStore } from "../../../src/store/redis-store.ts";
import { startRedis } from "../../support/redis.ts";
import {
  anAdmission,
  aRegistration,
  aToken,
  expectNoFaults,
  IDENTITY,
  nowSeconds,
  startStore,
  storeOptions,
} from "../../support/store.ts";
import { waitUntil } from "../../support/wait.ts";

/** The typed error a call ends with, or its answer. @throws what is no typed error */
async function failure(call: Promise<unknown>): Promise<{
  readonly name?: string;
  readonly applied?: unknown;
  readonly reason?: unknown;
  readonly answer?: unknown;
}> {
  try {
    return { answer: await call };
  } catch (error) {
    if (error instanceof SupervisorError) return { name: error.name, ...error.data };
    throw error;
  }
}

describe("When memory is full", () => {
  test("new jobs are refused whole, and everything that ends work or frees memory goes on", async () => {
    const fixture = await startStore();
    const { store, client } = fixture;
    const source = await fixture.source();
    const running = await Promise.all([1, 2, 3, 4].map(async () => fixture.admit({ priority: 9, maxAttempts: 2 })));
    const claimed = await source.claim(4, aToken());
    const [first, second, third] = claimed.map(({ lease }) => lease);
    if (first === undefined || second === undefined || third === undefined) throw new Error("nothing claimed");
    const pending = await fixture.admit();
    const other = await fixture.admit();
    await client.config("SET", "maxmemory", "1mb");

    expect(await failure(store.jobs.admit(anAdmission()))).toEqual({
      name: "unavailable",
      applied: "no",
      reason: "out_of_memory",
    });
    expect(
      await failure(source.append(first, [{ attempt: 1, seq: 1, time_ms: 1, stream: "stdout", text: "x" }])),
    ).toEqual({ name: "unavailable", applied: "no", reason: "out_of_memory" });
    const call = { key: "ed25519:a", nonce: aToken(), iat: nowSeconds(), exp: nowSeconds() + 60 };
    expect(await store.replay.claimNonce(call)).toEqual({ outcome: "fresh" });
    expect(await source.renew([first])).toEqual([{ outcome: "renewed", isCancelling: false }]);
    expect(await source.heartbeat({ running: 4, isDraining: false })).toBe("ok");
    expect(await source.finish(first, { status: "completed", code: 0, isRetryable: true })).toMatchObject({
      state: "completed",
    });
    expect(await source.finish(second, { status: "failed", code: 1, isRetryable: true })).toMatchObject({
      state: "pending",
    });
    expect(await source.release(third)).toBe("released");
    expect(await store.jobs.cancel(pending.id, {}, "x")).toEqual({ outcome: "cancelled" });
    expect(await store.jobs.delete(pending.id, {})).toEqual({ outcome: "deleted" });
    expect(await store.jobs.delete(first.id, {})).toEqual({ outcome: "deleted" });
    expect((await source.claim(1, aToken())).length).toBe(1);
    expect(await store.jobs.list({ limit: 10 })).toHaveProperty("jobs");
    await fixture.maintain({ maxJobs: 0 });
    // A supervisor and a runner that are started again in this state can go on freeing memory.
    const restarted = await fixture.another();
    await restarted.revocations.revoke(["ed25519:bad"]);
    expect(await restarted.runners.register(aRegistration(), "{}")).toEqual({ outcome: "same" });
    await source.detach();
    await fixture.source();
    expect(await store.runners.remove("build-1", true)).toMatchObject({ outcome: "removed" });

    await client.config("SET", "maxmemory", "0");
    expect(await store.jobs.head(other.id)).toMatchObject({ id: other.id });
    expect(running).toHaveLength(4);
    await expectNoFaults(fixture);
  });
});

describe("When the script cache was emptied", () => {
  test("every call goes on as if nothing had been", async () => {
    const fixture = await startStore();
    const source = await fixture.source();
    for (let round = 0; round < 3; round += 1) {
      await fixture.client.script("FLUSH");
      const lease = await fixture.running(source);
      await fixture.client.script("FLUSH");
      expect(await source.finish(lease, { status: "completed", code: 0, isRetryable: true })).toMatchObject({
        state: "completed",
      });
    }
    await expectNoFaults(fixture);
  });
});

describe("When Redis refuses", () => {
  test("a replica's refusal is not applied", async () => {
    const fixture = await startStore();
    const job = anAdmission();
    await fixture.client.replicaof("127.0.0.1", 1);

    // The client looks for a master again after such an answer, so other calls may find no connection.
    expect((await failure(fixture.store.jobs.admit(job))).applied).toBe("no");

    await fixture.client.replicaof("NO", "ONE");
    await waitUntil(async () => (await failure(fixture.store.jobs.admit(job))).name === undefined);
    expect(await fixture.store.jobs.admit(job)).toEqual({ outcome: "duplicate", state: "pending" });
  });

  test("a failed snapshot, missing replicas and a full disk's refusal are not applied", async () => {
    const fixture = await startStore({}, { settings: ["--enable-protected-configs", "local"] });
    const { client, store } = fixture;
    await client.config("SET", "min-replicas-to-write", "1");
    expect(await failure(store.jobs.admit(anAdmission()))).toEqual({
      name: "unavailable",
      applied: "no",
      reason: "too_few_replicas",
    });
    await client.config("SET", "min-replicas-to-write", "0");

    // Nobody can write a snapshot into a directory that is gone.
    const gone = await mkdtemp(join(tmpdir(), "horus-gone-"));
    await client.config("SET", "dir", gone);
    await rm(gone, { recursive: true });
    await client.config("SET", "save", "3600 1");
    await client.bgsave();
    await waitUntil(async () => /rdb_last_bgsave_status:err/u.test(await client.info("persistence")));
    expect(await failure(store.jobs.admit(anAdmission()))).toEqual({
      name: "unavailable",
      applied: "no",
      reason: "persistence_failed",
    });
    const unwell = await fixture.another().catch((error: unknown) => error);
    expect(unwell).toMatchObject({ data: { applied: "no", reason: "persistence_failed" } });
    await client.config("SET", "stop-writes-on-bgsave-error", "no");
    const red = await fixture.another();
    expect(red.health().problems.join()).toMatch(/can not write its data to disk \(rdb_last_bgsave_status/u);
  });

  test("a script of somebody else that takes too long is not ours, and not applied", async () => {
    const fixture = await startStore({ commandTimeoutMs: 3000 });
    await fixture.client.config("SET", "busy-reply-threshold", "1");
    const second = fixture.redis.client();
    await second.ping();
    const blocked = fixture.client.eval("while true do end", 0).catch((error: unknown) => error);
    await waitUntil(async () => {
      const { reason, applied } = await failure(fixture.store.jobs.admit(anAdmission()));
      return reason === "busy" && applied === "no";
    });
    await second.script("KILL");
    expect(String(await blocked)).toMatch(/killed by user/u);
    await fixture.admit();
  });

  test("foreign data under our keys change nothing before they are found", async () => {
    const fixture = await startStore();
    const job = anAdmission();
    await fixture.client.set(fixture.keys.job(job.id), "a text");
    expect(await failure(fixture.store.jobs.admit(job))).toMatchObject({ name: "unavailable", reason: "foreign_data" });
    await fixture.client.del(fixture.keys.job(job.id));
    await expectNoFaults(fixture);
  });

  test("a user without the right is told so, with nothing applied", async () => {
    const redis = await startRedis({ port: true });
    await redis.client().call("ACL", "SETUSER", "weak", "on", ">secret", "~*", "&*", "+@all", "-evalsha", "-eval");
    const store = createRedisStore(storeOptions(redis, { url: `redis://weak:secret@127.0.0.1:${redis.port}` }));
    const error = await store.start(IDENTITY).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name: "unavailable", data: { applied: "no", reason: "not_permitted" } });
    expect(inspect(error)).not.toContain("secret");
  });
});

describe("When Redis is away", () => {
  test("calls fail at once, not applied, and work again when it is back", async () => {
    const fixture = await startStore({}, { aof: "always" });
    const job = await fixture.admit();
    await fixture.redis.kill("SIGKILL");
    await waitUntil(() => !fixture.store.health().isUp);

    expect(await failure(fixture.store.jobs.admit(anAdmission()))).toEqual({
      name: "unavailable",
      applied: "no",
      reason: "not_connected",
    });

    await fixture.redis.restart();
    await waitUntil(() => fixture.store.health().isUp);
    expect(await fixture.store.jobs.admit(job)).toEqual({ outcome: "duplicate", state: "pending" });
    await expectNoFaults(fixture);
  });

  test("the log says so once, and once when it is back; a stop is no outage", async () => {
    const events: string[] = [];
    const write = (line: string): void =>
      void events.push(...(/"event":"(redis_(?:lost|back))"/u.exec(line)?.slice(1) ?? []));
    const fixture = await startStore({ log: createLog({ level: "info", pretty: false }, { write }) });

    for (const times of [1, 2]) {
      await fixture.redis.kill("SIGKILL");
      await waitUntil(() => events.length === 2 * times - 1);
      // Long enough for attempts to connect that fail.
      await sleep(300);
      await fixture.redis.restart();
      await waitUntil(() => events.length === 2 * times);
    }
    await fixture.store.stop();

    expect(events).toEqual(["redis_lost", "redis_back", "redis_lost", "redis_back"]);
  });

  test("a call in flight when it is killed has an unknown outcome, and is never sent again by itself", async () => {
    const fixture = await startStore({}, { aof: "always" });
    await fixture.redis.kill("SIGSTOP");
    const calls = Array.from({ length: 20 }, () => anAdmission());
    const outcomes = Promise.all(calls.map(async (job) => failure(fixture.store.jobs.admit(job))));
    await fixture.redis.kill("SIGKILL");

    for (const outcome of await outcomes) expect(outcome).toMatchObject({ name: "unavailable", applied: "unknown" });

    await fixture.redis.restart();
    await waitUntil(() => fixture.store.health().isUp);
    // Killed while stopped, it had read nothing: had a client sent them again, they would be there.
    for (const { id } of calls) expect(await fixture.store.jobs.head(id)).toBeUndefined();
  });

  test("a frozen one costs a call its time and no more", async () => {
    const fixture = await startStore({ commandTimeoutMs: 1000 });
    await fixture.redis.kill("SIGSTOP");

    expect(await failure(fixture.store.jobs.head("x"))).toEqual({
      name: "unavailable",
      applied: "unknown",
      reason: "timeout",
    });

    await fixture.redis.kill("SIGCONT");
    await waitUntil(async () => (await failure(fixture.store.jobs.head("x"))).name === undefined);
    await fixture.admit();
  });

  test("a start says where it tried and what to do", async () => {
    const redis = await startRedis({ port: true });
    const { url, port } = redis;
    await redis.kill("SIGKILL");
    const store = createRedisStore(storeOptions(redis, { url: `redis://user:hush@127.0.0.1:${port}` }));
    const error = await store.start(IDENTITY).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      name: "unavailable",
      data: { applied: "no", reason: "not_connected" },
      message: `redis://127.0.0.1:${port}: cannot connect to Redis (connect ECONNREFUSED 127.0.0.1:${port}). Start Redis, or pass --redis-url.`,
    });
    expect(url).toBe(`redis://127.0.0.1:${port}`);
  });

  test.each([
    ["a wrong password", "user:wrong@", "WRONGPASS"],
    ["none where one is needed", "", "NOAUTH"],
  ])("a start with %s says what is wrong with the login, and not with the server", async (_what, login, code) => {
    const redis = await startRedis({ port: true });
    await redis.client().config("SET", "requirepass", "right");
    const store = createRedisStore(storeOptions(redis, { url: `redis://${login}127.0.0.1:${redis.port}` }));
    const error = await store.start(IDENTITY).catch((thrown: unknown) => thrown);

    expect(String(error)).toContain(`cannot connect to Redis (${code}`);
    expect(String(error)).toContain("). Give user and password in --redis-url: redis://USER:PASSWORD@HOST:PORT.");
    expect(String(error)).not.toMatch(/Start Redis|user:|wrong@/u);
  });

  test("one that is still loading is waited for, and named when that takes too long", async () => {
    const redis = await startRedis();
    const client = redis.client();
    const filler = client.pipeline();
    for (let index = 0; index < 20_000; index += 1) filler.set(`filler:${index}`, "x");
    await filler.exec();
    await client.save();
    const slow = ["--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"];
    await redis.restart({ settings: slow, isLoading: true });

    const store = createRedisStore(storeOptions(redis, { commandTimeoutMs: 1000 }));
    const error = await store.start(IDENTITY).catch((thrown: unknown) => thrown);

    expect(error).toMatchObject({ name: "unavailable", data: { applied: "no", reason: "not_connected" } });
    expect(String(error)).toMatch(/it is still loading its data/u);
  });
});

describe("When the connection is cut after a call was executed", () => {
  test("the outcome is unknown, the call is not repeated, and asking again tells", async () => {
    const fixture = await startStore({}, { port: true });
    const { port = 0 } = fixture.redis;
    const { url, cutAnswers } = await startCutter(port);
    const store = createRedisStore(storeOptions(fixture.redis, { url }));
    onTestFinished(async () => store.stop());
    await store.start(IDENTITY);
    // The script is known to the server, so that the next call is executed at once.
    await store.jobs.admit(anAdmission());
    const job = anAdmission();

    cutAnswers();
    expect(await failure(store.jobs.admit(job))).toEqual({
      name: "unavailable",
      applied: "unknown",
      reason: "connection_lost",
    });
    await waitUntil(() => store.health().isUp);

    expect(await store.jobs.head(job.id)).toMatchObject({ state: "pending", revision: 1 });
    expect(await store.jobs.admit(job)).toEqual({ outcome: "duplicate", state: "pending" });
    expect(await fixture.client.get(fixture.keys.of(0, "seq"))).toBe("2");
  });
});

describe("When the answer of a claim is cut at one shard", () => {
  test("the jobs of the others are given out, and what it took unheard comes with the next claim", async () => {
    const fixture = await startStore({ shards: 4 }, { port: true });
    const { url, cutAnswers } = await startCutter(fixture.redis.port ?? 0);
    const source = await fixture.source({ url });
    for (let index = 0; index < 40; index += 1) await fixture.admit();
    const perShard = async (): Promise<readonly number[]> =>
      Promise.all(fixture.keys.allShards.map(async (shard) => fixture.client.zcard(fixture.keys.of(shard, "leases"))));
    // The script is known to the server.
    const warm = await source.claim(1, aToken());

    cutAnswers(1);
    const first = await source.claim(40, aToken());
    const taken = (await perShard()).reduce((sum, count) => sum + count, 0);
    expect(first.length).toBeGreaterThan(0);
    expect(taken).toBeGreaterThan(warm.length + first.length);

    const rest: string[] = [];
    await waitUntil(async () => {
      const more = await source.claim(40, aToken()).catch(() => []);
      rest.push(...more.map(({ lease }) => lease.id));
      return warm.length + first.length + rest.length >= 40;
    });
    const all = [...[...warm, ...first].map(({ lease }) => lease.id), ...rest];
    expect(new Set(all).size).toBe(40);
    expect((await source.renew(first.map(({ lease }) => lease))).every(({ outcome }) => outcome === "renewed")).toBe(
      true,
    );
    await expectNoFaults(fixture);
  });

  test("what nobody has a slot for any more is given back", async () => {
    const fixture = await startStore({ shards: 4 }, { port: true });
    const { url, cutAnswers } = await startCutter(fixture.redis.port ?? 0);
    const source = await fixture.source({ url });
    for (let index = 0; index < 40; index += 1) await fixture.admit();
    await source.claim(1, aToken());
    cutAnswers(1);
    const first = await source.claim(40, aToken());

    let next: Awaited<ReturnType<typeof source.claim>> = [];
    await waitUntil(async () => {
      next = await source.claim(1, aToken()).catch(() => []);
      return next.length > 0;
    });

    expect(next).toHaveLength(1);
    const { jobs } = await fixture.store.jobs.list({ state: "running", limit: 100 });
    expect(jobs).toHaveLength(1 + first.length + 1);
    await expectNoFaults(fixture);
  });
});

describe("When Redis stands still while a claim is under way", () => {
  test("what one shard took unheard is given back once another has filled the slots", async () => {
    const fixture = await startStore({ shards: 2 });
    const source = await fixture.source({ commandTimeoutMs: 500 });
    for (let index = 0; index < 20; index += 1) await fixture.admit({ onLoss: "fail" });
    const [warm] = await source.claim(1, aToken());
    if (warm !== undefined) await source.release(warm.lease);

    await fixture.redis.kill("SIGSTOP");
    const claimed = source.claim(1, aToken());
    // The first shard's call is given up, the second one's is under way.
    await sleep(750);
    await fixture.redis.kill("SIGCONT");

    expect(await claimed).toHaveLength(1);
    await waitUntil(async () => (await fixture.store.jobs.list({ state: "running", limit: 100 })).jobs.length === 1);
    await expectNoFaults(fixture);
  });
});

/** A TCP proxy that on demand, after some answers more, lets a request through and cuts the connection instead of the answer. */
async function startCutter(port: number): Promise<{ url: string; cutAnswers: (passing?: number) => void }> {
  const sockets = new Set<Socket>();
  let untilCut: number | undefined;
  const proxy = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        near.destroy();
        far.destroy();
      });
    }
    near.on("data", (chunk) => far.write(chunk));
    far.on("data", (chunk) => {
      if (untilCut === undefined || untilCut > 0) {
        near.write(chunk);
        if (untilCut !== undefined) untilCut -= 1;
        return;
      }
      untilCut = undefined;
      near.destroy();
    });
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  const address = proxy.address();
  if (address === null || typeof address === "string") throw new Error("no address");
  return {
    url: `redis://127.0.0.1:${address.port}`,
    cutAnswers: (passing = 0) => {
      untilCut = passing;
    },
  };
}

describe("Supervisors that register at once", () => {
  test("publish one registry", async () => {
    const fixture = await startStore({ shards: 4 });
    const other = await fixture.another();
    await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const registration = aRegistration({ name: `r${index}`, key: `ed25519:${index}`, groups: ["all"] });
        return (index % 2 === 0 ? fixture.store : other).runners.register(registration, "{}");
      }),
    );
    expect(await fixture.client.hget(fixture.keys.of(0, "groups"), "all")).toBe("20");
    for (const shard of fixture.keys.allShards) {
      expect(await fixture.client.hget(fixture.keys.of(shard, "names"), "all")).toBe("20");
    }
  });
});
