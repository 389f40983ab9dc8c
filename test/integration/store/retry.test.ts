/** Retries: an attempt that failed comes back after a delay, in its place, as often as the job allows. */
import { describe, expect, test } from "vitest";

import type { Finish, Lease } from "../../../src/runner/source.ts";
import type { RedisJobSource } from "../../../src/store/redis-source.ts";
import { aToken, expectNoFaults, startStore } from "../../support/store.ts";
import { waitUntil } from "../../support/wait.ts";

const FAILED: Finish = { status: "failed", code: 1, reason: "exit code 1", isRetryable: true };

/** Claims until the delay is over. */
async function claimOne(source: RedisJobSource): Promise<Lease> {
  let lease: Lease | undefined;
  await waitUntil(async () => {
    [lease] = (await source.claim(1, aToken())).map((job) => job.lease);
    return lease !== undefined;
  });
  if (lease === undefined) throw new Error("nothing claimed");
  return lease;
}

describe.each([1, 4])("A failed attempt on %i shards", (shards) => {
  test("is retried until max_attempts have ended failed or timeout", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const lease = await fixture.running(source, { maxAttempts: 3 });

    expect(await source.finish(lease, FAILED)).toEqual({ outcome: "accepted", state: "pending" });
    expect(await fixture.store.jobs.head(lease.id)).toMatchObject({
      state: "pending",
      failures: 1,
      code: 1,
      reason: "exit code 1",
    });
    await expectNoFaults(fixture);

    const second = await claimOne(source);
    expect(second.attempt).toBe(2);
    expect(await fixture.store.jobs.head(lease.id)).not.toHaveProperty("reason");
    expect(await source.finish(second, { ...FAILED, status: "timeout", code: 137 })).toMatchObject({
      state: "pending",
    });

    const third = await claimOne(source);
    expect(await source.finish(third, FAILED)).toEqual({ outcome: "accepted", state: "failed" });
    expect(await fixture.store.jobs.head(lease.id)).toMatchObject({ state: "failed", failures: 3, attempt: 3 });
    await expectNoFaults(fixture);
  });

  test("answers its finish as accepted also when the next attempt runs or has ended", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const lease = await fixture.running(source, { maxAttempts: 2 });
    await source.finish(lease, FAILED);

    expect(await source.finish(lease, FAILED)).toEqual({ outcome: "accepted", state: "pending" });
    const next = await claimOne(source);
    expect(await source.finish(lease, FAILED)).toEqual({ outcome: "accepted", state: "running" });
    expect(await fixture.store.jobs.head(lease.id)).toMatchObject({ failures: 1, attempt: 2 });
    await source.finish(next, { status: "completed", code: 0, isRetryable: true });
    // The later outcome has taken its place; the early one is no longer known, and changes nothing.
    expect(await source.finish(lease, FAILED)).toEqual({ outcome: "lost" });
    await expectNoFaults(fixture);
  });

  test("is not retried when it says so, or when the job is being cancelled", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const hopeless = await fixture.running(source, { maxAttempts: 5 });
    expect(await source.finish(hopeless, { ...FAILED, isRetryable: false })).toMatchObject({ state: "failed" });

    const cancelled = await fixture.running(source, { maxAttempts: 5 });
    await fixture.store.jobs.cancel(cancelled.id, {}, "no longer needed");
    expect(await source.finish(cancelled, FAILED)).toMatchObject({ state: "failed" });
    await expectNoFaults(fixture);
  });

  test("keeps the result of the last attempt alone", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const lease = await fixture.running(source, { maxAttempts: 2 });
    await source.finish(lease, { ...FAILED, result: '{"text":"partial"}' });
    expect(await fixture.store.jobs.get(lease.id)).toMatchObject({ result: '{"text":"partial"}' });

    await source.finish(await claimOne(source), { status: "completed", code: 0, isRetryable: true });
    expect(await fixture.store.jobs.get(lease.id)).not.toHaveProperty("result");
  });
});

describe("The delay before a retry", () => {
  test("doubles with each failure up to its longest, between half and whole", async () => {
    const fixture = await startStore({ backoff: { baseMs: 10_000, maxMs: 25_000 } });
    const source = await fixture.source();
    const delays: number[] = [];
    let lease = await fixture.running(source, { maxAttempts: 9 });
    for (let round = 0; round < 4; round += 1) {
      const before = Date.now();
      await source.finish(lease, FAILED);
      const { readyMs = 0 } = (await fixture.store.jobs.head(lease.id)) ?? {};
      delays.push(readyMs - before);
      expect(await source.claim(1, aToken())).toEqual([]);
      await fixture.client.zadd(fixture.keys.delayed(0, "build"), 1, lease.id);
      lease = await claimOne(source);
    }

    // The test's clock and Redis' may round differently, and the answer takes its time.
    const slack = 2000;
    for (const [round, whole] of [10_000, 20_000, 25_000, 25_000].entries()) {
      expect(delays[round]).toBeGreaterThanOrEqual(whole / 2 - 1);
      expect(delays[round]).toBeLessThanOrEqual(whole + slack);
    }
    await expectNoFaults(fixture);
  });

  test("does not cost the job its place in the order", async () => {
    const fixture = await startStore();
    const source = await fixture.source();
    const lease = await fixture.running(source, { maxAttempts: 2 });
    const later = await fixture.admit();
    await source.finish(lease, FAILED);
    await waitUntil(() => fixture.store.jobs.head(lease.id).then((head) => (head?.readyMs ?? 0) < Date.now()));

    const claimed = await source.claim(2, aToken());

    expect(claimed.map((job) => job.lease.id)).toEqual([lease.id, later.id]);
  });

  test("does not outlast a clock that was put back", async () => {
    let monotonicMs = 1_000_000;
    const fixture = await startStore({ monotonicMs: () => monotonicMs, backoff: { baseMs: 1000, maxMs: 60_000 } });
    const source = await fixture.source();
    const lease = await fixture.running(source, { maxAttempts: 2 });
    const waiting = await fixture.admit({ notBefore: Math.floor(Date.now() / 1000) + 3600 });
    await source.finish(lease, FAILED);
    // As if the delay had been set before the server's clock went back by an hour.
    const delayed = fixture.keys.delayed(0, "build");
    await fixture.client.zadd(delayed, Date.now() + 3_600_000, lease.id);
    await fixture.maintain();
    expect(await source.claim(2, aToken())).toEqual([]);

    monotonicMs += 3_600_000;
    await fixture.maintain();

    expect((await source.claim(2, aToken())).map((job) => job.lease.id)).toEqual([lease.id]);
    expect(await fixture.store.jobs.head(waiting.id)).toMatchObject({ state: "pending" });
    await expectNoFaults(fixture);
  });
});
