/** Deleting and retention: everything of a job goes but its tombstone. */
import { randomUUID } from "node:crypto";

import { describe, expect, test } from "vitest";

import type { Finish } from "../../../src/runner/source.ts";
import type { RedisJobSource } from "../../../src/store/redis-source.ts";
import { allKeys } from "../../support/redis.ts";
import { aToken, expectDeletable, expectNoFaults, type Fixture, nowSeconds, startStore } from "../../support/store.ts";
import { waitUntil } from "../../support/wait.ts";

const COMPLETED: Finish = { status: "completed", code: 0, isRetryable: true, result: '{"text":"r"}' };

describe.each([1, 4])("Deleting on %i shards", (shards) => {
  test("leaves a tombstone and nothing else", async () => {
    const fixture = await startStore({ shards });
    const { jobs } = fixture.store;
    const source = await fixture.source();
    const before = await allKeys(fixture.client);
    const ended = await fixture.running(source, { contextId: "c", principal: "carol" });
    await source.append(ended, [{ attempt: 1, seq: 1, time_ms: 1, stream: "stdout", text: "x" }]);
    await source.finish(ended, COMPLETED);
    const pending = await fixture.admit({ principal: "carol" });
    const delayed = await fixture.admit({ principal: "carol", notBefore: nowSeconds() + 500 });
    const cancelled = await fixture.admit({ principal: "carol" });
    await jobs.cancel(cancelled.id, {}, "x");
    const ids = [ended.id, pending.id, delayed.id, cancelled.id];

    for (const id of ids) expect(await jobs.delete(id, { principal: "carol" })).toEqual({ outcome: "deleted" });

    const left = (await allKeys(fixture.client)).filter((key) => !before.includes(key) && !/:(?:claim|seq)/u.test(key));
    expect(left).toEqual(ids.map((id) => fixture.keys.tomb(id)).toSorted());
    for (const id of ids) {
      expect(await jobs.get(id)).toBeUndefined();
      expect(await jobs.logs(id, 0, 10)).toEqual({ entries: [], next: 0 });
    }
    expect(await jobs.list({ principal: "carol", limit: 10 })).toEqual({ jobs: [] });
    await expectNoFaults(fixture);
  });

  test("succeeds again for the owner, and is missing for everybody else", async () => {
    const fixture = await startStore({ shards });
    const { jobs } = fixture.store;
    const { id } = await fixture.admit();

    expect(await jobs.delete(id, { principal: "bob" })).toEqual({ outcome: "missing" });
    expect(await jobs.delete(id, { principal: "alice" })).toEqual({ outcome: "deleted" });
    expect(await jobs.delete(id, { principal: "alice" })).toEqual({ outcome: "deleted" });
    expect(await jobs.delete(id, {})).toEqual({ outcome: "deleted" });
    expect(await jobs.delete(id, { principal: "bob" })).toEqual({ outcome: "missing" });
    expect(await jobs.delete(randomUUID(), { principal: "alice" })).toEqual({ outcome: "missing" });
  });

  test("refuses a running job with its state", async () => {
    const fixture = await startStore({ shards });
    const { jobs } = fixture.store;
    const source = await fixture.source();
    const lease = await fixture.running(source);

    expect(await jobs.delete(lease.id, {})).toEqual({ outcome: "wrong_state", state: "running" });
    await jobs.cancel(lease.id, {}, "x");
    expect(await jobs.delete(lease.id, {})).toEqual({ outcome: "wrong_state", state: "running" });
    await source.finish(lease, COMPLETED);
    expect(await jobs.delete(lease.id, {})).toEqual({ outcome: "deleted" });
    expect(await source.finish(lease, COMPLETED)).toEqual({ outcome: "lost" });
    await expectNoFaults(fixture);
  });
});

describe("A tombstone", () => {
  test("lasts until a minute after the job could have been admitted", async () => {
    const fixture = await startStore();
    const { id } = await fixture.admit({ expiresAt: nowSeconds() + 100 });
    await fixture.store.jobs.delete(id, {});

    const lifeMs = await fixture.client.pttl(fixture.keys.tomb(id));

    expect(lifeMs).toBeGreaterThan(150_000);
    expect(lifeMs).toBeLessThanOrEqual(161_000);
  });

  test("is not needed for a job that could not be admitted any more", async () => {
    const fixture = await startStore();
    const { id } = await fixture.admit();
    await fixture.client.hset(fixture.keys.job(id), "expires_at", nowSeconds() - 61);

    expect(await fixture.store.jobs.delete(id, {})).toEqual({ outcome: "deleted" });

    expect(await fixture.client.exists(fixture.keys.tomb(id))).toBe(0);
    expect(await fixture.store.jobs.delete(id, {})).toEqual({ outcome: "missing" });
  });
});

describe.each([1, 4])("Retention on %i shards", (shards) => {
  test("deletes ended jobs by age, of every terminal state, and leaves the others", async () => {
    const fixture = await startStore({ shards });
    const { jobs } = fixture.store;
    const source = await fixture.source();
    const ended: string[] = [];
    for (const status of ["completed", "failed", "timeout", "cancelled"] as const) {
      const lease = await fixture.running(source);
      await source.append(lease, [{ attempt: 1, seq: 1, time_ms: 1, stream: "stdout", text: "x" }]);
      await source.finish(lease, { ...COMPLETED, status });
      ended.push(lease.id);
    }
    const running = await fixture.running(source);
    const pending = await fixture.admit();
    const lastFinishedMs = (await jobs.head(ended.at(-1) ?? ""))?.finishedMs ?? 0;
    expect(await fixture.maintain({ maxAgeSeconds: 60 })).toMatchObject({ retired: 0 });
    await waitUntil(() => Date.now() > lastFinishedMs + 1000);

    expect(await fixture.maintain({ maxAgeSeconds: 1 })).toMatchObject({ retired: 4 });

    for (const id of ended) {
      expect(await jobs.get(id)).toBeUndefined();
      expect(await fixture.client.exists(fixture.keys.tomb(id))).toBe(1);
    }
    expect(await jobs.head(running.id)).toMatchObject({ state: "running" });
    expect(await jobs.head(pending.id)).toMatchObject({ state: "pending" });
    await expectNoFaults(fixture);
  });

  test("keeps only so many ended jobs of a state, the newest", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const count = 260 * shards;
    await Promise.all(Array.from({ length: count }, async () => fixture.admit()));
    const claimed = await source.claim(count, aToken());
    await Promise.all(claimed.map(async ({ lease }) => source.finish(lease, COMPLETED)));

    const { retired } = await fixture.maintain({ maxJobs: 10 * shards });

    const { jobs } = await fixture.store.jobs.list({ limit: count });
    expect(jobs.length).toBe(count - retired);
    expect(jobs.length).toBeLessThanOrEqual(10 * shards);
    expect(retired).toBeGreaterThan(count / 2);
    await expectNoFaults(fixture);
  });
});

/** Ends jobs with a log and a result of about so many bytes, one after the other. */
async function end(
  fixture: Fixture,
  source: RedisJobSource,
  bytes: readonly number[],
  status: Finish["status"] = "completed",
): Promise<string[]> {
  const ids: string[] = [];
  for (const size of bytes) {
    const lease = await fixture.running(source, { principal: "carol" });
    const half = "x".repeat(size / 2);
    await source.append(lease, [{ attempt: 1, seq: 1, time_ms: 1, stream: "stdout", text: half }]);
    await source.finish(lease, { ...COMPLETED, status, result: `{"text":"${half}"}` });
    ids.push(lease.id);
  }
  return ids;
}

describe.each([1, 4])("Retention by bytes on %i shards", (shards) => {
  test("deletes the oldest ended jobs until a shard's share is kept, and no other", async () => {
    const fixture = await startStore({ shards });
    const { jobs } = fixture.store;
    const before = await allKeys(fixture.client);
    const source = await fixture.source();
    const failed = await end(fixture, source, [50_000], "failed");
    const ended = await end(
      fixture,
      source,
      Array.from({ length: 12 * shards }, () => 10_000),
    );
    const pending = await fixture.admit({ principal: "carol" });

    // 45,000 bytes a shard: four jobs of 10,000 and what else there is of them.
    await fixture.maintain({ maxBytes: 45_000 * shards });

    const byShard = new Map<number, string[]>();
    for (const id of ended) {
      const shard = fixture.keys.shardOf(id);
      byShard.set(shard, [...(byShard.get(shard) ?? []), id]);
    }
    for (const ids of byShard.values()) {
      for (const id of ids.slice(-4)) expect(await jobs.head(id)).toMatchObject({ state: "completed" });
      for (const id of ids.slice(0, -4)) {
        expect(await jobs.head(id)).toBeUndefined();
        expect(await jobs.delete(id, { principal: "carol" })).toEqual({ outcome: "deleted" });
      }
    }
    expect(await jobs.head(failed[0] ?? "")).toMatchObject({ state: "failed" });
    expect(await jobs.head(pending.id)).toMatchObject({ state: "pending" });
    await expectNoFaults(fixture);
    expect(await fixture.maintain({ maxBytes: 45_000 * shards })).toMatchObject({ retired: 0 });

    await expectDeletable(fixture, [...ended, ...failed, pending.id]);
    const left = (await allKeys(fixture.client)).filter((key) => !before.includes(key));
    expect(left.filter((key) => !/:(?:tomb|claim|seq|beat|live)/u.test(key))).toEqual([]);
  });

  test("keeps the newest job of a state, however large it is", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const [old = ""] = await end(fixture, source, [60_000]);
    const same = fixture.keys.shardOf(old);
    let newest = old;
    while (newest === old || fixture.keys.shardOf(newest) !== same)
      [newest = ""] = await end(fixture, source, [60_000]);

    await fixture.maintain({ maxBytes: 1000 });

    expect(await fixture.store.jobs.head(old)).toBeUndefined();
    expect(await fixture.store.jobs.head(newest)).toMatchObject({ state: "completed" });
    await expectNoFaults(fixture);
  });

  test("frees a surplus of more than one script's worth in one look", async () => {
    const fixture = await startStore({ shards });
    const count = 260 * shards;
    const ids = await Promise.all(Array.from({ length: count }, async () => (await fixture.admit()).id));
    await Promise.all(ids.map(async (id) => fixture.store.jobs.cancel(id, {}, "x")));

    const { retired } = await fixture.maintain({ maxBytes: 1000 });

    expect(retired).toBeGreaterThan(count - 10 * shards);
    await expectNoFaults(fixture);
  });
});

describe("A count of bytes that went wrong", () => {
  test("does not stay wrong when nothing is left to count", async () => {
    const fixture = await startStore();
    await fixture.client.hset(fixture.keys.of(0, "bytes"), "!completed", 5_000_000);

    expect(await fixture.maintain({ maxBytes: 1000 })).toMatchObject({ retired: 0 });

    await expectNoFaults(fixture);
  });

  test("is not put right at the cost of jobs that were ended before bytes were counted", async () => {
    const fixture = await startStore();
    const { keys, client } = fixture;
    const old = await fixture.admit();
    const young = await fixture.admit();
    for (const { id } of [old, young]) await fixture.store.jobs.cancel(id, {}, "x");
    const counted = Number(await client.hget(keys.job(old.id), "kept_bytes"));
    await client.hdel(keys.job(old.id), "kept_bytes");
    await client.hincrby(keys.of(0, "bytes"), "!cancelled", -counted);

    expect(await fixture.store.jobs.delete(old.id, {})).toEqual({ outcome: "deleted" });

    await expectNoFaults(fixture);
  });
});

describe("Index entries without a record", () => {
  test("are taken away by maintenance and skipped by lists", async () => {
    const fixture = await startStore();
    const { keys, client } = fixture;
    const job = await fixture.admit();
    await client.zadd(keys.done(0, "failed"), 1, "ghost", 1, job.id);
    await client.zadd(keys.of(0, "expiry"), 1, "ghost");
    await client.zadd(keys.of(0, "jobs"), 1, "ghost");

    expect((await fixture.store.jobs.list({ limit: 10 })).jobs.map(({ id }) => id)).toEqual([job.id]);
    await fixture.maintain({ maxAgeSeconds: 1 });
    await client.zrem(keys.of(0, "jobs"), "ghost");

    await expectNoFaults(fixture);
  });
});
