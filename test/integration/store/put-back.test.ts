/** Redis' clock goes wrong and is put right: what was used up by the wrong one is not good a second time. */
import { describe, expect, test } from "vitest";

import { isHere } from "../../support/machine.ts";
import { A_NUMBER, aToken, anAdmission, nowSeconds, startStore } from "../../support/store.ts";
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
