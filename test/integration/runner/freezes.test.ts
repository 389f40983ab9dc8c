/**
 * A runner that was frozen and goes on: its timers fire first, and only then does it hear what happened meanwhile. The
 * event loop is held up for that; no thread stands in.
 */
import { stat } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";

import { afterEach, describe, expect, test } from "vitest";

import type { Executor } from "../../../src/runner/executor.ts";
import { Pulse } from "../../../src/runner/wake.ts";
import { MemorySource } from "../../support/memory-source.ts";
import { BASH, harnessSlot } from "../../support/runner-harness.ts";

const { start, stop } = harnessSlot();

afterEach(async () => stop());

function freeze(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** Calls back when all is ready for the process but its payload and pipes. */
function executorThat(callback: () => void): Executor {
  return {
    ...BASH,
    get payload() {
      callback();
      return "stdin" as const;
    },
  };
}

describe("A runner that was frozen", () => {
  test("counts a job that ended in time as ended, though its timeout has passed", async () => {
    const { queue, source, ended } = await start({ source: new MemorySource(20_000) });
    const job = await queue({ payload: "echo up; sleep 0.3", timeout: 1 });
    await source.until(() => job.logs.length === 1);

    // Timers come next.
    await setImmediate();
    freeze(1500);
    await ended(1);

    expect(job.finishes[0]).toMatchObject({ status: "completed", code: 0 });
  });

  test("hands in what ended while it drained, though the grace has passed", async () => {
    const { queue, source, runner } = await start({ source: new MemorySource(20_000), limits: { graceMs: 1000 } });
    const job = await queue({ payload: "echo up; sleep 0.3", on_loss: "fail" });
    await source.until(() => job.logs.length === 1);

    const drained = runner.drain("SIGTERM");
    await source.until(() => source.beats.at(-1)?.isDraining === true);
    await setImmediate();
    freeze(1500);
    await drained;

    expect(job).toMatchObject({ state: "completed", released: 0 });
  });

  test("before the process began starts none once the lease has run out, and gives the job back unstarted", async () => {
    let isFirst = true;
    const thaws = executorThat(() => {
      if (isFirst) freeze(1500);
      isFirst = false;
    });
    const { queue, ended, events, source } = await start({ source: new MemorySource(1000), executors: [thaws] });
    source.hanging.add("renew");
    const job = await queue({ payload: 'echo "attempt $HORUS_ATTEMPT"', on_loss: "fail" });
    await ended(1);
    source.hanging.clear();

    expect(events).toContainEqual(expect.objectContaining({ kind: "ended", attempt: 1, end: { kind: "released" } }));
    await ended(2);
    expect(job.state).toBe("completed");
    expect(job.logs.map((entry) => entry.text)).toEqual(["attempt 2"]);
  });
});

describe("A log that waits for its source", () => {
  test("hears an answer that came while all was frozen, and drops nothing for its being late", async () => {
    const progress = new Pulse();
    const moved = progress.next(50);

    await setImmediate();
    void stat(".").then(() => progress.beat());
    freeze(200);

    expect(await moved).toBe(true);
    expect(await progress.next(1)).toBe(false);
  });
});

describe("A job whose process has not begun", () => {
  test("is given back by a drain, though it must not begin twice", async () => {
    let drained: Promise<void> | undefined;
    const harness = await start({
      limits: { graceMs: 0 },
      executors: [executorThat(() => (drained ??= Promise.resolve(harness.runner.drain("SIGTERM"))))],
    });
    const job = await harness.queue({ payload: "echo begun; sleep 60", on_loss: "fail" });
    await harness.ended(1);
    await drained;

    expect(job).toMatchObject({ state: "pending", released: 1, finishes: [], logs: [] });
  });

  test("begins no more once it is cancelled", async () => {
    const harness = await start({ executors: [executorThat(() => harness.source.cancel(job.queued.id))] });
    const job = await harness.queue({ payload: "trap '' TERM; sleep 60" });
    await harness.ended(1);

    expect(job.finishes[0]).toMatchObject({ status: "cancelled", code: -1 });
  });
});
