/** Redis' clock goes wrong and is put right: what was used up by the wrong one is not good a second time. */
import { describe, expect, test } from "vitest";

import { isHere } from "../../support/machine.ts";
import { A_NUMBER, aToken, anAdmission, type Fixture, KEEP, nowSeconds, startStore } from "../../support/store.ts";
import { waitUntil } from "../../support/wait.ts";
import { C_COMPILER, WrongClock } from "../../support/wrong-clock.ts";

describe.skipIf(!isHere(C_COMPILER)).each([1, 4])("A clock that was an hour fast, on %i shards", (shards) => {
  test("takes no call twice and no deleted job again; what is made afterwards is taken", async () => {
    await using clock = await WrongClock.create();
    const { store, client, keys, maintain } = await startStore({ shards }, { env: clock.env });
    const now = nowSeconds();
    const calls = Array.from({ length: 8 }, () => ({ key: "ed25519:a", nonce: aToken(), iat: now, exp: now + 300 }));
    const jobs = Array.from({ length: 8 }, () => anAdmission({ createdAt: now - 1, expiresAt: now + 600 }));
    for (const call of calls) expect(await store.replay.claimNonce(call)).toEqual({ outcome: "fresh" });
    for (const job of jobs) {
      await store.jobs.admit(job);
      await store.jobs.delete(job.id, {});
    }
    await clock.set(3600);
    await maintain();
    const traces = [
      ...calls.map(({ key, nonce }) => keys.nonce(key, nonce).name),
      ...jobs.map(({ id }) => keys.tomb(id)),
    ];
    for (const trace of traces) expect(await client.exists(trace)).toBe(0);

    // A second later, so that what is made now can be told from what was made before.
    await waitUntil(() => nowSeconds() > now + 1);
    await clock.set(0);
    await maintain();

    for (const call of calls) expect(await store.replay.claimNonce(call)).toEqual({ outcome: "stale", now: A_NUMBER });
    for (const job of jobs) expect(await store.jobs.admit(job)).toEqual({ outcome: "stale", now: A_NUMBER });
    const [iat, exp] = [nowSeconds(), nowSeconds() + 300];
    expect(await store.replay.claimNonce({ key: "ed25519:a", nonce: aToken(), iat, exp })).toEqual({
      outcome: "fresh",
    });
    expect(await store.jobs.admit(anAdmission({ expiresAt: exp }))).toMatchObject({ outcome: "new" });
    // Of before, but never over by the wrong clock.
    expect(await store.jobs.admit(anAdmission({ createdAt: now - 1, expiresAt: now + 7200 }))).toMatchObject({
      outcome: "new",
    });
  });
});

/** A store whose monotonic clock says that Redis' was put back by so much. */
async function seeing(fixture: Fixture, ms: number): Promise<void> {
  let aheadMs = 0;
  const store = await fixture.another({ monotonicMs: () => performance.now() + aheadMs });
  await store.maintenance.maintain(KEEP);
  aheadMs = ms;
  await store.maintenance.maintain(KEEP);
}

async function outcomeOf({ store }: Fixture, livesSeconds: number, ageSeconds = 60): Promise<string> {
  const job = anAdmission({ createdAt: nowSeconds() - ageSeconds, expiresAt: nowSeconds() + livesSeconds });
  return (await store.jobs.admit(job)).outcome;
}

describe("A clock that was put back", () => {
  const HOUR_MS = 3_600_000;

  test("is noted once, though another supervisor sees it much later", async () => {
    const fixture = await startStore();
    let aheadMs = 0;
    const other = await fixture.another({ monotonicMs: () => performance.now() + aheadMs });
    await other.maintenance.maintain(KEEP);
    await seeing(fixture, HOUR_MS);
    const noted = await fixture.client.hget(fixture.keys.of(0, "reap"), "put_back");

    await waitUntil(() => nowSeconds() > Number(noted?.split(":")[0]) + 1);
    aheadMs = HOUR_MS;
    await other.maintenance.maintain(KEEP);

    expect(await fixture.client.hget(fixture.keys.of(0, "reap"), "put_back")).toBe(noted);
  });

  test("a little refuses nothing, whatever was noted before; what is over by any of the clocks is refused", async () => {
    const fixture = await startStore();
    const reap = fixture.keys.of(0, "reap");
    // A day ago, by years.
    await fixture.client.hset(reap, "put_back", `${nowSeconds() - 86_400}:${nowSeconds() + 10 ** 8}`);

    await seeing(fixture, 6000);
    expect(await outcomeOf(fixture, 600)).toBe("new");

    await seeing(fixture, HOUR_MS);
    expect(await outcomeOf(fixture, 600)).toBe("stale");
    expect(await outcomeOf(fixture, 7200)).toBe("new");
    expect(await outcomeOf(fixture, 7200, 90_000)).toBe("stale");
  });

  test("by more than traces outlast is noted however long a lease is", async () => {
    const fixture = await startStore({ leaseMs: 600_000 });
    await seeing(fixture, 120_000);

    expect(await outcomeOf(fixture, 60)).toBe("stale");
    expect(await outcomeOf(fixture, 180)).toBe("new");
  });

  test("shows no runner again that is gone, when its time comes", async () => {
    const fixture = await startStore({ leaseMs: 600 });
    const ahead = Date.now() + HOUR_MS;
    const { client, keys, store } = fixture;
    await client.hset(keys.beat("build-1"), "process", "gone", "heartbeat_ms", ahead);
    await client.zadd(keys.live("build"), ahead, "build-1");

    await seeing(fixture, HOUR_MS);

    expect(await client.zcard(keys.live("build"))).toBe(0);
    expect((await store.runners.get("build-1"))?.heartbeatMs).toBeLessThanOrEqual(Date.now());
  });
});
