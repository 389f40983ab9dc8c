/** What jobs print: floods, bytes, endless lines, and a source that does not take it. */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { afterEach, describe, expect, test } from "vitest";

import { harnessSlot } from "../../support/runner-harness.ts";
import { waitUntil } from "../../support/wait.ts";

const { start, stop } = harnessSlot();

afterEach(async () => stop());

describe("Output", () => {
  test("a flood is cut at the cap, with a marker and the count of what is missing", async () => {
    const { run, source } = await start({ limits: { maxLogBytes: 20_000 } });

    const job = await run({ payload: "yes 0123456789 | head -n 100000" });

    expect(job.state).toBe("completed");
    const stored = job.logs.filter((entry) => entry.stream === "stdout").length;
    expect(stored).toBeLessThan(300);
    expect(source.text(job.queued.id, "system")).toBe(
      `log cut: the limit of 20000 bytes is reached\nafter the cut ${100_000 - stored} lines (${(100_000 - stored) * 10} bytes) dropped`,
    );
    expect(job.finishes[0]?.receipt?.body.logs_count).toBe(job.logs.length);
  });

  test("a burst of short lines is stored whole though the job ends before most of it was read", async () => {
    const { run, source } = await start();

    const job = await run({ payload: "seq 1 30000" });

    expect(source.text(job.queued.id, "system")).toBe("");
    expect(job.logs).toHaveLength(30_000);
    expect(job.finishes[0]?.receipt?.body.logs_count).toBe(30_000);
  });

  test("a flood without end is timed out", async () => {
    const { run } = await start({ limits: { maxLogBytes: 20_000 } });

    const job = await run({ payload: "yes", timeout: 1 });

    expect(job.state).toBe("timeout");
  });

  test("a store that is full does not hold the job up", async () => {
    const { run, source } = await start();
    source.appendAnswer = "full";

    const job = await run({ payload: "seq 1 1000" });

    expect(job.state).toBe("completed");
    expect(job.logs).toEqual([]);
    expect(job.finishes[0]?.receipt?.body.logs_count).toBe(0);
  });

  test("a source that takes no log holds the job up for a bound, and then lines are dropped with a marker", async () => {
    const { run, source, directory } = await start({
      limits: { logBufferBytes: 4096, logStallMs: 50, logFlushMs: 100 },
    });
    source.down.add("append");
    const done = run({
      payload: "seq 1 100000; mkdir ../../../through; until [ -e ../../../go ]; do sleep 0.02; done; echo end",
    });
    await waitUntil(() => existsSync(join(directory, "through")));
    source.goUp();
    const [job] = source.jobs.values();
    await source.until(() => (job?.logs.length ?? 0) > 20);
    await mkdir(join(directory, "go"));
    const { queued, state } = await done;

    expect(state).toBe("completed");
    expect(source.text(queued.id, "system")).toMatch(/^gap: .+ \d+ lines \(\d+ bytes\) dropped$/m);
    expect(source.text(queued.id).split("\n").at(-1)).toBe("end");
  });

  test("bytes that are no text are kept as base64", async () => {
    const { run, source } = await start();

    const job = await run({ payload: "printf 'a\\377b\\n'; printf 'text\\n'" });

    expect(source.text(job.queued.id)).toBe("base64:Yf9i\ntext");
  });

  test("one endless line becomes entries between two markers, and no character is torn", async () => {
    const { run, source } = await start({ limits: { maxLineBytes: 256 } });

    const job = await run({ payload: "for i in $(seq 1 400); do printf 'é'; done; echo; echo next" });

    const texts = job.logs.map((entry) => entry.text ?? "?");
    expect(texts[0]).toBe("stdout: a line too long for one entry begins here");
    expect(texts.at(-2)).toBe("stdout: the line of 800 bytes ends here");
    expect(texts.at(-1)).toBe("next");
    expect(texts.slice(1, -2).join("")).toBe("é".repeat(400));
    expect(source.text(job.queued.id)).not.toContain("base64:");
  });

  test("the last line counts though nothing ends it", async () => {
    const { run, source } = await start();

    const job = await run({ payload: "printf 'no end'" });

    expect(source.text(job.queued.id)).toBe("no end");
  });

  test("/dev/stdout and /dev/stderr can be opened by name", async () => {
    const { run, source } = await start();

    const job = await run({ payload: "echo out > /dev/stdout; echo err > /dev/stderr" });

    expect(job.state).toBe("completed");
    expect(source.text(job.queued.id)).toBe("out");
    expect(source.text(job.queued.id, "stderr")).toBe("err");
  });
});
