/** Losing a lease, and letting it lapse: what the runner does to the process, and what it still writes. */
import { join } from "node:path";

import { afterEach, describe, expect, test } from "vitest";

import { MemorySource } from "../../support/memory-source.ts";
import { harnessSlot, isGone } from "../../support/runner-harness.ts";
import { waitUntil } from "../../support/wait.ts";

const { start, stop } = harnessSlot();

afterEach(async () => stop());

const ENDLESS = "echo $$; while true; do sleep 0.05; done";

describe("Losing", () => {
  test("a lost lease kills the process at once and nothing more is written", async () => {
    const { queue, source, events, runner } = await start({
      source: new MemorySource(600),
      limits: { killGraceMs: 60_000 },
    });
    const job = await queue({ payload: `trap '' TERM; ${ENDLESS}` });
    await source.until(() => job.logs.length === 1);
    const drained = runner.drain("test");
    source.loseLease(job.queued.id);
    await drained;

    expect(events.at(-1)).toMatchObject({ kind: "ended", end: { kind: "lost" } });
    expect(await isGone(Number(source.text(job.queued.id)))).toBe(true);
    expect(job).toMatchObject({ state: "pending", refused: 0, finishes: [], released: 0 });
  });

  test("no attempt of a job begins here beside an earlier one: a job handed out again says that the lease is lost", async () => {
    // Renewals alone would tell in twenty seconds.
    const { queue, source, ended, directory } = await start({ source: new MemorySource(60_000), slots: 2 });
    const file = join(directory, "first");
    const first = `echo $$ > '${file}'; echo up; exec sleep 60`;
    const second = `kill -0 "$(cat '${file}')" 2>&- && echo beside || echo alone`;
    const job = await queue({ payload: `if [ "$HORUS_ATTEMPT" = 1 ]; then ${first}; else ${second}; fi` });
    await source.until(() => job.logs.length === 1);

    source.loseLease(job.queued.id);
    source.hint();
    await ended(2);

    expect(job).toMatchObject({ state: "completed", attempt: 2 });
    expect(source.text(job.queued.id)).toMatch(/alone/u);
  });

  test("an append that is told so loses the lease as well", async () => {
    const { queue, source, events, runner } = await start({ source: new MemorySource(60_000) });
    const job = await queue({ payload: "echo up; sleep 0.2; echo more; sleep 60" });
    await source.until(() => job.logs.length === 1);
    const drained = runner.drain("test");
    source.loseLease(job.queued.id);
    await drained;

    expect(events.at(-1)).toMatchObject({ kind: "ended", end: { kind: "lost" } });
    expect(job).toMatchObject({ refused: 1, finishes: [] });
    expect(job.logs).toHaveLength(1);
  });

  test("a finish that is told so is not repeated, and the outcome is nobody's", async () => {
    const { queue, source, ended, events } = await start({ source: new MemorySource(60_000) });
    source.hanging.add("finish");
    const job = await queue({ payload: "true" });
    await source.until(() => source.calls.get("finish") === 1);

    job.token = "another's";
    source.hanging.clear();
    source.goUp();
    await ended(1);

    expect(events.at(-1)).toMatchObject({ kind: "ended", end: { kind: "lost" } });
    expect(job).toMatchObject({ finishes: [], refused: 1 });
    expect(source.calls.get("finish")).toBe(1);
  });
});

describe("Lapsing", () => {
  test("a short outage does not end a running job", async () => {
    const { queue, ended, source } = await start({ source: new MemorySource(3000) });
    const job = await queue({ payload: "echo up; sleep 1; echo end" });
    await source.until(() => job.logs.length === 1);
    source.goDown();
    await waitUntil(() => (source.calls.get("renew") ?? 0) > 0);
    source.goUp();
    await ended(1);

    expect(job.state).toBe("completed");
    expect(source.text(job.queued.id)).toBe("up\nend");
  });

  test("a process whose lease could not be renewed for its whole length is killed, and left to be counted as lost", async () => {
    const { queue, source, events, runner } = await start({ source: new MemorySource(600) });
    const job = await queue({ payload: ENDLESS });
    await source.until(() => job.logs.length === 1);
    const drained = runner.drain("test");
    source.down.add("renew");
    await drained;

    expect(events.at(-1)).toMatchObject({ kind: "ended", end: { kind: "lost" } });
    expect(await isGone(Number(source.text(job.queued.id)))).toBe(true);
    expect(job).toMatchObject({ released: 0, finishes: [], state: "running" });
  });

  test("a flood of output does not keep the leases from being renewed", async () => {
    const { run, source } = await start({ source: new MemorySource(1500), limits: { maxLogBytes: 100_000 } });

    const job = await run({ payload: "timeout 3 yes & timeout 3 yes >&2 & wait; true", timeout: 20 });

    expect(job.state).toBe("completed");
    expect(source.calls.get("renew")).toBeGreaterThan(2);
  });

  test("a source that hangs counts as one that is down", async () => {
    const { queue, source, ended } = await start({ source: new MemorySource(600) });
    const job = await queue({ payload: ENDLESS });
    await source.until(() => job.logs.length === 1);
    source.hanging.add("renew");
    await ended(1);

    expect(await isGone(Number(source.text(job.queued.id)))).toBe(true);
    expect(source.calls.get("renew")).toBeGreaterThan(1);
  });

  test("an outcome that is ready is handed in beyond the lease: the store alone knows whose it is", async () => {
    const { queue, source, ended } = await start({ source: new MemorySource(500) });
    source.down.add("finish");
    source.down.add("renew");
    const job = await queue({ payload: "exit 5" });
    const startMs = performance.now();
    await waitUntil(() => (source.calls.get("finish") ?? 0) > 1 && performance.now() - startMs > 1000);
    source.goUp();
    await ended(1);

    expect(job.finishes[0]).toMatchObject({ status: "failed", code: 5 });
  });
});
