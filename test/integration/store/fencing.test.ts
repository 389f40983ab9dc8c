/** Fences: renewals, log entries and outcomes are taken from the attempt that holds the lease, and from no other. */
import { describe, expect, test } from "vitest";

import { JOB_VIEW } from "../../../src/rpc/examples.ts";
import type { LogEntry } from "../../../src/rpc/schema.ts";
import type { Finish, Lease } from "../../../src/runner/source.ts";
import { scriptText } from "../../../src/store/redis-scripts.ts";
import { aToken, expectNoFaults, type Fixture, startStore } from "../../support/store.ts";

const COMPLETED: Finish = { status: "completed", code: 0, isRetryable: true };

function anEntry(seq: number, text = `line ${seq}`): LogEntry {
  return { attempt: 1, seq, time_ms: 1_790_000_000_000, stream: "stdout", text };
}

/** Lets the lease run out and reaps it. */
async function lose(fixture: Fixture, { id }: Lease): Promise<void> {
  const { client, keys } = fixture;
  await client.zadd(keys.of(keys.shardOf(id), "leases"), 1, id);
  expect(await fixture.maintain()).toMatchObject({ reaped: 1 });
}

describe.each([1, 4])("A lease on %i shards", (shards) => {
  test("is prolonged by its holder alone", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const lease = await fixture.running(source);
    const index = fixture.keys.of(fixture.keys.shardOf(lease.id), "leases");
    await fixture.client.zadd(index, 1, lease.id);

    const renewed = await source.renew([
      { ...lease, token: aToken() },
      { ...lease, attempt: 2 },
      lease,
      { ...lease, id: "00000000-0000-0000-0000-000000000000" },
    ]);

    expect(renewed).toEqual([
      { outcome: "lost" },
      { outcome: "lost" },
      { outcome: "renewed", isCancelling: false },
      { outcome: "lost" },
    ]);
    expect(Number(await fixture.client.zscore(index, lease.id))).toBeGreaterThan(Date.now());
    expect(await fixture.maintain()).toMatchObject({ reaped: 0 });
  });

  test("is renewed for any number of jobs, in their order", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    for (let index = 0; index < 130; index += 1) await fixture.admit();
    const claimed = await source.claim(130, aToken());
    const [first, ...others] = claimed.map(({ lease }) => lease);
    if (first === undefined) throw new Error("nothing claimed");
    await source.finish(first, COMPLETED);

    const renewed = await source.renew([...others, first]);

    expect(renewed).toHaveLength(130);
    expect(renewed.slice(0, 129)).toEqual(others.map(() => ({ outcome: "renewed", isCancelling: false })));
    expect(renewed.at(-1)).toEqual({ outcome: "lost" });
  });

  test("refuses every late write of a runner that froze past it", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const stale = await fixture.running(source, { maxAttempts: 3 });
    await lose(fixture, stale);

    expect(await source.renew([stale])).toEqual([{ outcome: "lost" }]);
    expect(await source.append(stale, [anEntry(1)])).toBe("lost");
    expect(await source.finish(stale, COMPLETED)).toEqual({ outcome: "lost" });
    expect(await source.release(stale)).toBe("lost");
    expect(await fixture.store.jobs.head(stale.id)).toMatchObject({ state: "pending", losses: 1, logCount: 0 });

    const [next] = await source.claim(1, aToken());
    expect(next?.lease).toMatchObject({ id: stale.id, attempt: 2 });
    expect(await source.renew([stale])).toEqual([{ outcome: "lost" }]);
    expect(await source.append(stale, [anEntry(1)])).toBe("lost");
    expect(await source.finish(stale, COMPLETED)).toEqual({ outcome: "lost" });
    expect(await source.release(stale)).toBe("lost");
    expect(await fixture.store.jobs.head(stale.id)).toMatchObject({ state: "running", attempt: 2 });
    await expectNoFaults(fixture);
  });

  test("ends with one accepted outcome, and the same finish again gives the same answer", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const lease = await fixture.running(source);
    const { receipt } = JOB_VIEW;
    const finish: Finish = { ...COMPLETED, code: 3, result: '{"text":"done"}', reason: "as told" };

    expect(await source.finish(lease, { ...finish, ...(receipt === undefined ? {} : { receipt }) })).toEqual({
      outcome: "accepted",
      state: "completed",
    });
    const first = await fixture.store.jobs.get(lease.id);
    expect(await source.finish(lease, finish)).toEqual({ outcome: "accepted", state: "completed" });
    expect(await source.finish(lease, { ...finish, status: "failed" })).toEqual({
      outcome: "accepted",
      state: "completed",
    });
    expect(await source.finish({ ...lease, token: aToken() }, finish)).toEqual({ outcome: "lost" });
    expect(await source.finish({ ...lease, attempt: 2 }, finish)).toEqual({ outcome: "lost" });

    expect(first).toMatchObject({
      state: "completed",
      code: 3,
      reason: "as told",
      result: '{"text":"done"}',
      receipt: JSON.stringify(receipt),
      revision: 3,
    });
    expect(first?.finishedMs).toBeGreaterThanOrEqual(first?.startedMs ?? Infinity);
    expect(await fixture.store.jobs.get(lease.id)).toEqual(first);
    await expectNoFaults(fixture);
  });

  test("accepts one of many finishes at once", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const lease = await fixture.running(source);
    expect(await source.finish({ ...lease, attempt: 2 }, COMPLETED)).toEqual({ outcome: "lost" });
    expect(await source.append({ ...lease, attempt: 2 }, [anEntry(1)])).toBe("lost");
    expect(await source.release({ ...lease, attempt: 2 })).toBe("lost");
    expect(await source.finish({ ...lease, token: aToken() }, COMPLETED)).toEqual({ outcome: "lost" });
    expect(await source.append({ ...lease, token: aToken() }, [anEntry(1)])).toBe("lost");
    expect(await source.release({ ...lease, token: aToken() })).toBe("lost");
    const statuses = ["completed", "failed", "timeout", "cancelled"] as const;

    const answers = await Promise.all(
      Array.from({ length: 20 }, async (_, index) =>
        source.finish(lease, { status: statuses[index % 4] ?? "failed", code: index, isRetryable: false }),
      ),
    );

    const head = await fixture.store.jobs.head(lease.id);
    expect(new Set(answers.map((answer) => JSON.stringify(answer)))).toEqual(
      new Set([JSON.stringify({ outcome: "accepted", state: head?.state })]),
    );
    expect(head?.revision).toBe(3);
    await expectNoFaults(fixture);
  });

  test("can be given back: the job waits in its place, neither lost nor failed", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const lease = await fixture.running(source);

    expect(await source.release(lease)).toBe("released");
    expect(await source.release(lease)).toBe("released");

    expect(await fixture.store.jobs.head(lease.id)).toMatchObject({
      state: "pending",
      attempt: 1,
      losses: 0,
      failures: 0,
    });
    await expectNoFaults(fixture);
    const [again] = await source.claim(1, aToken());
    expect(again?.lease).toMatchObject({ id: lease.id, attempt: 2 });
    await source.finish(again?.lease ?? lease, COMPLETED);
    // The later outcome has taken its place; the early one is no longer known, and changes nothing.
    expect(await source.release(lease)).toBe("lost");
    expect(await fixture.store.jobs.head(lease.id)).toMatchObject({ state: "completed" });
  });

  test("keeps the beginning of a reason that would fill every list, whole characters of it", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const lease = await fixture.running(source);

    await source.finish(lease, { status: "failed", code: 1, isRetryable: false, reason: `x${"é".repeat(100_000)}` });

    expect((await fixture.store.jobs.head(lease.id))?.reason).toBe(`x${"é".repeat(511)}`);
    await expectNoFaults(fixture);
  });

  test.each<readonly [string, readonly (readonly [number, string])[], RegExp]>([
    ["a status that is none", [[3, "exploded"]], /status is completed/u],
    ["a code without end", [[4, "1e999"]], /code is a whole number/u],
    ["a code that is no number", [[4, "nan"]], /code is a whole number/u],
    ["half a code", [[4, "0.5"]], /code is a whole number/u],
    ["no code", [[4, ""]], /code is a whole number/u],
    ["a delay that is no number", [[7, "nan"]], /backoff/u],
    ["a longest delay below nothing", [[8, "-1"]], /backoff/u],
    ["a chance beyond 1", [[9, "1e300"]], /backoff/u],
  ])("refuses %s, before it has written anything", async (_what, changes, reason) => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const lease = await fixture.running(source, { maxAttempts: 2 });
    const script = scriptText("finish");
    const { keys } = fixture;
    const args: (string | number)[] = [lease.id, 1, lease.token, "failed", 0, "", "1", 1, 1, 0, "", ""];
    for (const [at, value] of changes) args[at] = value;

    await expect(
      fixture.client.eval(script, 2, keys.job(lease.id), keys.of(keys.shardOf(lease.id), "leases"), ...args),
    ).rejects.toThrow(reason);
    expect(await fixture.store.jobs.head(lease.id)).toMatchObject({ state: "running" });
    await expectNoFaults(fixture);
  });
});

test.each(["nan", "1e999", "1e12", "0.5", "-1", ""])(
  "A renewal by %j ms is refused, and the lease ends as before",
  async (ms) => {
    const fixture = await startStore();
    const lease = await fixture.running(await fixture.source());
    const { keys, client } = fixture;
    const leases = keys.of(keys.shardOf(lease.id), "leases");
    const before = await client.zscore(leases, lease.id);

    const renewal = client.eval(scriptText("renew"), 2, leases, keys.job(lease.id), ms, lease.id, 1, lease.token);

    await expect(renewal).rejects.toThrow(/lease is a whole number/u);
    expect(await client.zscore(leases, lease.id)).toBe(before);
  },
);

describe("Log entries", () => {
  test("are stored once and in order, however often they are sent", async () => {
    const fixture = await startStore();
    const { jobs } = fixture.store;
    const source = await fixture.source();
    const lease = await fixture.running(source);

    expect(await source.append(lease, [anEntry(1), anEntry(2)])).toBe("appended");
    expect(await source.append(lease, [anEntry(1), anEntry(2)])).toBe("appended");
    expect(await source.append(lease, [anEntry(2), anEntry(3), anEntry(4)])).toBe("appended");
    expect(await source.append(lease, [])).toBe("appended");

    const all = [1, 2, 3, 4].map((seq) => anEntry(seq));
    expect(await jobs.logs(lease.id, 0, 100)).toEqual({ entries: all, next: 4 });
    expect(await jobs.logs(lease.id, 1, 2)).toEqual({ entries: all.slice(1, 3), next: 3 });
    expect(await jobs.logs(lease.id, 4, 2)).toEqual({ entries: [], next: 4 });
    expect(await jobs.logs("00000000-0000-0000-0000-000000000000", 0, 2)).toEqual({ entries: [], next: 0 });
    const texts = await fixture.client.lrange(fixture.keys.log(lease.id), 0, -1);
    expect(texts[0]).toBe('{"attempt":1,"seq":1,"stream":"stdout","text":"line 1","time_ms":1790000000000}');
    expect(await jobs.head(lease.id)).toMatchObject({
      logCount: 4,
      logBytes: texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0),
    });
    await expectNoFaults(fixture);
  });

  test("must follow one another", async () => {
    const fixture = await startStore();
    const source = await fixture.source();
    const lease = await fixture.running(source);

    await expect(source.append(lease, [anEntry(2)])).rejects.toThrow(/before seq 2/u);
    expect(await fixture.store.jobs.head(lease.id)).toMatchObject({ logCount: 0 });
  });

  test("of a large batch are stored whole", async () => {
    const fixture = await startStore();
    const source = await fixture.source();
    const lease = await fixture.running(source);
    const batch = Array.from({ length: 250 }, (_, index) => anEntry(index + 1, "é"));

    expect(await source.append(lease, batch)).toBe("appended");

    expect((await fixture.store.jobs.logs(lease.id, 0, 1000)).entries).toEqual(batch);
    await expectNoFaults(fixture);
  });

  test("beyond the cap are refused as a whole batch, and repeated ones do not count twice", async () => {
    const fixture = await startStore({ maxLogBytes: 1000 });
    const source = await fixture.source();
    const lease = await fixture.running(source);
    const long = "x".repeat(1000);
    const batch = Array.from({ length: 50 }, (_, index) => anEntry(index + 1, long));
    expect(await source.append(lease, batch)).toBe("appended");

    // Sixty more do not fit below 1,000 bytes and the slack for markers; nothing of them is stored.
    const more = Array.from({ length: 160 }, (_, index) => anEntry(51 + index, long));
    expect(await source.append(lease, more)).toBe("full");
    expect(await source.append(lease, batch)).toBe("appended");
    expect(await source.append(lease, [...batch.slice(40), anEntry(51, "marker")])).toBe("appended");

    expect(await fixture.store.jobs.head(lease.id)).toMatchObject({ logCount: 51 });
    await expectNoFaults(fixture);
  });

  test("of a new attempt count anew and stand behind those of the one before", async () => {
    const fixture = await startStore({ maxLogBytes: 1000 });
    const source = await fixture.source();
    const lease = await fixture.running(source, { maxAttempts: 2 });
    await source.append(lease, [anEntry(1), anEntry(2)]);
    await source.release(lease);
    const [next] = await source.claim(1, aToken());
    const second = { ...anEntry(1, "again"), attempt: 2 };

    expect(await source.append(next?.lease ?? lease, [second])).toBe("appended");

    expect((await fixture.store.jobs.logs(lease.id, 0, 10)).entries).toEqual([anEntry(1), anEntry(2), second]);
  });

  test("that have no canonical text are refused before anything is sent", async () => {
    const fixture = await startStore();
    const source = await fixture.source();
    const lease = await fixture.running(source);
    await expect(source.append(lease, [anEntry(1, "\ud800")])).rejects.toThrow(/entry 1 of attempt 1/u);
  });

  test("that somebody else wrote are not shown as entries", async () => {
    const fixture = await startStore();
    const { id } = await fixture.admit();
    await fixture.client.rpush(fixture.keys.log(id), '{"seq":"one"}');
    await expect(fixture.store.jobs.logs(id, 0, 10)).rejects.toThrow(/stored log entry/u);
  });
});
