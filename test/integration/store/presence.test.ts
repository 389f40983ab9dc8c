/** A runner's presence: one live process a name, heartbeats as evidence, and who is served. */
import { describe, expect, onTestFinished, test } from "vitest";

import { SIGNED_RUNNER } from "../../../src/rpc/examples.ts";
import type { RunnerHello } from "../../../src/runner/source.ts";
import { createRedisJobSource, type RedisJobSource } from "../../../src/store/redis-source.ts";
import { aRegistration, aToken, type Fixture, QUIET, startStore } from "../../support/store.ts";
import { waitUntil } from "../../support/wait.ts";

function aHello(wanted: Partial<RunnerHello> = {}): RunnerHello {
  const { key } = SIGNED_RUNNER.body;
  return { name: "build-1", key, groups: ["build"], slots: 2, version: "1.2.3", process: aToken(), ...wanted };
}

/** A started source that has not attached. */
async function newcomer(
  { redis }: Fixture,
  groups: readonly string[] = ["build"],
  leaseMs?: number,
): Promise<RedisJobSource> {
  const runner = { name: "build-1", groups };
  const lease = leaseMs === undefined ? {} : { leaseMs };
  const source = createRedisJobSource({ url: redis.url, prefix: "horus", runner, log: QUIET, now: Date.now, ...lease });
  onTestFinished(async () => source.stop());
  await source.start();
  return source;
}

describe.each([1, 4])("Attaching on %i shards", (shards) => {
  test("takes the name for one process while its heartbeat is fresh", async () => {
    const fixture = await startStore({ shards, leaseMs: 1500 });
    const [first, second] = [await newcomer(fixture), await newcomer(fixture)];
    const hello = aHello();

    expect(await first.attach(hello)).toEqual({ outcome: "attached" });
    expect(await first.attach(hello)).toEqual({ outcome: "attached" });
    const refused = await second.attach(aHello());
    expect(refused).toMatchObject({ outcome: "taken" });
    expect(refused.outcome === "taken" ? refused.heartbeatAgeMs : -1).toBeLessThan(1500);

    await waitUntil(async () => (await second.attach(aHello())).outcome === "attached");
    expect(await first.heartbeat({ running: 0, isDraining: false })).toBe("removed");
    await Promise.all([first.stop(), second.stop()]);
  });

  test("takes it a lease after the clock was put back, when the process that had it is not heard of", async () => {
    const fixture = await startStore({ shards, leaseMs: 600 });
    const [first, second] = [await newcomer(fixture), await newcomer(fixture)];
    await first.attach(aHello());
    const { client, keys } = fixture;
    const ahead = Date.now() + 3_600_000;
    await client.hset(keys.beat("build-1"), "heartbeat_ms", ahead);
    await client.zadd(keys.live("build"), ahead, "build-1");

    expect(await fixture.store.runners.isServed("build")).toBe(false);
    const refused = await second.attach(aHello());
    expect(refused).toMatchObject({ outcome: "taken", heartbeatAgeMs: 0 });
    await waitUntil(async () => (await second.attach(aHello())).outcome === "attached");
    expect(await fixture.store.runners.isServed("build")).toBe(true);
    await Promise.all([first.stop(), second.stop()]);
  });

  test("is free at once after a detach", async () => {
    const fixture = await startStore({ shards });
    const [first, second] = [await newcomer(fixture), await newcomer(fixture)];
    await first.attach(aHello());
    await first.detach();

    expect((await fixture.store.runners.get("build-1"))?.isDetached).toBe(true);
    expect(await second.attach(aHello())).toEqual({ outcome: "attached" });
    expect((await fixture.store.runners.get("build-1"))?.isDetached).toBe(false);
    await Promise.all([first.stop(), second.stop()]);
  });

  test("is refused to the unregistered, to another key, and to other groups", async () => {
    const fixture = await startStore({ shards });
    const source = await newcomer(fixture);

    expect(await source.attach(aHello({ name: "stranger" }))).toEqual({ outcome: "not_registered" });
    expect(await source.attach(aHello({ key: "ed25519:other" }))).toEqual({
      outcome: "mismatch",
      reason: "registered with another key",
    });
    for (const groups of [[], ["build", "more"], ["other"]]) {
      expect(await source.attach(aHello({ groups }))).toEqual({
        outcome: "mismatch",
        reason: 'registered with the groups "build"',
      });
    }
    await fixture.store.revocations.revoke([SIGNED_RUNNER.body.key]);
    expect(await source.attach(aHello())).toEqual({ outcome: "not_registered" });
    await source.stop();
  });
});

describe("A heartbeat", () => {
  test("is evidence of claims, finishes and load, by the server's clock", async () => {
    const fixture = await startStore({ shards: 4 });
    const source = await fixture.source();
    const before = Date.now();
    const lease = await fixture.running(source);
    await source.finish(lease, { status: "completed", code: 0, isRetryable: true });

    expect(await source.heartbeat({ running: 2, isDraining: true })).toBe("ok");

    const record = await fixture.store.runners.get("build-1");
    expect(record).toMatchObject({ running: 2, isDraining: true, isDetached: false, version: "1.0.0" });
    for (const ms of [record?.heartbeatMs, record?.claimedMs, record?.finishedMs]) {
      expect(ms).toBeGreaterThanOrEqual(before - 1);
      expect(ms).toBeLessThanOrEqual((record?.nowMs ?? 0) + 1);
    }
  });

  test("says so when the runner was removed or its key revoked", async () => {
    const fixture = await startStore();
    await fixture.store.runners.register(aRegistration({ name: "other", key: "ed25519:o", groups: [] }), "{}");
    const other = await fixture.source({ runner: { name: "other", groups: [] } }, { key: "ed25519:o" });
    const source = await fixture.source();
    expect(await source.heartbeat({ running: 0, isDraining: false })).toBe("ok");

    await fixture.store.runners.remove("build-1", true);
    await fixture.store.revocations.revoke(["ed25519:o"]);

    expect(await source.heartbeat({ running: 0, isDraining: false })).toBe("removed");
    expect(await other.heartbeat({ running: 0, isDraining: false })).toBe("removed");
  });

  test("counts where it can be true; what a runner's own user writes else hides neither it nor the others", async () => {
    const { store, client, keys } = await startStore();
    await store.runners.register(aRegistration({ name: "other", key: "ed25519:o", groups: [] }), "{}");
    const beat = keys.beat("build-1");

    await client.hset(beat, { running: "x", heartbeat_ms: "inf", claimed_ms: "-1", finished_ms: "1.5", version: "1" });
    const [first, second] = (await store.runners.list()).toSorted(
      (a, b) => (a.version ?? "").length - (b.version ?? "").length,
    );
    expect([first?.registration.body.name, second]).toMatchObject(["other", { running: 0, version: "1" }]);
    expect(second).not.toHaveProperty("heartbeatMs");
    expect(second).not.toHaveProperty("claimedMs");
    expect(second).not.toHaveProperty("finishedMs");

    await client.hset(beat, "version", "9".repeat(100_000));
    expect((await store.runners.get("build-1"))?.version).toHaveLength(64);

    await client.set(beat, "no hash");
    expect(await store.runners.list()).toHaveLength(2);
    expect(await store.runners.get("build-1")).toMatchObject({ running: 0 });
  });

  test("before attaching is a mistake; detaching is not", async () => {
    const source = await newcomer(await startStore());
    await expect(source.heartbeat({ running: 0, isDraining: false })).rejects.toThrow(/before attach/u);
    await source.detach();
    await source.stop();
  });
});

describe("A name", () => {
  test("is served while a live runner takes its jobs", async () => {
    const fixture = await startStore({ leaseMs: 2000 });
    const { runners } = fixture.store;
    await runners.register(aRegistration({ name: "b2", key: "ed25519:b2", groups: ["build"] }), "{}");
    expect(await runners.isServed("build")).toBe(false);

    const one = await fixture.source();
    const two = await fixture.source({ runner: { name: "b2", groups: ["build"] } }, { key: "ed25519:b2" });
    expect(await runners.isServed("build")).toBe(true);
    expect(await runners.isServed("build-1")).toBe(true);
    expect(await runners.isServed("nobody")).toBe(false);

    await one.detach();
    expect(await runners.isServed("build-1")).toBe(false);
    expect(await runners.isServed("build")).toBe(true);
    await two.heartbeat({ running: 0, isDraining: true });
    expect(await runners.isServed("build")).toBe(false);
    await two.heartbeat({ running: 0, isDraining: false });
    expect(await runners.isServed("build")).toBe(true);
    await waitUntil(async () => !(await runners.isServed("build")));
    await two.heartbeat({ running: 0, isDraining: false });
    await runners.remove("b2", true);
    expect(await runners.isServed("build")).toBe(false);
  });
});

describe("A source", () => {
  test("reads lease and shards from what the supervisors wrote", async () => {
    const fixture = await startStore({ shards: 4, leaseMs: 7777 });
    const source = await newcomer(fixture);
    expect(source.leaseMs).toBe(7777);
    await source.stop();
  });

  test("can be told another lease and other delays", async () => {
    const fixture = await startStore();
    const source = await fixture.source({ leaseMs: 1234, backoff: { baseMs: 60_000, maxMs: 60_000 } });
    expect(source.leaseMs).toBe(1234);
    expect((await newcomer(fixture, ["build"], 3_600_000)).leaseMs).toBe(10_000);
    const lease = await fixture.running(source, { maxAttempts: 2 });
    await source.finish(lease, { status: "failed", code: 1, isRetryable: true });
    expect((await fixture.store.jobs.head(lease.id))?.readyMs).toBeGreaterThan(Date.now() + 20_000);
  });

  test("refuses to start where no supervisor has, and to work before it started", async () => {
    const { redis } = await startStore();
    const runner = { name: "build-1", groups: [] };
    const source = createRedisJobSource({ url: redis.url, prefix: "other", runner, log: QUIET, now: Date.now });
    expect(() => source.leaseMs).toThrow(/Unavailable/u);
    await expect(source.start()).rejects.toThrow(/No supervisor has started on .* under the prefix "other"/u);
  });
});
