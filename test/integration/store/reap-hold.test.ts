/** Reaping pauses where a lease that ran out is no evidence: after a restart, a jump of the clock, an outage. */
import { describe, expect, test } from "vitest";

import type { Lease } from "../../../src/runner/source.ts";
import { aToken, type Fixture, startStore } from "../../support/store.ts";
import { waitUntil } from "../../support/wait.ts";

/** The lease runs out. */
async function vanish({ client, keys }: Fixture, { id }: Lease): Promise<void> {
  await client.zadd(keys.of(keys.shardOf(id), "leases"), 1, id);
}

/** A running job whose lease is over. */
async function overdue(fixture: Fixture): Promise<Lease> {
  const lease = await fixture.running(await fixture.source());
  await vanish(fixture, lease);
  return lease;
}

describe("Reaping is on hold for one lease", () => {
  const LEASE_MS = 2000;

  /** True when it was held for one lease, once. */
  async function isHeldOnce(fixture: Fixture, lease: Lease): Promise<boolean> {
    const before = Date.now();
    expect(await fixture.maintain()).toMatchObject({ reaped: 0 });
    const heldUntil = Number(await fixture.client.hget(fixture.keys.of(0, "reap"), "not_before"));
    expect(heldUntil).toBeGreaterThanOrEqual(before + LEASE_MS - 100);
    expect(await fixture.maintain()).toMatchObject({ reaped: 0 });
    expect(Number(await fixture.client.hget(fixture.keys.of(0, "reap"), "not_before"))).toBe(heldUntil);
    await fixture.until(lease.id, "pending");
    return Date.now() >= heldUntil;
  }

  test("after Redis was restarted", async () => {
    const fixture = await startStore({ leaseMs: LEASE_MS }, { aof: "always" });
    const lease = await overdue(fixture);
    await fixture.redis.restart();
    await waitUntil(() => fixture.store.health().isUp);
    expect(await isHeldOnce(fixture, lease)).toBe(true);
  });

  test.each([
    ["forward", -3_600_000],
    ["back", 3_600_000],
  ])("after the server's clock went %s", async (_, monotonicStep) => {
    let monotonicMs = 10_000_000;
    const fixture = await startStore({ leaseMs: LEASE_MS, monotonicMs: () => monotonicMs + performance.now() });
    const lease = await overdue(fixture);
    // Seen against the monotonic clock, which way the difference arose is all the same.
    monotonicMs += monotonicStep;
    expect(await isHeldOnce(fixture, lease)).toBe(true);
  });

  test("after Redis was out of reach for more than a third of a lease", async () => {
    const fixture = await startStore({ leaseMs: LEASE_MS, commandTimeoutMs: 1000 });
    const lease = await overdue(fixture);
    await fixture.redis.kill("SIGSTOP");
    const began = performance.now();
    await expect(fixture.store.jobs.head(lease.id)).rejects.toMatchObject({ name: "unavailable" });
    await waitUntil(() => performance.now() - began > LEASE_MS / 2);
    await fixture.redis.kill("SIGCONT");
    await waitUntil(async () => {
      const answer = await fixture.store.jobs.head(lease.id).catch(() => undefined);
      return answer !== undefined;
    });
    expect(await isHeldOnce(fixture, lease)).toBe(true);
  });

  test("once, although two supervisors see the same jump one after the other", async () => {
    let monotonicMs = 10_000_000;
    const wanted = { leaseMs: LEASE_MS, monotonicMs: () => monotonicMs + performance.now() };
    const fixture = await startStore(wanted);
    const other = await fixture.another();
    const retention = { maxAgeSeconds: 1000, maxJobs: 1000, maxBytes: 1e9 };
    await other.maintenance.maintain(retention);
    monotonicMs -= 3_600_000;
    await fixture.maintain();
    const heldUntil = await fixture.client.hget(fixture.keys.of(0, "reap"), "not_before");
    await waitUntil(async () => Number((await fixture.client.time())[0]) * 1000 > Number(heldUntil) - LEASE_MS + 50);

    await other.maintenance.maintain(retention);

    expect(await fixture.client.hget(fixture.keys.of(0, "reap"), "not_before")).toBe(heldUntil);
  });

  test("at the first look at a server, and not for every supervisor that starts", async () => {
    const fixture = await startStore({ leaseMs: LEASE_MS });
    const lease = await overdue(fixture);
    await fixture.another();
    await fixture.another();
    expect(await fixture.maintain()).toMatchObject({ reaped: 1 });
    expect(await fixture.store.jobs.head(lease.id)).toMatchObject({ state: "pending" });
  });
});

describe("A lease that a clock which was put back left too long", () => {
  test("is cut to one lease, so that nothing sticks", async () => {
    const fixture = await startStore({ leaseMs: 400 });
    const lease = await fixture.running(await fixture.source());
    await fixture.client.zadd(fixture.keys.of(0, "leases"), Date.now() + 3_600_000, lease.id);
    expect(await fixture.until(lease.id, "pending")).toBe("pending");
  });

  test("is cut at once when the clock is seen to go back, in any number", async () => {
    let monotonicMs = 10_000_000;
    const fixture = await startStore({ leaseMs: 5000, monotonicMs: () => monotonicMs + performance.now() });
    const source = await fixture.source();
    for (let index = 0; index < 150; index += 1) await fixture.admit();
    const claimed = await source.claim(150, aToken());
    const leases = fixture.keys.of(0, "leases");
    for (const { lease } of claimed) await fixture.client.zadd(leases, Date.now() + 120_000, lease.id);
    await fixture.maintain();
    expect(await fixture.client.zcount(leases, Date.now() + 100_000, "+inf")).toBe(150);

    monotonicMs += 120_000;
    await fixture.maintain();

    expect(await fixture.client.zcount(leases, Date.now() + 5001, "+inf")).toBe(0);
    expect(await fixture.client.zcard(leases)).toBe(150);
  });

  test("so is a hold", async () => {
    const fixture = await startStore({ leaseMs: 400 });
    const lease = await fixture.running(await fixture.source());
    await fixture.client.hset(fixture.keys.of(0, "reap"), "not_before", Date.now() + 3_600_000);
    expect(await fixture.until(lease.id, "pending")).toBe("pending");
  });
});
