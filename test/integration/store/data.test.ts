/** The data and their server: whose they are, how many shards they have, and what Redis must be set to. */
import { describe, expect, test } from "vitest";

import { SupervisorError } from "../../../src/errors.ts";
import type { Log } from "../../../src/log.ts";
import { createRedisStore, type RedisStoreOptions } from "../../../src/store/redis-store.ts";
import type { Store } from "../../../src/store/store.ts";
import { startRedis, type TestRedis } from "../../support/redis.ts";
import { anAdmission, aRegistration, IDENTITY, QUIET, startStore, storeOptions } from "../../support/store.ts";
import { waitUntil } from "../../support/wait.ts";

const OTHER = `ed25519:${"b".repeat(64)}`;

/** Starts a store, runs the callback, and stops it. */
async function withStore<Value>(
  redis: TestRedis,
  wanted: Partial<RedisStoreOptions>,
  use: (store: Store) => Value | Promise<Value>,
): Promise<Value> {
  const store = createRedisStore(storeOptions(redis, wanted));
  await store.start(IDENTITY);
  try {
    return await use(store);
  } finally {
    await store.stop();
  }
}

/** Why a start is refused: reason and message; undefined when it is not. */
async function refusal(
  redis: TestRedis,
  wanted: Partial<RedisStoreOptions>,
  identity = IDENTITY,
): Promise<{ readonly reason: unknown; readonly message: string; readonly isUp: boolean } | undefined> {
  const store = createRedisStore(storeOptions(redis, wanted));
  try {
    await store.start(identity);
  } catch (error) {
    if (!(error instanceof SupervisorError) || error.data?.["applied"] !== "no") throw error;
    return { reason: error.data["reason"], message: error.message, isUp: store.health().isUp };
  }
  await store.stop();
  return undefined;
}

describe("The data", () => {
  test("belong to the identity that started first", async () => {
    const redis = await startRedis();
    await withStore(redis, {}, () => undefined);

    const before = await redis.client().hgetall("horus:meta");
    const refused = await refusal(redis, { leaseMs: 1234 }, OTHER);
    expect(await redis.client().hgetall("horus:meta")).toEqual(before);
    expect(refused).toMatchObject({ reason: "other_identity", isUp: false });
    expect(refused?.message).toMatch(/belong to the supervisor ed25519:aaa.*Copy that supervisor's identity key/u);
    expect(await refusal(redis, {})).toBeUndefined();
    expect(await refusal(redis, { prefix: "other" }, OTHER)).toBeUndefined();
  });

  test("are claimed by one of two supervisors that start at once", async () => {
    const redis = await startRedis();
    const errors = await Promise.all([OTHER, IDENTITY, OTHER, IDENTITY].map(async (id) => refusal(redis, {}, id)));
    expect(errors.filter((error) => error === undefined)).toHaveLength(2);
    expect(errors[0] === undefined).toBe(errors[2] === undefined);
  });

  test("keep the shard count of their first start", async () => {
    const redis = await startRedis();
    await withStore(redis, { shards: 4 }, () => undefined);

    const before = await redis.client().hgetall("horus:meta");
    const refused = await refusal(redis, { shards: 2, leaseMs: 1234 });
    expect(await redis.client().hgetall("horus:meta")).toEqual(before);
    expect(refused).toMatchObject({ reason: "other_shards" });
    expect(refused?.message).toMatch(/redis.shards is 2, .* have 4 shards.* Set redis.shards to 4 or 0/u);
    expect(await refusal(redis, { shards: 4 })).toBeUndefined();
    await withStore(redis, { shards: "auto" }, async (store) => {
      await store.runners.register(aRegistration(), "{}");
      for (let index = 0; index < 12; index += 1) await store.jobs.admit(anAdmission());
    });
    const client = redis.client();
    expect(await client.hget("horus:meta", "shards")).toBe("4");
    expect((await client.keys("horus:{s*}:seq")).length).toBeGreaterThan(1);
  });

  test("have one shard on a single Redis unless told", async () => {
    const redis = await startRedis();
    await withStore(redis, { shards: "auto" }, () => undefined);
    expect(await redis.client().hget("horus:meta", "shards")).toBe("1");
  });
});

describe("An evicting policy", () => {
  const server = { settings: ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"] };

  test("refuses the start with the fix in one line", async () => {
    const redis = await startRedis(server);
    expect((await refusal(redis, {}))?.message).toMatch(
      /^\/.*maxmemory-policy is allkeys-lru.*CONFIG SET maxmemory-policy noeviction$/u,
    );
    expect(await redis.client().dbsize()).toBe(0);
  });

  test("is red health where it was allowed, and where it came later", async () => {
    const redis = await startRedis(server);
    await withStore(redis, { allowUnsafeRedis: true, checkIntervalMs: 20 }, async (store) => {
      expect(store.health().problems.join()).toMatch(/^maxmemory-policy is allkeys-lru/u);
      await redis.client().config("SET", "maxmemory-policy", "noeviction");
      await waitUntil(() => store.health().problems.length === 0);
      await redis.client().config("SET", "maxmemory-policy", "volatile-ttl");
      await waitUntil(() => store.health().problems.length === 1);
    });
  });
});

describe("Durability", () => {
  test("is what the server gives, with a warning where that is little", async () => {
    const redis = await startRedis();
    await withStore(redis, {}, (store) => {
      const { warnings, ...health } = store.health();
      expect(health).toEqual({ isUp: true, durability: "memory", problems: [] });
      expect(warnings.join()).toMatch(/^The append-only file is off.*CONFIG SET appendonly yes/u);
    });
    const safe = await startRedis({ aof: "always" });
    await withStore(safe, {}, (store) => {
      expect(store.health()).toEqual({ isUp: true, durability: "always", warnings: [], problems: [] });
    });
    await withStore(safe, { durability: "everysec" }, (store) => {
      expect(store.health().durability).toBe("everysec");
    });
  });

  test("that is more than the server gives refuses the start", async () => {
    const redis = await startRedis({ aof: "everysec" });
    expect((await refusal(redis, { durability: "always" }))?.message).toMatch(
      /durability is always, but Redis gives everysec.*appendfsync always/u,
    );
    expect((await refusal(redis, { durability: "replicated(1)" }))?.message).toMatch(
      /durability is replicated\(1\), but 0 replicas are connected/u,
    );
    expect(await refusal(redis, { durability: "everysec" })).toBeUndefined();
  });
});

describe("A Redis that lost data", () => {
  test("is noticed at once when it comes back empty, and gets back what the supervisor knows", async () => {
    const events: unknown[] = [];
    const log: Log = { ...QUIET, error: (...said: unknown[]) => events.push(said[0]) };
    const fixture = await startStore({ log });
    await fixture.store.revocations.revoke(["ed25519:bad"]);

    await fixture.redis.kill("SIGKILL");
    await fixture.redis.restart();

    await waitUntil(() => fixture.store.health().warnings.some((warning) => /was emptied/u.test(warning)));
    expect(events).toEqual([{ event: "redis_data_lost" }]);
    await waitUntil(async () => (await fixture.client.sismember(fixture.keys.of(0, "revoked"), "ed25519:bad")) === 1);
    expect(await fixture.client.hget("horus:meta", "identity")).toBe(IDENTITY);
  });

  test("is noticed when it went back to an older copy", async () => {
    const fixture = await startStore({ checkIntervalMs: 20 });
    await waitUntil(async () => Number(await fixture.client.hget("horus:meta", "epoch")) > 5);
    await fixture.client.hset("horus:meta", "epoch", 1);
    await waitUntil(() => fixture.store.health().warnings.some((warning) => /older copy/u.test(warning)));
    expect(fixture.store.health().problems).toEqual([]);
  });

  test("and now belongs to somebody else is red health", async () => {
    const fixture = await startStore({ checkIntervalMs: 20 });
    await fixture.client.hset("horus:meta", "identity", OTHER);
    await waitUntil(() => fixture.store.health().problems.some((problem) => problem.includes(OTHER)));
    expect(await fixture.client.hget("horus:meta", "identity")).toBe(OTHER);
  });
});
