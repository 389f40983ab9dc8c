/** The replay guard, and keys whose rights have ended. */
import { describe, expect, test } from "vitest";

import { A_NUMBER, aToken, expectNoFaults, nowSeconds, startStore } from "../../support/store.ts";

describe.each([1, 4])("A nonce on %i shards", (shards) => {
  test("is good once for its key", async () => {
    const { store, client, keys } = await startStore({ shards });
    const [iat, exp] = [nowSeconds(), nowSeconds() + 120];
    for (let index = 0; index < 8; index += 1) {
      const nonce = aToken();
      expect(await store.replay.claimNonce({ key: "ed25519:a", nonce, iat, exp })).toEqual({ outcome: "fresh" });
      expect(await store.replay.claimNonce({ key: "ed25519:a", nonce, iat, exp })).toEqual({ outcome: "replay" });
      expect(await store.replay.claimNonce({ key: "ed25519:b", nonce, iat, exp })).toEqual({ outcome: "fresh" });
      const lifeMs = await client.pttl(keys.nonce("ed25519:a", nonce).name);
      expect(lifeMs).toBeGreaterThan(600_000);
      expect(lifeMs).toBeLessThanOrEqual(700_000);
    }
  });

  test("is used up by one of many calls at once", async () => {
    const { store, another } = await startStore({ shards });
    const other = await another();
    const call = { key: "ed25519:a", nonce: aToken(), iat: nowSeconds(), exp: nowSeconds() + 60 };

    const outcomes = await Promise.all(
      Array.from({ length: 40 }, async (_, index) => (index % 2 === 0 ? store : other).replay.claimNonce(call)),
    );

    expect(outcomes.filter(({ outcome }) => outcome === "fresh")).toHaveLength(1);
  });

  test("is judged by the server's clock: 30 seconds at both ends", async () => {
    const { store, client } = await startStore({ shards });
    /** Within one second of the server's clock. */
    const outcomeOf = async (iatIn: number, expIn: number): Promise<unknown> => {
      for (;;) {
        const [now] = await client.time();
        const call = { key: "ed25519:a", nonce: aToken(), iat: Number(now) + iatIn, exp: Number(now) + expIn };
        const outcome = await store.replay.claimNonce(call);
        const [after] = await client.time();
        if (Number(after) === Number(now)) return outcome;
      }
    };

    expect(await outcomeOf(30, 100)).toEqual({ outcome: "fresh" });
    expect(await outcomeOf(-100, -30)).toEqual({ outcome: "fresh" });
    expect(await outcomeOf(31, 100)).toEqual({ outcome: "stale", now: A_NUMBER });
    expect(await outcomeOf(-100, -31)).toEqual({ outcome: "stale", now: A_NUMBER });
  });

  test("of a stale call is not used up", async () => {
    const { store, client, keys } = await startStore({ shards });
    const nonce = aToken();
    await store.replay.claimNonce({ key: "ed25519:a", nonce, iat: 1, exp: 2 });
    expect(await client.exists(keys.nonce("ed25519:a", nonce).name)).toBe(0);
  });
});

describe.each([1, 4])("A revoked key on %i shards", (shards) => {
  test("is refused by every call as soon as the revocation has answered", async () => {
    const { store, another } = await startStore({ shards });
    const other = await another();
    const revoked = Array.from({ length: 250 }, (_, index) => `ed25519:${index}`);

    await store.revocations.revoke(revoked);
    await store.revocations.revoke([]);

    for (const key of ["ed25519:0", "ed25519:249"]) {
      for (let index = 0; index < 8; index += 1) {
        const call = { key, nonce: aToken(), iat: nowSeconds(), exp: nowSeconds() + 60 };
        expect(await other.replay.claimNonce(call)).toEqual({ outcome: "revoked" });
      }
    }
    const call = { key: "ed25519:250", nonce: aToken(), iat: nowSeconds(), exp: nowSeconds() + 60 };
    expect(await store.replay.claimNonce(call)).toEqual({ outcome: "fresh" });
  });

  test("is found by its jobs that wait or run, among many that have none", async () => {
    const fixture = await startStore({ shards });
    const { revocations } = fixture.store;
    const asked = ["ed25519:waits", ...Array.from({ length: 250 }, (_, index) => `ed25519:${index}`), "ed25519:runs"];
    expect(await revocations.findWithJobs(asked)).toEqual([]);
    expect(await revocations.findWithJobs([])).toEqual([]);

    await fixture.running(await fixture.source(), { signers: ["ed25519:runs"] });
    await fixture.admit({ signers: ["ed25519:waits", "ed25519:other"] });

    expect((await revocations.findWithJobs(asked)).toSorted()).toEqual(["ed25519:runs", "ed25519:waits"]);
  });

  test("takes its pending jobs along, and the running ones when asked", async () => {
    const fixture = await startStore({ shards });
    const { store } = fixture;
    const source = await fixture.source();
    const signers = ["ed25519:caller", "ed25519:lost"];
    const done = await fixture.running(source, { signers });
    await source.finish(done, { status: "completed", code: 0, isRetryable: true });
    const running = await fixture.running(source, { signers });
    const pending = await Promise.all(Array.from({ length: 130 }, async () => fixture.admit({ signers })));
    const other = await fixture.admit({ signers: ["ed25519:caller"] });
    await store.revocations.revoke(["ed25519:lost"]);

    expect(await store.revocations.cancelJobsOf("ed25519:lost", false)).toBe(130);
    expect(await store.jobs.head(running.id)).toMatchObject({ state: "running", isCancelling: false });
    for (const { id } of pending) {
      expect(await store.jobs.head(id)).toMatchObject({ state: "cancelled", reason: "revoked" });
    }

    expect(await store.revocations.cancelJobsOf("ed25519:lost", true)).toBe(1);
    expect(await store.jobs.head(running.id)).toMatchObject({ state: "running", isCancelling: true });
    expect(await store.jobs.head(done.id)).toMatchObject({ state: "completed" });
    expect(await store.jobs.head(other.id)).toMatchObject({ state: "pending" });
    expect(await store.revocations.cancelJobsOf("ed25519:nobody", true)).toBe(0);
    await expectNoFaults(fixture);
  });
});
