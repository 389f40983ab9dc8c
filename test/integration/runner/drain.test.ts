/** Draining and stopping: what runs may end, the rest is given back, and nothing is left behind. */
import { afterEach, describe, expect, test } from "vitest";

import { harnessSlot } from "../../support/runner-harness.ts";

const { create, start, stop } = harnessSlot();

afterEach(async () => stop());

describe("Drain and stop", () => {
  test("a drain lets the running job end and takes no other", async () => {
    const { source, queue, runner, events } = await start();
    const running = await queue({ payload: "echo up; sleep 0.3; echo done" });
    const waiting = await queue({ payload: "true" });
    await source.until(() => running.logs.length === 1);

    await runner.drain("SIGTERM");

    expect(running.state).toBe("completed");
    expect(waiting.state).toBe("pending");
    expect(source.beats.at(-1)).toMatchObject({ isDraining: true });
    expect(events).toContainEqual({ kind: "draining", reason: "SIGTERM" });
  });

  test("what does not end within the grace is ended and given back, counted neither as lost nor as failed", async () => {
    const { source, queue, runner, events } = await start({ limits: { graceMs: 50 } });
    const job = await queue({ payload: "echo up; sleep 60" });
    await source.until(() => job.logs.length === 1);

    await runner.drain("SIGTERM");

    expect(job).toMatchObject({ state: "pending", released: 1, failures: 0 });
    expect(job.finishes).toEqual([]);
    expect(source.text(job.queued.id, "system")).toContain("given back");
    expect(events.at(-1)).toMatchObject({ kind: "ended", end: { kind: "released" } });
  });

  test("a job that must not begin twice fails instead of being given back", async () => {
    const { source, queue, runner } = await start({ limits: { graceMs: 50 } });
    const job = await queue({ payload: "echo up; sleep 60", on_loss: "fail", max_attempts: 3 });
    await source.until(() => job.logs.length === 1);

    await runner.drain("SIGTERM");

    expect(job).toMatchObject({ state: "failed", released: 0 });
    expect(job.finishes[0]).toMatchObject({ isRetryable: false, reason: "the runner stopped while it ran" });
  });

  test("such a job that was being cancelled is cancelled", async () => {
    const { source, queue, runner } = await start({ limits: { graceMs: 50, killGraceMs: 1500 } });
    const payload = "trap 'echo term; sleep 1' TERM; echo up; while true; do sleep 0.05; done";
    const job = await queue({ payload, on_loss: "fail" });
    await source.until(() => job.logs.length === 1);

    const drained = runner.drain("SIGTERM");
    await source.until(() => source.text(job.queued.id).includes("term"));
    source.cancel(job.queued.id);
    await drained;

    expect(job).toMatchObject({ state: "cancelled", released: 0 });
    expect(job.finishes[0]?.reason).toBeUndefined();
    expect(job.finishes[0]?.receipt?.body).toMatchObject({ status: "cancelled", code: -1 });
  });

  test("a stop ends running jobs at once, gives them back and leaves", async () => {
    const { source, queue, runner } = await start();
    const job = await queue({ payload: "echo up; sleep 60" });
    await source.until(() => job.logs.length === 1);

    await Promise.all([runner.drain("first"), runner.stop()]);

    expect(job.released).toBe(1);
    expect(source.isAttached).toBe(false);
  });

  test("a stop while the source is down ends all the same", async () => {
    const { source, queue, runner } = await start({ limits: { settleMs: 200, logFlushMs: 100 } });
    const job = await queue({ payload: "echo up; sleep 60" });
    await source.until(() => job.logs.length === 1);
    source.goDown();

    await runner.stop();

    expect(runner.running).toBe(0);
    expect(job.state).toBe("running");
  });

  test("a claim whose answer was lost is asked for again by the drain, and its jobs are given back", async () => {
    const { source, queue, runner, events } = await start();
    source.lostAnswers.set("claim", 1);
    source.down.add("heartbeat");
    const job = await queue({ payload: "true" });
    await source.until(() => job.state === "running");
    const drained = runner.drain("SIGTERM");
    await drained;

    expect(["pending", "completed"]).toContain(job.state);
    expect(events.filter((event) => event.kind === "ended")).toHaveLength(1);
  });

  test("a runner that never started can be stopped", async () => {
    const { source, runner } = await create();

    await runner.stop();

    expect(source.calls.size).toBe(0);
  });
});
