/** A runner with real processes over a source in memory: slots, the claim loop, attaching. */
import { afterEach, describe, expect, test } from "vitest";

import { LogChain, logEntryText } from "../../../src/auth/log-chain.ts";
import { RunnerError } from "../../../src/runner/registration.ts";
import { createRunner } from "../../../src/runner/runner.ts";
import { MemorySource } from "../../support/memory-source.ts";
import { aRunnerOptions, harnessSlot } from "../../support/runner-harness.ts";
import { VECTORS } from "../../support/signing.ts";
import { waitUntil } from "../../support/wait.ts";

const { create, start, stop } = harnessSlot();

afterEach(async () => stop());

/** Ends only together with the other one. */
function meet(own: string, other: string): string {
  return `mkdir -p ../../../meet; touch ../../../meet/${own}; until [ -e ../../../meet/${other} ]; do sleep 0.01; done`;
}

describe("Slots", () => {
  test("two slots run two jobs at the same time", async () => {
    const { queue, ended } = await start({ slots: 2 });
    // With one slot neither would end.
    const first = await queue({ payload: meet("a", "b"), timeout: 10 });
    const second = await queue({ payload: meet("b", "a"), timeout: 10 });
    await ended(2);

    expect([first.state, second.state]).toEqual(["completed", "completed"]);
  });

  test("a listener that throws does not take the slot with it", async () => {
    const { run, events } = await start();
    Object.defineProperty(events, "push", {
      value: (...added: (typeof events)[number][]) => {
        events.splice(events.length, 0, ...added);
        if (added[0]?.kind === "started") throw new Error("listener");
      },
    });

    await run({ payload: "true" });

    expect((await run({ payload: "true" })).state).toBe("completed");
  });

  test("one slot runs one job at a time, the next as soon as it ended", async () => {
    const { queue, ended, source, events } = await start();

    for (let index = 0; index < 3; index += 1) await queue({ payload: "true" });
    await ended(3);

    expect(events.map((event) => event.kind)).toEqual(["started", "ended", "started", "ended", "started", "ended"]);
    expect([...source.jobs.values()].every((job) => job.state === "completed")).toBe(true);
  });

  test.each([0, 1.5, 1025])("%s slots are refused with the fix", (slots) => {
    expect(() => createRunner(aRunnerOptions({ slots }))).toThrow("Give a whole number from 1 to 1024");
  });

  test("a runner without executors is refused with the fix", () => {
    expect(() => createRunner(aRunnerOptions({ executors: [] }))).toThrow("--exec");
  });
});

describe("Claim loop", () => {
  test("claims what was queued without a hint at the next poll", async () => {
    const { source, queue, ended, runner } = await start();
    await source.until(() => (source.calls.get("claim") ?? 0) > 0);
    source.isMute = true;

    const job = await queue({ payload: "true" });
    await ended(1);

    expect(job.state).toBe("completed");
    expect(runner.running).toBe(0);
  });

  test("asks again with the same token when the answer to a claim is lost, so that no job is left claimed", async () => {
    const { source, run } = await start();
    source.lostAnswers.set("claim", 3);

    const job = await run({ payload: "true" });

    expect(job.state).toBe("completed");
    expect(job.attempt).toBe(1);
  });

  test("waits for a source that is down and says so once", async () => {
    const { source, queue, ended, events } = await start();
    source.goDown();
    await waitUntil(() => events.some((event) => event.kind === "source_down"));

    const job = await queue({ payload: "true" });
    await waitUntil(() => (source.calls.get("claim") ?? 0) > 3);
    source.goUp();
    await ended(1);

    expect(job.state).toBe("completed");
    expect(events.map((event) => event.kind)).toEqual(["source_down", "source_up", "started", "ended"]);
  });

  test("a source that never answers counts as one that fails", async () => {
    const { source, queue, ended, events } = await start({ limits: { callMs: 100 } });
    source.hanging.add("claim");
    await waitUntil(() => events.some((event) => event.kind === "source_down"));

    const job = await queue({ payload: "true" });
    source.hanging.clear();
    await ended(1);

    expect(job.state).toBe("completed");
    expect(events[0]).toEqual({ kind: "source_down", reason: "claim: no answer within 100 ms" });
  });

  test("repeats a finish until it is answered, and the same outcome is accepted once", async () => {
    const { source, run } = await start();
    source.lostAnswers.set("finish", 2);

    const job = await run({ payload: "echo once" });

    expect(job.state).toBe("completed");
    expect(job.finishes).toHaveLength(1);
    expect(source.calls.get("finish")).toBe(3);
  });

  test("repeats an append until it is answered, and the chain covers each entry once", async () => {
    const { source, run } = await start();
    source.lostAnswers.set("append", 2);

    const job = await run({ payload: "echo one; echo two" });

    expect(source.text(job.queued.id)).toBe("one\ntwo");
    const chain = new LogChain();
    for (const entry of job.logs) chain.append(logEntryText(entry));
    expect(job.finishes[0]?.receipt?.body).toMatchObject({ logs: chain.head, logs_count: 2 });
  });

  test("an outcome waits for a log of which nobody knows how much is stored, and its receipt counts all of it", async () => {
    const { source, run } = await start({ limits: { logFlushMs: 100 } });
    // Carried out, and the answers lost for longer than a log is waited for.
    source.lostAnswers.set("append", 4);

    const job = await run({ payload: "echo one; echo two" });

    expect(job.finishes).toHaveLength(1);
    expect(job.finishes[0]?.receipt?.body.logs_count).toBe(2);
    expect(job.finishes[0]?.reason).toBeUndefined();
    expect(source.text(job.queued.id)).toBe("one\ntwo");
  });

  test("a job whose last lines are refused ends all the same, and says what is missing", async () => {
    const { source, run } = await start({ limits: { logFlushMs: 100 } });
    source.down.add("append");

    const job = await run({ payload: "echo one; echo two" });

    expect(job.state).toBe("completed");
    expect(job.finishes[0]?.receipt?.body.logs_count).toBe(0);
    expect(job.finishes[0]?.reason).toBe("log incomplete: the last 2 lines could not be stored");
  });

  test("an outcome whose answer got lost, and whose job runs again elsewhere meanwhile, keeps no later attempt away", async () => {
    const { source, queue, ended } = await start({ limits: { pollMs: 60_000 } });
    source.lostAnswers.set("finish", 1);
    const job = await queue({ payload: "exit 4", max_attempts: 3 });
    await source.until(() => job.finishes.length === 1);
    job.state = "running";
    job.token = "another runner's";
    await ended(1);
    expect(source.calls.get("finish")).toBe(2);

    source.loseLease(job.queued.id);
    source.hint();
    await ended(2);

    expect(job.finishes.map(({ code, reason }) => ({ code, reason }))).toEqual([
      { code: 4, reason: "exit code 4" },
      { code: 4, reason: "exit code 4" },
    ]);
  });

  test("once an outcome without the last lines is handed in, none of them is stored any more", async () => {
    const { source, run } = await start({ limits: { logFlushMs: 100, callMs: 200 } });
    source.down.add("append");
    source.hanging.add("finish");
    const done = run({ payload: "echo one" });
    // The first is late, and will still be carried out.
    await source.until(() => (source.calls.get("finish") ?? 0) > 1);
    source.down.delete("append");
    await source.until(() => (source.calls.get("finish") ?? 0) > 3);
    source.hanging.delete("finish");

    const job = await done;

    expect(job.logs).toEqual([]);
    expect(job.finishes).toHaveLength(1);
    expect(job.finishes[0]?.receipt?.body.logs_count).toBe(0);
  });

  test("an outcome that is ready while the source is down is handed in when it is back", async () => {
    const { source, queue, ended } = await start({ source: new MemorySource(60_000) });
    const job = await queue({ payload: "echo before; sleep 0.2; echo after; exit 4" });
    await source.until(() => job.logs.length === 1);
    source.goDown();
    await source.until(() => (source.calls.get("finish") ?? 0) > 1 || (source.calls.get("append") ?? 0) > 3);
    source.goUp();
    await ended(1);

    expect(job.finishes[0]).toMatchObject({ status: "failed", code: 4 });
    expect(source.text(job.queued.id)).toBe("before\nafter");
  });
});

describe("Attaching", () => {
  test.each([
    { attached: { outcome: "not_registered" }, says: "supervisor runner register build-1" },
    { attached: { outcome: "mismatch", reason: "another key" }, says: "another key" },
    { attached: { outcome: "taken", heartbeatAgeMs: 12 }, says: "last heartbeat 12 ms ago" },
  ] as const)("is refused when the source says $attached.outcome, and says what to do", async ({ attached, says }) => {
    const { source, runner } = await create();
    source.attached = attached;

    const failure = runner.start();

    await expect(failure).rejects.toThrow(RunnerError);
    await expect(failure).rejects.toThrow(says);
    expect(source.calls.get("claim")).toBeUndefined();
  });

  test("says who it is, with a mark of its own", async () => {
    const { source } = await start({ slots: 3 });

    expect(source.hello).toMatchObject({ name: "build-1", groups: ["build"], slots: 3, key: VECTORS.keys.runner });
    expect(source.hello?.process).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("beats several times a lease, with what it runs", async () => {
    const { source, run } = await start({ source: new MemorySource(600) });

    await run({ payload: "sleep 0.6" });

    expect(source.beats.length).toBeGreaterThan(2);
    expect(source.beats.some((beat) => beat.running === 1 && !beat.isDraining)).toBe(true);
  });

  test("attaches again when the source forgot it", async () => {
    const { source, run } = await start({ source: new MemorySource(300) });
    source.heartbeatAnswer = "removed";
    await source.until(() => (source.calls.get("attach") ?? 0) > 1);
    source.heartbeatAnswer = "ok";

    expect((await run({ payload: "true" })).state).toBe("completed");
  });

  test("drains by itself when it lost its name, and lets the running job end", async () => {
    const { source, queue, ended, events, runner } = await start({ source: new MemorySource(300) });
    const job = await queue({ payload: "echo up; sleep 0.8" });
    await source.until(() => job.logs.length === 1);
    source.attached = { outcome: "taken", heartbeatAgeMs: 5 };
    source.heartbeatAnswer = "removed";
    await ended(1);
    await runner.drain("again");

    expect(job.state).toBe("completed");
    const removed = events.find((event) => event.kind === "removed");
    expect(removed?.reason).toContain("is running already");
  });
});
