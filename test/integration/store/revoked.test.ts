/** Revocation between attempts and while running: no attempt starts for a revoked key, no outcome of a revoked runner counts. */
import { describe, expect, test } from "vitest";

import { SIGNED_RUNNER } from "../../../src/rpc/examples.ts";
import { aRegistration, aToken, expectNoFaults, startStore } from "../../support/store.ts";

const FAILED = { status: "failed", code: 1, isRetryable: true } as const;

describe.each([1, 4])("A revoked signer on %i shards", (shards) => {
  test("has no further attempt after the one that ran when its key was revoked", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const lease = await fixture.running(source, { maxAttempts: 3 });

    await fixture.store.revocations.revoke(["ed25519:caller"]);
    expect(await source.finish(lease, FAILED)).toEqual({ outcome: "accepted", state: "pending" });
    await fixture.client.zadd(fixture.keys.delayed(fixture.keys.shardOf(lease.id), "build"), "XX", 1, lease.id);

    expect(await source.claim(1, aToken())).toEqual([]);
    expect(await fixture.store.jobs.head(lease.id)).toMatchObject({
      state: "cancelled",
      reason: "revoked",
      attempt: 1,
    });
    await expectNoFaults(fixture);
  });

  test("has no attempt of a job whose cancelling was missed", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const { id } = await fixture.admit({ signers: ["ed25519:caller", "ed25519:cosigner"] });

    await fixture.store.revocations.revoke(["ed25519:cosigner"]);

    expect(await source.claim(1, aToken())).toEqual([]);
    expect(await fixture.store.jobs.head(id)).toMatchObject({ state: "cancelled", reason: "revoked" });
    await expectNoFaults(fixture);
  });
});

describe("A runner whose key is revoked", () => {
  test("can not renew, write or finish what it had claimed; the job is lost and runs elsewhere", async () => {
    const fixture = await startStore();
    const source = await fixture.source();
    const lease = await fixture.running(source);

    await fixture.store.revocations.revoke([SIGNED_RUNNER.body.key]);

    expect(await source.renew([lease])).toEqual([{ outcome: "lost" }]);
    expect(await source.append(lease, [{ attempt: 1, seq: 1, time_ms: 1, stream: "stdout", text: "x" }])).toBe("lost");
    expect(await source.finish(lease, { status: "completed", code: 0, isRetryable: true })).toEqual({
      outcome: "lost",
    });
    await fixture.client.zadd(fixture.keys.of(fixture.keys.shardOf(lease.id), "leases"), 1, lease.id);
    await fixture.maintain();
    expect(await fixture.store.jobs.head(lease.id)).toMatchObject({ state: "pending", losses: 1 });
  });
});

describe("A registration that is replaced under a live runner", () => {
  test("tells the runner at its next heartbeat instead of starving it", async () => {
    const fixture = await startStore();
    const source = await fixture.source();
    expect(await source.heartbeat({ running: 0, isDraining: false })).toBe("ok");

    await fixture.store.runners.register(aRegistration({ groups: [] }), "{}");

    expect(await source.heartbeat({ running: 0, isDraining: false })).toBe("removed");
  });
});
