/** Admission: an id is admitted once, and judged only when it is new. */
import { randomUUID } from "node:crypto";

import { describe, expect, test } from "vitest";

import {
  A_NUMBER,
  anAdmission,
  aRegistration,
  aToken,
  expectDeletable,
  expectNoFaults,
  nowSeconds,
  startStore,
} from "../../support/store.ts";

const NO_LIMITS = {
  maxQueueJobs: 100,
  maxQueueBytes: 1_000_000,
  maxPrincipalJobs: 100,
  maxPrincipalBytes: 1_000_000,
  maxLifetimeSeconds: 86_400,
};
const OTHER_DIGEST = "e".repeat(64);

describe.each([1, 4])("Admission on %i shards", (shards) => {
  test("stores a job whole and gives it back", async () => {
    const fixture = await startStore({ shards });
    const { store } = fixture;
    const job = anAdmission({ contextId: "tenant-7", priority: 8, principal: "alice {and} bob:*" });

    expect(await store.jobs.admit(job)).toEqual({ outcome: "new", state: "pending" });

    expect(await store.jobs.get(job.id)).toEqual({
      id: job.id,
      document: job.document,
      signatures: job.signatures,
      ticket: job.ticket,
      digest: job.digest,
      principal: "alice {and} bob:*",
      callerId: job.callerId,
      queue: "build",
      contextId: "tenant-7",
      priority: 8,
      expiresAt: job.expiresAt,
      state: "pending",
      revision: 1,
      isCancelling: false,
      attempt: 0,
      failures: 0,
      losses: 0,
      admittedMs: A_NUMBER,
      logCount: 0,
      logBytes: 0,
    });
    await expectDeletable(fixture, [job.id]);
  });

  test("answers the same job again with its present state, and changes nothing", async () => {
    const fixture = await startStore({ shards });
    const { store } = fixture;
    const job = await fixture.admit();
    expect(await store.jobs.admit(job)).toEqual({ outcome: "duplicate", state: "pending" });

    const source = await fixture.source();
    const [claimed] = await source.claim(1, aToken());
    if (claimed === undefined) throw new Error("nothing claimed");
    const before = await store.jobs.get(job.id);

    expect(await store.jobs.admit(job)).toEqual({ outcome: "duplicate", state: "running" });
    expect(await store.jobs.get(job.id)).toEqual(before);
    expect(await source.claim(5, aToken())).toEqual([]);
    await expectNoFaults(fixture);
  });

  test("refuses other content under the same id, also after the job was deleted", async () => {
    const fixture = await startStore({ shards });
    const { store } = fixture;
    const job = await fixture.admit();

    expect(await store.jobs.admit({ ...job, digest: OTHER_DIGEST })).toEqual({ outcome: "conflict" });
    await store.jobs.delete(job.id, { principal: "alice" });

    expect(await store.jobs.admit(job)).toEqual({ outcome: "duplicate", state: "deleted" });
    expect(await store.jobs.admit({ ...job, digest: OTHER_DIGEST })).toEqual({ outcome: "conflict" });
    await expectNoFaults(fixture);
  });

  test("lets exactly one of many simultaneous admissions of an id be new", async () => {
    const fixture = await startStore({ shards });
    const other = await fixture.another();
    const job = anAdmission();

    const outcomes = await Promise.all(
      Array.from({ length: 40 }, async (_, index) => (index % 2 === 0 ? fixture.store : other).jobs.admit(job)),
    );

    expect(outcomes.filter(({ outcome }) => outcome === "new")).toHaveLength(1);
    expect(outcomes.filter(({ outcome }) => outcome === "duplicate")).toHaveLength(39);
    await expectDeletable(fixture, [job.id]);
  });

  test("knows runner and group names, and refuses others", async () => {
    const fixture = await startStore({ shards });
    const { store } = fixture;

    for (let count = 0; count < 8; count += 1) {
      expect(await store.jobs.admit(anAdmission({ queue: "nobody" }))).toEqual({ outcome: "unknown_runner" });
      await fixture.admit({ queue: "build-1" });
      await fixture.admit({ queue: "build" });
    }
    // The registry's own fields are no names.
    expect(await store.jobs.admit(anAdmission({ queue: "@build-1" }))).toEqual({ outcome: "unknown_runner" });
    await expectNoFaults(fixture);
  });

  test("judges the times by the server's clock", async () => {
    const fixture = await startStore({ shards });
    const now = nowSeconds();
    const stale = { outcome: "stale", now: A_NUMBER };
    const outcome = async (createdAt: number, expiresAt: number): Promise<unknown> =>
      fixture.store.jobs.admit(anAdmission({ createdAt, expiresAt }));

    expect(await outcome(now + 40, now + 100)).toEqual(stale);
    expect(await outcome(now - 100, now - 10)).toEqual(stale);
    expect(await outcome(now, now + 8 * 86_400)).toEqual(stale);
    expect(await outcome(now + 20, now + 10)).toEqual(stale);
    expect(await outcome(now + 20, now + 100)).toEqual({ outcome: "new", state: "pending" });
    expect(await outcome(now, now + 7 * 86_400)).toEqual({ outcome: "new", state: "pending" });
    await expectNoFaults(fixture);
  });

  test("answers a duplicate although it has expired meanwhile", async () => {
    const fixture = await startStore({ shards });
    const job = await fixture.admit();
    expect(await fixture.store.jobs.admit({ ...job, createdAt: 1, expiresAt: 2, queue: "nobody" })).toEqual({
      outcome: "duplicate",
      state: "pending",
    });
  });

  test("refuses a job with a revoked signer, even as a duplicate", async () => {
    const fixture = await startStore({ shards });
    const { store } = fixture;
    const job = await fixture.admit({ signers: ["ed25519:caller", "ed25519:cosigner"] });

    await store.revocations.revoke(["ed25519:cosigner"]);

    expect(await store.jobs.admit(job)).toEqual({ outcome: "revoked" });
    expect(await store.jobs.admit(anAdmission({ signers: ["ed25519:x", "ed25519:cosigner"] }))).toEqual({
      outcome: "revoked",
    });
    await fixture.admit({ signers: ["ed25519:caller"] });
    await expectNoFaults(fixture);
  });
});

describe("Queue limits", () => {
  test("refuse the job that is one too many, and take one again when another left", async () => {
    const fixture = await startStore();
    const { store } = fixture;
    const limits = { ...NO_LIMITS, maxQueueJobs: 2 };
    const first = await fixture.admit({ limits });
    await fixture.admit({ limits, notBefore: nowSeconds() + 1000 });

    expect(await store.jobs.admit(anAdmission({ limits }))).toEqual({
      outcome: "queue_full",
      limit: "max_queue_jobs",
      allowed: 2,
      present: 2,
    });
    // A full queue is full for itself alone, and never for a job it knows.
    await fixture.admit({ limits, queue: "build-1" });
    expect(await store.jobs.admit({ ...first, limits })).toEqual({ outcome: "duplicate", state: "pending" });

    await store.jobs.cancel(first.id, {}, "enough");
    await fixture.admit({ limits });
    await expectNoFaults(fixture);
  });

  test("count the bytes that wait", async () => {
    const fixture = await startStore();
    const { store } = fixture;
    const limits = { ...NO_LIMITS, maxQueueBytes: 25_000 };
    const document = "x".repeat(10_000);
    const ids = [await fixture.admit({ limits, document }), await fixture.admit({ limits, document })].map(
      ({ id }) => id,
    );

    expect(await store.jobs.admit(anAdmission({ limits, document }))).toEqual({
      outcome: "queue_full",
      limit: "max_queue_bytes",
      allowed: 25_000,
      present: A_NUMBER,
    });
    await expectNoFaults(fixture);

    const source = await fixture.source();
    await source.claim(2, aToken());
    expect(await fixture.client.exists(fixture.keys.of(0, "bytes"))).toBe(0);
    await fixture.admit({ limits, document });
    expect(ids).toHaveLength(2);
    await expectNoFaults(fixture);
  });

  test("count what waits of one principal, in all queues, and leave the others theirs", async () => {
    const fixture = await startStore();
    const { store } = fixture;
    const source = await fixture.source();
    const limits = { ...NO_LIMITS, maxPrincipalJobs: 2 };
    await fixture.admit({ limits });
    await fixture.admit({ limits, queue: "build-1" });

    const full = { outcome: "queue_full", limit: "max_principal_jobs", allowed: 2, present: 2 };
    expect(await store.jobs.admit(anAdmission({ limits }))).toEqual(full);
    expect(await store.jobs.admit(anAdmission({ limits, principal: "bob" }))).toMatchObject({ outcome: "new" });

    await source.claim(1, aToken());
    await fixture.admit({ limits });
    expect(await store.jobs.admit(anAdmission({ limits }))).toEqual(full);
    await expectNoFaults(fixture);
  });

  test("count the bytes that wait of one principal", async () => {
    const fixture = await startStore();
    const limits = { ...NO_LIMITS, maxPrincipalBytes: 25_000 };
    const document = "x".repeat(10_000);
    await fixture.admit({ limits, document });
    await fixture.admit({ limits, document });

    expect(await fixture.store.jobs.admit(anAdmission({ limits, document }))).toEqual({
      outcome: "queue_full",
      limit: "max_principal_bytes",
      allowed: 25_000,
      present: A_NUMBER,
    });
    await fixture.admit({ limits, document, principal: "bob" });
    await expectNoFaults(fixture);
  });

  test("are a shard's share on several shards", async () => {
    const fixture = await startStore({ shards: 4 });
    const limits = { ...NO_LIMITS, maxQueueJobs: 4 };
    const inShard = (shard: number): string => {
      let id = randomUUID();
      while (fixture.keys.shardOf(id) !== shard) id = randomUUID();
      return id;
    };

    await fixture.admit({ limits, id: inShard(2) });
    expect(await fixture.store.jobs.admit(anAdmission({ limits, id: inShard(2) }))).toEqual({
      outcome: "queue_full",
      limit: "max_queue_jobs",
      allowed: 1,
      present: 1,
    });
    await fixture.admit({ limits, id: inShard(3) });
  });
});

describe("A removed runner's name", () => {
  test("is refused from the moment the removal answered", async () => {
    const fixture = await startStore({ shards: 4 });
    const { store } = fixture;
    await store.runners.register(aRegistration({ name: "short-lived", groups: ["g"] }), "{}");
    await fixture.admit({ queue: "g" });

    expect(await store.runners.remove("short-lived", true)).toEqual({ outcome: "removed", cancelled: 1 });

    for (const queue of ["short-lived", "g", "g", "g", "g"]) {
      expect(await store.jobs.admit(anAdmission({ queue }))).toEqual({ outcome: "unknown_runner" });
    }
    await expectNoFaults(fixture);
  });
});
