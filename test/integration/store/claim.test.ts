/** Claims: repeatable by token, for registered runners, never twice. */
import { describe, expect, test } from "vitest";

import { scriptText } from "../../../src/store/redis-scripts.ts";
import { createRedisJobSource } from "../../../src/store/redis-source.ts";
import { A_NUMBER, aRegistration, aToken, expectNoFaults, nowSeconds, QUIET, startStore } from "../../support/store.ts";

describe.each([1, 4])("A claim on %i shards", (shards) => {
  test("gives a job with its texts, its attempt and a lease", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const job = await fixture.admit();
    const token = aToken();

    expect(await source.claim(3, token)).toEqual([
      {
        lease: { id: job.id, attempt: 1, token },
        document: job.document,
        signatures: job.signatures,
        ticket: job.ticket,
        queue: "build",
        isCancelling: false,
      },
    ]);
    expect(await fixture.store.jobs.head(job.id)).toMatchObject({
      state: "running",
      attempt: 1,
      revision: 2,
      runner: "build-1",
      startedMs: A_NUMBER,
    });
    await expectNoFaults(fixture);
  });

  test("gives the same jobs for the same token, and others for another", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    for (let index = 0; index < 12; index += 1) await fixture.admit();
    const token = aToken();

    const first = await source.claim(5, token);
    const again = await source.claim(5, token);
    const other = await source.claim(7, aToken());

    expect(first).toHaveLength(5);
    expect(again).toEqual(first);
    expect(new Set([...first, ...other].map(({ lease }) => lease.id)).size).toBe(12);
    await expectNoFaults(fixture);
  });

  test("no longer gives what ended meanwhile when it is repeated", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    for (let index = 0; index < 3; index += 1) await fixture.admit();
    const token = aToken();
    const [first, ...others] = await source.claim(3, token);
    if (first === undefined) throw new Error("nothing claimed");
    await source.finish(first.lease, { status: "completed", code: 0, isRetryable: true });

    const again = await source.claim(2, token);

    expect(again.map(({ lease }) => lease.id)).toEqual(others.map(({ lease }) => lease.id));
  });

  test("gives each job to one of many claims at once", async () => {
    const fixture = await startStore({ shards });
    const sources = [await fixture.source()];
    for (const name of ["b2", "b3"]) {
      await fixture.store.runners.register(aRegistration({ name, key: `ed25519:${name}` }), "{}");
      sources.push(await fixture.source({ runner: { name, groups: ["build"] } }, { key: `ed25519:${name}` }));
    }
    for (let index = 0; index < 60; index += 1) await fixture.admit();

    const claims = await Promise.all(
      Array.from({ length: 24 }, async (_, index) => sources[index % 3]?.claim(3, aToken()) ?? []),
    );

    const ids = claims.flat().map(({ lease }) => lease.id);
    expect(ids).toHaveLength(60);
    expect(new Set(ids).size).toBe(60);
    await expectNoFaults(fixture);
  });

  test("ends a job that may no longer start instead of giving it", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const job = await fixture.admit();
    await fixture.client.hset(fixture.keys.job(job.id), "expires_at", nowSeconds() - 1);

    expect(await source.claim(1, aToken())).toEqual([]);

    expect(await fixture.store.jobs.head(job.id)).toMatchObject({ state: "expired", reason: "expired", attempt: 0 });
    await expectNoFaults(fixture);
  });

  test("goes on past entries that are no jobs", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    // What a runner's Redis user could put into its own queue.
    for (const shard of fixture.keys.allShards) {
      const ghosts = Array.from({ length: 60 }, (_, index) => [index, `ghost-${index}`]).flat();
      await fixture.client.zadd(fixture.keys.queue(shard, "build"), ...ghosts);
      await fixture.client.zadd(fixture.keys.delayed(shard, "build"), 1, "delayed-ghost");
    }
    const job = await fixture.admit();

    const claimed = await source.claim(1, aToken());

    expect(claimed.map(({ lease }) => lease.id)).toEqual([job.id]);
    await source.claim(1, aToken());
    await expectNoFaults(fixture);
  });

  test("does not give a running or ended job whose id was put back into the queue", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const running = await fixture.running(source);
    const ended = await fixture.running(source);
    await source.finish(ended, { status: "completed", code: 0, isRetryable: true });
    for (const { id } of [running, ended]) {
      await fixture.client.zadd(fixture.keys.queue(fixture.keys.shardOf(id), "build"), 1, id);
    }

    expect(await source.claim(5, aToken())).toEqual([]);
    expect(await fixture.store.jobs.head(running.id)).toMatchObject({ state: "running", attempt: 1 });
    expect(await fixture.store.jobs.head(ended.id)).toMatchObject({ state: "completed", attempt: 1 });
    await expectNoFaults(fixture);
  });

  test("gives nothing to a runner that was removed, is revoked, or asks for a queue it is not registered for", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    await fixture.store.runners.register(aRegistration({ name: "other", key: "ed25519:o", groups: [] }), "{}");
    const other = await fixture.source({ runner: { name: "other", groups: [] } }, { key: "ed25519:o" });
    await fixture.admit();
    await fixture.admit({ queue: "other" });
    await fixture.store.runners.register(aRegistration({ name: "third" }), "{}");

    await fixture.store.revocations.revoke(["ed25519:o"]);
    await fixture.store.runners.remove("build-1", false);

    expect(await source.claim(5, aToken())).toEqual([]);
    expect(await other.claim(5, aToken())).toEqual([]);
    const third = await fixture.source({ runner: { name: "third", groups: ["build"] } });
    // Attached as registered, asking for more: the second source claims by its own list of queues.
    const greedy = createRedisJobSource({
      url: fixture.redis.url,
      prefix: "horus",
      runner: { name: "third", groups: ["build", "other"] },
      log: QUIET,
      now: Date.now,
    });
    await greedy.start();
    expect(await greedy.claim(5, aToken())).toEqual([]);
    await greedy.stop();
    expect(await third.claim(5, aToken())).toHaveLength(1);
  });

  test.each(["nan", "1e999", "0.5", "-1", ""])(
    "refuses a lease of %j ms before a job has left its queue",
    async (leaseMs) => {
      const fixture = await startStore({ shards });
      const { keys } = fixture;
      const { id } = await fixture.admit();
      const shard = keys.shardOf(id);
      const token = aToken();
      const declared = [
        keys.of(shard, "leases"),
        keys.claim(shard, token),
        keys.of(shard, "expiry"),
        keys.of(shard, "bytes"),
        keys.queue(shard, "build"),
        keys.delayed(shard, "build"),
      ];

      const claim = fixture.client.eval(scriptText("claim"), 6, ...declared, "build-1", token, 1, leaseMs, "build");

      await expect(claim).rejects.toThrow(/lease is a whole number/u);
      await expectNoFaults(fixture);
      expect(await (await fixture.source()).claim(1, aToken())).toHaveLength(1);
    },
  );
});
