/** Jobs that do not end, or leave something behind: nothing of them survives (the slot looks at the end). */
import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, describe, expect, onTestFinished, test } from "vitest";

import { harnessSlot, isGone, printedNumbers } from "../../support/runner-harness.ts";

const { start, stop } = harnessSlot();

afterEach(async () => stop());

describe("Ending", () => {
  test("a script that never ends is timed out with its whole group", async () => {
    const { run, source } = await start();

    const job = await run({ payload: "sleep 100 & echo $!; echo $$; wait", timeout: 1 });

    expect(job.state).toBe("timeout");
    expect(job.finishes[0]).toMatchObject({ code: 143, reason: "timed out after 1 s", isRetryable: true });
    for (const pid of printedNumbers(source, job)) expect(await isGone(pid)).toBe(true);
  });

  test("one that ignores SIGTERM is killed after the grace", async () => {
    const { run, source } = await start();

    const job = await run({ payload: "trap '' TERM; echo $$; while true; do sleep 0.05; done", timeout: 1 });

    expect(job.finishes[0]).toMatchObject({ status: "timeout", code: 137 });
    expect(await isGone(printedNumbers(source, job)[0] ?? 0)).toBe(true);
  });

  test("one that ends well on SIGTERM is timed out all the same, with what it left as result", async () => {
    const { run } = await start();

    const job = await run({
      payload: "trap 'echo partial > \"$HORUS_RESULT\"; exit 0' TERM; while true; do sleep 0.05; done",
      timeout: 1,
    });

    expect(job.finishes[0]).toMatchObject({ status: "timeout", code: 0, result: '{"text":"partial\\n"}' });
  });

  test("a result too large does not hide that the job was timed out", async () => {
    const { run } = await start({ limits: { maxResultBytes: 1 } });

    const job = await run({ payload: 'echo much > "$HORUS_RESULT"; sleep 100', timeout: 1 });

    expect(job.finishes[0]).toMatchObject({ status: "timeout" });
    expect(job.finishes[0]?.receipt?.body).toMatchObject({ status: "timeout", result_len: 0 });
  });

  test("what it left in the background is killed when it ends, though it holds the pipes", async () => {
    const { run, source } = await start();

    const job = await run({ payload: "sleep 100 & echo $!" });

    expect(job.state).toBe("completed");
    expect(await isGone(printedNumbers(source, job)[0] ?? 0)).toBe(true);
  });

  test("what is in its group is killed though nothing else shows whose it is", async () => {
    const { run, source } = await start();

    const job = await run({ payload: "cd /; env -i sleep 100 >/dev/null 2>&1 & echo $!; sleep 0.2" });

    expect(await isGone(printedNumbers(source, job)[0] ?? 0)).toBe(true);
  });

  test("a daemon in a session of its own is found and killed", async () => {
    const { run, source } = await start();

    const job = await run({ payload: "setsid sh -c 'echo $$; exec sleep 100' & sleep 0.2" });

    expect(job.state).toBe("completed");
    for (const pid of printedNumbers(source, job)) expect(await isGone(pid)).toBe(true);
  });

  test("a daemon that cleared its environment is found by where it works", async () => {
    const { run, source } = await start();

    const job = await run({ payload: "setsid env -i sleep 100 >/dev/null 2>&1 & echo $!; sleep 0.2" });

    for (const pid of printedNumbers(source, job)) expect(await isGone(pid)).toBe(true);
  });

  test("such a daemon is found though a link leads to where the runner works", async () => {
    const directory = await mkdtemp(join(tmpdir(), "horus-endings-test-"));
    onTestFinished(async () => rm(directory, { recursive: true, force: true }));
    await mkdir(join(directory, "there"));
    await symlink(join(directory, "there"), join(directory, "link"));
    const { run, source } = await start({ scratchDirectory: join(directory, "link") });

    const job = await run({ payload: "setsid env -i sleep 100 >/dev/null 2>&1 & echo $!; sleep 0.2" });

    const pids = printedNumbers(source, job);
    onTestFinished(async () => {
      for (const pid of pids) if (!(await isGone(pid))) process.kill(pid, "SIGKILL");
    });
    for (const pid of pids) expect(await isGone(pid)).toBe(true);
  });

  test("one that escapes every way of finding it holds the runner for a moment only, and loses its pipes", async () => {
    const { run, source } = await start({ limits: { pipeGraceMs: 100 } });

    const job = await run({ payload: "cd /; setsid env -i sleep 60 & echo $!; sleep 0.2" });

    expect(job.state).toBe("completed");
    process.kill(printedNumbers(source, job)[0] ?? 0, "SIGKILL");
  });
});
