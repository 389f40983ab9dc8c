/** Cancelling a running job: by a hint, by the answer to a renewal, and what does not cancel. */
import { afterEach, describe, expect, test } from "vitest";

import { MemorySource } from "../../support/memory-source.ts";
import { harnessSlot, isGone } from "../../support/runner-harness.ts";

const { start, stop } = harnessSlot();

afterEach(async () => stop());

const ENDLESS = "echo $$; while true; do sleep 0.05; done";

describe("Cancelling", () => {
  test.each([
    { how: "by a hint", withHint: true, leaseMs: 60_000 },
    { how: "by the answer to a renewal", withHint: false, leaseMs: 600 },
  ])("a running job is ended $how, and confirmed as cancelled", async ({ withHint, leaseMs }) => {
    const { queue, ended, source } = await start({ source: new MemorySource(leaseMs) });
    const job = await queue({ payload: ENDLESS, max_attempts: 3 });
    await source.until(() => job.logs.length === 1);

    source.cancel(job.queued.id, withHint);
    await ended(1);

    expect(job.state).toBe("cancelled");
    expect(job.finishes[0]).toMatchObject({ status: "cancelled", code: 143 });
    expect(job.finishes[0]?.reason).toBeUndefined();
    expect(job.finishes[0]?.receipt?.body).toMatchObject({ status: "cancelled", code: 143, logs_count: 1 });
    expect(await isGone(Number(source.text(job.queued.id)))).toBe(true);
  });

  test("a job that is being cancelled when it is claimed is never started", async () => {
    const { run } = await start();

    const job = await run({ payload: "echo never", stored: { isCancelling: true } });

    expect(job.state).toBe("cancelled");
    expect(job.finishes[0]).toMatchObject({ code: -1 });
    expect(job.logs).toEqual([]);
  });

  test("a hint alone ends nothing: the source is asked", async () => {
    const { queue, ended, source } = await start({ source: new MemorySource(60_000) });
    const job = await queue({ payload: "echo up; sleep 0.5; echo end" });
    await source.until(() => job.logs.length === 1);

    source.hintCancel(job.queued.id);
    source.hintCancel("another");
    await ended(1);

    expect(job.state).toBe("completed");
    expect(source.calls.get("renew")).toBeGreaterThan(0);
  });

  test("a cancel that comes while it is being timed out changes nothing", async () => {
    const { queue, ended, source } = await start({ limits: { killGraceMs: 1500 } });
    const job = await queue({
      payload: "trap 'echo term; sleep 1' TERM; echo up; while true; do sleep 0.05; done",
      timeout: 1,
    });
    await source.until(() => source.text(job.queued.id).includes("term"));

    source.cancel(job.queued.id);
    await ended(1);

    expect(job.state).toBe("timeout");
  });
});
