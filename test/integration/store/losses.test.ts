/** Lost leases: a vanished runner's jobs run again, a job that kills runners does not, and clocks may jump. */
import { describe, expect, test } from "vitest";

import type { Lease } from "../../../src/runner/source.ts";
import { aToken, expectNoFaults, type Fixture, nowSeconds, startStore } from "../../support/store.ts";

/** The lease runs out. */
async function vanish({ client, keys }: Fixture, { id }: Lease): Promise<void> {
  await client.zadd(keys.of(keys.shardOf(id), "leases"), 1, id);
}

describe.each([1, 4])("A lost lease on %i shards", (shards) => {
  test("puts the job back after the lease and no earlier", async () => {
    const fixture = await startStore({ shards, leaseMs: 500 });
    const source = await fixture.source();
    const lease = await fixture.running(source);
    const { startedMs = 0 } = (await fixture.store.jobs.head(lease.id)) ?? {};

    expect(await fixture.until(lease.id, "pending")).toBe("pending");

    expect(Date.now()).toBeGreaterThanOrEqual(startedMs + 500);
    expect(await fixture.store.jobs.head(lease.id)).toMatchObject({ losses: 1, failures: 0, reason: "lost" });
    await expectNoFaults(fixture);
    const [again] = await source.claim(1, aToken());
    expect(again?.lease).toMatchObject({ id: lease.id, attempt: 2 });
  });

  test("keeps the job's place in the order", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const lease = await fixture.running(source);
    await fixture.admit();
    await vanish(fixture, lease);
    await fixture.maintain();

    const claimed = await source.claim(2, aToken());

    expect(claimed).toHaveLength(2);
    expect(claimed.map((job) => job.lease.id)).toContain(lease.id);
    expect(shards > 1 || claimed[0]?.lease.id === lease.id).toBe(true);
  });

  test("ends the job as poison when it is the third, while others go on", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const { id } = await fixture.admit({ priority: 9, maxAttempts: 20 });
    for (let loss = 1; loss <= 3; loss += 1) {
      const [job] = await source.claim(1, aToken());
      if (job === undefined) throw new Error("nothing claimed");
      await vanish(fixture, job.lease);
      expect(await fixture.maintain()).toMatchObject({ reaped: 1 });
      expect(await fixture.store.jobs.head(id)).toMatchObject({ losses: loss, state: loss < 3 ? "pending" : "failed" });
    }
    expect(await fixture.store.jobs.head(id)).toMatchObject({ reason: "poison", failures: 0 });
    const other = await fixture.running(source);
    expect(await source.finish(other, { status: "completed", code: 0, isRetryable: true })).toMatchObject({
      state: "completed",
    });
    await expectNoFaults(fixture);
  });

  test("fails a job that is not to be run twice", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const lease = await fixture.running(source, { onLoss: "fail", maxAttempts: 5 });
    await vanish(fixture, lease);
    await fixture.maintain();
    expect(await fixture.store.jobs.head(lease.id)).toMatchObject({ state: "failed", reason: "lost", losses: 1 });
    await expectNoFaults(fixture);
  });

  test("is reaped once by two supervisors at once", async () => {
    const fixture = await startStore({ shards });
    const other = await fixture.another();
    await other.maintenance.maintain({ maxAgeSeconds: 1000, maxJobs: 1000, maxBytes: 1e9 });
    const source = await fixture.source();
    for (let index = 0; index < 30; index += 1) await vanish(fixture, await fixture.running(source));

    const done = await Promise.all([
      fixture.maintain(),
      other.maintenance.maintain({ maxAgeSeconds: 1000, maxJobs: 1000, maxBytes: 1e9 }),
    ]);

    expect(done.reduce((sum, { reaped }) => sum + reaped, 0)).toBe(30);
    const page = await fixture.store.jobs.list({ limit: 100 });
    expect(page.jobs.map(({ losses }) => losses)).toEqual(page.jobs.map(() => 1));
    await expectNoFaults(fixture);
  });

  test("is reaped in any number", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    for (let index = 0; index < 230; index += 1) await fixture.admit();
    for (const { lease } of await source.claim(230, aToken())) await vanish(fixture, lease);

    expect(await fixture.maintain()).toMatchObject({ reaped: 230 });
    await expectNoFaults(fixture);
  });
});

describe("Entries of the lease index that are no running jobs", () => {
  test("are taken off it", async () => {
    const fixture = await startStore();
    const { id } = await fixture.admit();
    await fixture.client.zadd(fixture.keys.of(0, "leases"), 1, "ghost", 1, id);
    await fixture.maintain();
    expect(await fixture.store.jobs.head(id)).toMatchObject({ state: "pending" });
    await expectNoFaults(fixture);
  });
});

/** The job's time is over. */
async function outlive({ client, keys }: Fixture, id: string): Promise<void> {
  await client.hset(keys.job(id), "expires_at", nowSeconds() - 1);
  const expiry = keys.of(keys.shardOf(id), "expiry");
  if ((await client.zscore(expiry, id)) !== null) await client.zadd(expiry, (nowSeconds() - 1) * 1000, id);
}

describe.each([1, 4])("A pending job past its time on %i shards", (shards) => {
  test("ends as expired, and no earlier", async () => {
    const fixture = await startStore({ shards });
    const { id, expiresAt } = await fixture.admit({ expiresAt: nowSeconds() + 2 });

    expect(await fixture.until(id, "expired")).toBe("expired");

    const head = await fixture.store.jobs.head(id);
    expect(head).toMatchObject({ reason: "expired", attempt: 0 });
    expect(head?.finishedMs).toBeGreaterThan(expiresAt * 1000);
    await expectNoFaults(fixture);
  });

  test("ends as expired where it waits for its time, and leaves running and later ones alone", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const running = await fixture.running(source);
    const waiting = [await fixture.admit(), await fixture.admit({ notBefore: nowSeconds() + 1000 })].map(
      ({ id }) => id,
    );
    const later = await fixture.admit();
    for (const id of [running.id, ...waiting]) await outlive(fixture, id);

    expect(await fixture.maintain()).toMatchObject({ expired: 2 });

    for (const id of waiting) expect(await fixture.store.jobs.head(id)).toMatchObject({ state: "expired" });
    expect(await fixture.store.jobs.head(running.id)).toMatchObject({ state: "running" });
    expect(await fixture.store.jobs.head(later.id)).toMatchObject({ state: "pending" });
    await expectNoFaults(fixture);
  });

  test("ends as expired also when it came back to the queue too late", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const lease = await fixture.running(source, { maxAttempts: 3 });
    await outlive(fixture, lease.id);
    await source.finish(lease, { status: "failed", code: 1, isRetryable: true });

    expect(await fixture.maintain()).toMatchObject({ expired: 1 });

    expect(await fixture.store.jobs.head(lease.id)).toMatchObject({ state: "expired", failures: 1 });
    await expectNoFaults(fixture);
  });
});
