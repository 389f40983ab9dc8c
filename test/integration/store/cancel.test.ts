/** Cancelling: at once while a job waits, durably asked for while it runs. */
import { randomUUID } from "node:crypto";

import { describe, expect, test } from "vitest";

import { aToken, expectNoFaults, nowSeconds, startStore } from "../../support/store.ts";
import { waitUntil } from "../../support/wait.ts";

describe.each([1, 4])("Cancelling on %i shards", (shards) => {
  test("ends a pending or delayed job at once, and answers the same again", async () => {
    const fixture = await startStore({ shards });
    const { jobs } = fixture.store;
    for (const notBefore of [undefined, nowSeconds() + 1000]) {
      const { id } = await fixture.admit(notBefore === undefined ? {} : { notBefore });

      expect(await jobs.cancel(id, { principal: "alice" }, "not needed")).toEqual({ outcome: "cancelled" });
      expect(await jobs.cancel(id, { principal: "alice" }, "again")).toEqual({ outcome: "cancelled" });

      expect(await jobs.head(id)).toMatchObject({ state: "cancelled", reason: "not needed", revision: 2 });
    }
    expect(await (await fixture.source()).claim(5, aToken())).toEqual([]);
    await expectNoFaults(fixture);
  });

  test("asks the runner of a running job to stop, which its renewals repeat", async () => {
    const fixture = await startStore({ shards });
    const { jobs } = fixture.store;
    const source = await fixture.source();
    const lease = await fixture.running(source);

    expect(await jobs.cancel(lease.id, {}, "too long")).toEqual({ outcome: "cancelling" });
    expect(await jobs.cancel(lease.id, {}, "again")).toEqual({ outcome: "cancelling" });

    expect(await jobs.head(lease.id)).toMatchObject({ state: "running", isCancelling: true, revision: 3 });
    expect(await source.renew([lease])).toEqual([{ outcome: "renewed", isCancelling: true }]);
    await source.finish(lease, { status: "cancelled", code: 143, isRetryable: true });
    expect(await jobs.head(lease.id)).toMatchObject({
      state: "cancelled",
      isCancelling: false,
      code: 143,
      reason: "too long",
    });
    await expectNoFaults(fixture);
  });

  test("gives way to a finish that came first", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const lease = await fixture.running(source);
    await fixture.store.jobs.cancel(lease.id, {}, "late");

    expect(await source.finish(lease, { status: "completed", code: 0, isRetryable: true })).toEqual({
      outcome: "accepted",
      state: "completed",
    });
    expect(await fixture.store.jobs.cancel(lease.id, {}, "too late")).toEqual({
      outcome: "wrong_state",
      state: "completed",
    });
    await expectNoFaults(fixture);
  });

  test("holds when the runner vanishes or gives the job back", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const lost = await fixture.running(source, { maxAttempts: 9 });
    const released = await fixture.running(source, { maxAttempts: 9 });
    for (const { id } of [lost, released]) await fixture.store.jobs.cancel(id, {}, "stop it");

    await fixture.client.zadd(fixture.keys.of(fixture.keys.shardOf(lost.id), "leases"), 1, lost.id);
    await fixture.maintain();
    expect(await source.release(released)).toBe("released");

    for (const { id } of [lost, released]) {
      expect(await fixture.store.jobs.head(id)).toMatchObject({ state: "cancelled", reason: "stop it" });
    }
    await expectNoFaults(fixture);
  });

  test("is for the owner; a foreign job is missing", async () => {
    const fixture = await startStore({ shards });
    const { jobs } = fixture.store;
    const { id } = await fixture.admit();

    expect(await jobs.cancel(id, { principal: "bob" }, "no")).toEqual({ outcome: "missing" });
    expect(await jobs.cancel(randomUUID(), { principal: "alice" }, "no")).toEqual({ outcome: "missing" });
    expect(await jobs.head(id)).toMatchObject({ state: "pending" });
  });
});

describe("Hints", () => {
  test("tell a source of new jobs and of cancels, and watchers of every change", async () => {
    const fixture = await startStore({ shards: 4 });
    const { jobs } = fixture.store;
    const source = await fixture.source();
    const hints: string[] = [];
    const stop = source.onHint((hint) => hints.push(hint.kind === "cancel" ? hint.id : "queue"));
    const job = await fixture.admit();
    let changes = 0;
    const unwatch = jobs.onChange(job.id, () => {
      changes += 1;
    });
    const unwatchOther = jobs.onChange(randomUUID(), () => {
      changes += 1000;
    });
    // Subscribing takes a moment: hints may be lost, so they are given again until one arrives.
    await waitUntil(async () => {
      await fixture.client.publish("horus:hint:build", "");
      await fixture.client.publish("horus:events", job.id);
      return hints.length > 0 && changes > 0;
    });
    const before = changes;

    const [claimed] = await source.claim(1, aToken());
    await jobs.cancel(job.id, {}, "stop");
    await waitUntil(() => hints.includes(job.id) && changes >= before + 2);
    await source.append(claimed?.lease ?? { id: "", attempt: 0, token: "" }, [
      { attempt: 1, seq: 1, time_ms: 1, stream: "stdout", text: "x" },
    ]);
    await waitUntil(() => changes >= before + 3);

    expect(changes).toBeLessThan(1000);
    stop();
    unwatch();
    unwatch();
    unwatchOther();
    const after = changes;
    await jobs.cancel(job.id, {}, "stop");
    await fixture.admit();
    expect(changes).toBe(after);
  });

  test("come again after the connection was lost, beginning with one for what was missed", async () => {
    const fixture = await startStore({}, { aof: "always" });
    const { jobs } = fixture.store;
    const { id } = await fixture.admit();
    let changes = 0;
    jobs.onChange(id, () => {
      changes += 1;
    });

    await fixture.redis.kill("SIGKILL");
    await fixture.redis.restart();

    await waitUntil(() => changes > 0);
    const before = changes;
    await waitUntil(async () => {
      await fixture.client.publish("horus:events", id).catch(() => undefined);
      return changes > before;
    });
    expect(changes).toBeGreaterThan(before);
  });
});
