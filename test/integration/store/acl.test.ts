/** The users that `supervisor doctor --acl` prints serve the whole life of a job: Redis refuses them nothing of it. */
import { afterEach, describe, expect, onTestFinished, test } from "vitest";

import { SIGNED_RUNNER } from "../../../src/rpc/examples.ts";
import { runnerUser, supervisorUser } from "../../../src/store/redis-acl.ts";
import { examineRedis } from "../../../src/store/redis-doctor.ts";
import { findRevokedKeys } from "../../../src/store/redis-keyrings.ts";
import { createRedisJobSource } from "../../../src/store/redis-source.ts";
import { createRedisStore } from "../../../src/store/redis-store.ts";
import { startCluster } from "../../support/redis-cluster.ts";
import {
  type Guarded,
  loginRules,
  expectNothingRefused,
  loginUrl,
  registerWeb,
  startGuarded,
} from "../../support/redis-users.ts";
import {
  anAdmission,
  aRegistration,
  aToken,
  expectDeletable,
  expectNoFaults,
  IDENTITY,
  nowSeconds,
  QUIET,
  storeOptions,
} from "../../support/store.ts";
import { waitUntil } from "../../support/wait.ts";

const DONE = { status: "completed", code: 0, isRetryable: false } as const;
let guarded: Guarded | undefined;

async function start(...wanted: Parameters<typeof startGuarded>): Promise<Guarded> {
  guarded = await startGuarded(...wanted);
  return guarded;
}

/** Also what nobody waited for, such as a hint. */
afterEach(async () => {
  if (guarded !== undefined) await expectNothingRefused(guarded.fixture.client);
  guarded = undefined;
});

/** Waits until somebody listens: a message sent before is lost. */
async function untilHeard({ fixture }: Guarded, channel: string): Promise<void> {
  await waitUntil(async () => {
    const counted: unknown = await fixture.client.call("PUBSUB", "NUMSUB", channel);
    return Array.isArray(counted) && Number(counted[1]) > 0;
  });
}

describe.each([1, 4])("With the printed Redis users, on %i shards,", (shards) => {
  test("a job is admitted, claimed, renewed, logged, finished, read, listed, watched and deleted", async () => {
    const system = await start({ shards });
    const { fixture, runner, urlOf } = system;
    const { jobs } = fixture.store;
    const source = await fixture.source({ url: urlOf(runner) });
    const job = await fixture.admit({ isFair: true, contextId: "c" });
    expect(await jobs.admit(job)).toEqual({ outcome: "duplicate", state: "pending" });
    let changes = 0;
    onTestFinished(jobs.onChange(job.id, () => (changes += 1)));
    await untilHeard(system, fixture.keys.eventsChannel);

    const [claimed] = await source.claim(1, aToken());
    const lease = claimed?.lease ?? { id: "none", attempt: 0, token: "" };
    expect(await source.renew([lease])).toEqual([{ outcome: "renewed", isCancelling: false }]);
    const entry = { attempt: 1, seq: 1, time_ms: 1, stream: "stdout", text: "x" } as const;
    expect(await source.append(lease, [entry])).toBe("appended");
    expect(await source.finish(lease, { ...DONE, result: "42" })).toMatchObject({ state: "completed" });

    await waitUntil(() => changes > 0);
    expect(await jobs.get(job.id)).toMatchObject({ state: "completed" });
    expect((await jobs.logs(job.id, 0, 10)).entries).toEqual([entry]);
    expect((await jobs.list({ limit: 10, principal: "alice" })).jobs.map(({ id }) => id)).toEqual([job.id]);
    await expectDeletable(fixture, [job.id]);
    expect(await jobs.delete(job.id, { principal: "alice" })).toEqual({ outcome: "deleted" });
  });

  test("attempts are retried, given back, cancelled and lost, and jobs expire", async () => {
    const { fixture, runner, urlOf } = await start({ shards });
    const { jobs } = fixture.store;
    const source = await fixture.source({ url: urlOf(runner) });
    const retried = await fixture.running(source, { maxAttempts: 2 });
    const failed = { status: "failed", code: 1, isRetryable: true } as const;
    expect(await source.finish(retried, failed)).toMatchObject({ state: "pending" });
    await jobs.cancel(retried.id, {}, "no more");

    const given = await fixture.running(source);
    expect(await source.release(given)).toBe("released");
    await jobs.cancel(given.id, {}, "no more");

    const stopped = await fixture.running(source);
    expect(await jobs.cancel(stopped.id, {}, "stop")).toEqual({ outcome: "cancelling" });
    expect(await source.finish(stopped, { ...DONE, status: "cancelled" })).toMatchObject({ state: "cancelled" });

    const delayed = await fixture.admit({ notBefore: nowSeconds() + 600 });
    const shard = fixture.keys.shardOf(delayed.id);
    await fixture.client.zadd(fixture.keys.delayed(shard, "build"), 1, delayed.id);
    await fixture.client.hset(fixture.keys.job(delayed.id), "expires_at", 1);
    expect(await source.claim(1, aToken())).toEqual([]);
    expect(await jobs.head(delayed.id)).toMatchObject({ state: "expired" });

    const old = await fixture.admit();
    await fixture.client.hset(fixture.keys.job(old.id), "expires_at", 1);
    await fixture.client.zadd(fixture.keys.of(fixture.keys.shardOf(old.id), "expiry"), 1, old.id);
    expect(await fixture.until(old.id, "expired")).toBe("expired");

    const lost = await fixture.running(source, { onLoss: "fail" });
    await fixture.client.zadd(fixture.keys.of(fixture.keys.shardOf(lost.id), "leases"), 1, lost.id);
    expect(await fixture.until(lost.id, "failed")).toBe("failed");
    expect((await fixture.maintain({ maxJobs: 0 })).retired).toBe(6);
    await expectNoFaults(fixture);
  });

  test("keys are revoked with their jobs, keyrings compared, and calls used up", async () => {
    const { fixture, supervisor, urlOf } = await start({ shards });
    const { jobs, keyrings, replay, revocations } = fixture.store;
    const job = await fixture.admit();
    const [key = ""] = job.signers;

    expect(await revocations.findWithJobs([key])).toEqual([key]);
    await revocations.revoke([key]);
    expect(await revocations.cancelJobsOf(key, true)).toBe(1);
    expect(await jobs.head(job.id)).toMatchObject({ state: "cancelled", reason: "revoked" });
    expect(await jobs.admit(anAdmission())).toEqual({ outcome: "revoked" });
    expect(await revocations.isRevoked(key)).toBe(true);

    expect(await keyrings.compare({ supervisor: "a", digest: "aa", keepMs: 60_000 })).toEqual([]);
    expect(await keyrings.compare({ supervisor: "b", digest: "bb", keepMs: 60_000 })).toEqual(["aa"]);
    await keyrings.withdraw("a");
    await keyrings.writeEnrolled([key]);
    expect(await keyrings.readEnrolled()).toEqual([key]);
    const options = { url: urlOf(supervisor), prefix: "horus", commandTimeoutMs: 5000, log: QUIET };
    expect(await findRevokedKeys(options, [key, "ed25519:other"])).toEqual([key]);

    const call = { key: "ed25519:a", nonce: aToken(), iat: nowSeconds(), exp: nowSeconds() + 60 };
    expect(await replay.claimNonce(call)).toEqual({ outcome: "fresh" });
    expect(await replay.claimNonce(call)).toEqual({ outcome: "replay" });
    await expectNoFaults(fixture);
  });

  test("a runner hears hints, is seen, drains, and is removed with what waits for it", async () => {
    const system = await start({ shards });
    const { fixture, runner, urlOf } = system;
    const { runners, jobs } = fixture.store;
    const source = await fixture.source({ url: urlOf(runner) });
    const heard: string[] = [];
    onTestFinished(source.onHint((hint) => heard.push(hint.kind)));
    for (const queue of ["build-1", "build"]) await untilHeard(system, fixture.keys.hintChannel(queue));
    await untilHeard(system, fixture.keys.cancelChannel("build-1"));
    const lease = await fixture.running(source);
    await waitUntil(() => heard.includes("queue"));
    await jobs.cancel(lease.id, {}, "stop");
    await waitUntil(() => heard.includes("cancel"));
    await source.finish(lease, { ...DONE, status: "cancelled" });

    expect(await runners.isServed("build")).toBe(true);
    expect((await runners.list()).map(({ isDraining }) => isDraining)).toEqual([false]);
    expect(await source.heartbeat({ running: 0, isDraining: true })).toBe("ok");
    await source.detach();
    expect(await runners.get("build-1")).toMatchObject({ isDetached: true });
    await fixture.admit();
    expect(await runners.remove("build-1", false)).toEqual({ outcome: "has_jobs", waiting: 1 });
    expect(await runners.remove("build-1", true)).toEqual({ outcome: "removed", cancelled: 1 });
    await expectNoFaults(fixture);
  });

  test("a clock that was put back is mended", async () => {
    let monotonicMs = 10_000_000;
    const { fixture, runner, urlOf } = await start({ shards, monotonicMs: () => monotonicMs + performance.now() });
    const source = await fixture.source({ url: urlOf(runner) });
    const lease = await fixture.running(source);
    await fixture.admit();
    await fixture.maintain();
    monotonicMs += 3_600_000;
    await fixture.maintain();
    // The queues in which something waits were asked for, and their entries looked over.
    expect(await fixture.client.info("commandstats")).toMatch(
      /cmdstat_(hkeys|zscan):[^]*cmdstat_(?!\1)(?:hkeys|zscan):/u,
    );
    expect(await source.finish(lease, DONE)).toMatchObject({ state: "completed" });
    await expectNoFaults(fixture);
  });
});

describe("With the printed Redis users", () => {
  test("a second supervisor joins, doctor looks at the server, and replicas are waited for", async () => {
    const { fixture, supervisor, urlOf, as } = await start();
    const url = urlOf(supervisor);
    await registerWeb(fixture);
    const other = await fixture.another({ url });
    expect((await other.runners.list()).length).toBe(2);
    expect(other.health()).toMatchObject({ isUp: true, durability: "memory", problems: [] });
    const report = await examineRedis({ url, prefix: "horus", durability: "auto", commandTimeoutMs: 5000, log: QUIET });
    // CONFIG GET is permitted: no warning that it is not.
    expect(report).toMatchObject({ problems: [], warnings: [expect.stringContaining("append-only file is off")] });
    expect(report.checks.filter(({ verdict }) => verdict !== "good")).toEqual([]);
    expect(report.checks).toContainEqual(expect.objectContaining({ says: "has every right of a supervisor" }));
    expect(await (await as(supervisor)).wait(0, 1)).toBe(0);
  });

  test("everything works on a Cluster", async () => {
    const cluster = await startCluster();
    const scope = { url: cluster.url, prefix: "horus" };
    const [supervisor, runner] = [supervisorUser(scope), runnerUser(scope, { name: "build-1", groups: ["build"] })];
    const admins = cluster.nodes.map((node) => node.client());
    for (const admin of admins) {
      for (const user of [supervisor, runner]) await admin.call("ACL", "SETUSER", ...loginRules(user));
    }
    const [node] = cluster.nodes;
    if (node?.port === undefined) throw new Error("no nodes");
    const url = loginUrl(supervisor, node.port, "redis+cluster");
    const store = createRedisStore(storeOptions(node, { url, shards: "auto" }));
    onTestFinished(async () => store.stop());
    await store.start(IDENTITY);
    await store.runners.register(aRegistration(), "{}");
    const named = { name: "build-1", groups: ["build"] };
    const source = createRedisJobSource({
      url: loginUrl(runner, node.port, "redis+cluster"),
      prefix: "horus",
      runner: named,
      log: QUIET,
      now: Date.now,
    });
    onTestFinished(async () => source.stop());
    await source.start();
    const { key } = SIGNED_RUNNER.body;
    const hello = { ...named, key, slots: 1, version: "1", process: aToken() };
    expect(await source.attach(hello)).toEqual({ outcome: "attached" });

    const ids = Array.from({ length: 20 }, () => anAdmission());
    for (const job of ids) expect(await store.jobs.admit(job)).toEqual({ outcome: "new", state: "pending" });
    const claimed = await source.claim(20, aToken());
    for (const { lease } of claimed) expect(await source.finish(lease, DONE)).toMatchObject({ state: "completed" });

    expect(claimed.length).toBe(20);
    for (const admin of admins) await expectNothingRefused(admin);
  });
});
