/** What a job's process does, and what is handed in for it. */
import { existsSync } from "node:fs";
import { join } from "node:path";

import { afterEach, describe, expect, test } from "vitest";

import { canonicalText } from "../../../src/auth/canonical-json.ts";
import { LogChain, logEntryText } from "../../../src/auth/log-chain.ts";
import { nativeDigest } from "../../../src/auth/native-verifier.ts";
import { signingInput, verifySignature } from "../../../src/auth/signature.ts";
import type { SignedReceipt } from "../../../src/rpc/schema.ts";
import { createExecutor } from "../../../src/runner/executor.ts";
import { BASH, harnessSlot } from "../../support/runner-harness.ts";
import { VECTORS } from "../../support/signing.ts";

const { start, stop } = harnessSlot();

afterEach(async () => stop());

function isGood(receipt: SignedReceipt | undefined): boolean {
  const text = canonicalText(receipt?.body);
  const signature = receipt?.signature ?? "";
  return text.ok && verifySignature(VECTORS.keys.runner, signature, signingInput("receipt", text.text));
}

describe("Outcomes", () => {
  test("a job's result, log and exit code are handed in with a receipt that covers them", async () => {
    const { run, source } = await start();

    const job = await run({ payload: 'echo "héllo"\necho err >&2\nprintf ok > "$HORUS_RESULT"\n' });

    expect(job.state).toBe("completed");
    expect(source.text(job.queued.id)).toBe("héllo");
    expect(source.text(job.queued.id, "stderr")).toBe("err");
    const [finish] = job.finishes;
    expect(finish).toMatchObject({ status: "completed", code: 0, result: '{"text":"ok"}' });
    expect(finish?.reason).toBeUndefined();
    const chain = new LogChain();
    for (const entry of job.logs) chain.append(logEntryText(entry));
    expect(isGood(finish?.receipt)).toBe(true);
    expect(finish?.receipt?.body).toMatchObject({
      aud: VECTORS.keys.supervisorA,
      id: job.queued.id,
      caller_id: VECTORS.keys.caller,
      job: nativeDigest(signingInput("job", job.queued.document)),
      attempt: 1,
      queue: "build",
      code: 0,
      status: "completed",
      result: nativeDigest(Buffer.from("ok")),
      result_len: 2,
      logs: chain.head,
      logs_count: 2,
    });
    expect(finish?.receipt?.body.finished_ms).toBeGreaterThanOrEqual(finish?.receipt?.body.started_ms ?? 0);
  });

  test.each([
    { payload: "exit 7", code: 7, reason: "exit code 7" },
    { payload: "kill -9 $$", code: 137, reason: "killed by SIGKILL" },
    { payload: "kill -15 $$", code: 143, reason: "killed by SIGTERM" },
  ])("$payload fails with code $code", async ({ payload, code, reason }) => {
    const { run } = await start();

    const job = await run({ payload });

    expect(job.state).toBe("failed");
    expect(job.finishes[0]).toMatchObject({ code, reason, isRetryable: true });
    expect(job.finishes[0]?.receipt?.body).toMatchObject({ status: "failed", code, result_len: 0, logs_count: 0 });
  });

  test("a fault of the runner's own once the process began leaves the job to be reaped: it is not begun anew, uncounted", async () => {
    let directory = "";
    const breaks = {
      ...BASH,
      get limits() {
        if (existsSync(join(directory, "begun"))) throw new Error("EMFILE: no descriptor is free");
        return {};
      },
    };
    const harness = await start({ executors: [breaks] });
    ({ directory } = harness);

    const job = await harness.run({ payload: "touch ../../../begun", on_loss: "fail" });

    expect(harness.events.at(-1)).toMatchObject({ end: { kind: "unfit", reason: "EMFILE: no descriptor is free" } });
    expect(job).toMatchObject({ state: "running", released: 0, finishes: [] });
  });

  test("a failed job is run again as often as it asks for, each attempt with a log and a receipt of its own", async () => {
    const { run, ended, source } = await start();

    const job = await run({ payload: 'echo "attempt $HORUS_ATTEMPT"; exit 1', max_attempts: 2 });
    await ended(2);

    expect(job.state).toBe("failed");
    expect(job.finishes.map((finish) => finish.receipt?.body.attempt)).toEqual([1, 2]);
    expect(source.text(job.queued.id)).toBe("attempt 1\nattempt 2");
    expect(job.logs.map((entry) => [entry.attempt, entry.seq])).toEqual([
      [1, 1],
      [2, 1],
    ]);
  });

  test("a result over the limit fails the attempt for good, with an empty result in the receipt", async () => {
    const { run, source } = await start({ limits: { maxResultBytes: 10 } });

    const job = await run({ payload: 'printf "12345678901" > "$HORUS_RESULT"', max_attempts: 5 });

    expect(job.state).toBe("failed");
    expect(job.finishes).toHaveLength(1);
    expect(job.finishes[0]).toMatchObject({ code: 0, reason: "result too large: 11 bytes, max_result_bytes is 10" });
    expect(job.finishes[0]?.result).toBeUndefined();
    expect(job.finishes[0]?.receipt?.body).toMatchObject({ status: "failed", result_len: 0 });
    expect(source.text(job.queued.id, "system")).toBe("result too large: 11 bytes, max_result_bytes is 10");
  });

  test("a result that is not UTF-8 is handed in as base64", async () => {
    const { run } = await start();

    const job = await run({ payload: "printf '\\377\\376' > \"$HORUS_RESULT\"" });

    expect(job.finishes[0]?.result).toBe('{"base64":"//4="}');
  });

  test("a result that is a link is not followed", async () => {
    const { run } = await start();

    const job = await run({ payload: 'ln -s /etc/passwd "$HORUS_RESULT"' });

    expect(job.finishes[0]).toMatchObject({ status: "failed", isRetryable: false });
    expect(job.finishes[0]?.result).toBeUndefined();
  });

  test("a job that asks for an executor the runner has not got fails for good, unstarted", async () => {
    const { run } = await start();

    const job = await run({ executor: "python", max_attempts: 3 });

    expect(job.finishes).toHaveLength(1);
    expect(job.finishes[0]).toMatchObject({
      status: "failed",
      code: -1,
      isRetryable: false,
      reason: 'unknown executor "python"; the runner has: sh',
    });
    expect(isGood(job.finishes[0]?.receipt)).toBe(true);
  });

  test("a value that no process can be given is named and never shown", async () => {
    const { run } = await start();

    const job = await run({
      payload: "echo ran",
      env_vars: { APP_TOKEN: "s3cret\u0000", APP_MODE: "fast" },
      max_attempts: 2,
    });

    expect(job).toMatchObject({ state: "failed", logs: [] });
    expect(job.finishes).toMatchObject([
      {
        code: -1,
        isRetryable: false,
        reason: 'executor "sh" can hand no value with a NUL in it to a process: APP_TOKEN',
      },
    ]);
  });

  test("a job that asks for an environment the executor does not let through fails for good, unstarted", async () => {
    const { run } = await start();

    const job = await run({ env_vars: { CI: "1", LD_PRELOAD: "/evil.so", SECRET: "x" }, max_attempts: 3 });

    expect(job.finishes[0]).toMatchObject({
      code: -1,
      isRetryable: false,
      reason: 'executor "sh" does not let the environment through: LD_PRELOAD, SECRET',
    });
  });

  test("a program that is not there fails the attempt and says which", async () => {
    const { run } = await start({ executors: [createExecutor("sh", { command: ["/no/such/program"] })] });

    const job = await run();

    expect(job.finishes[0]).toMatchObject({ status: "failed", code: -1, isRetryable: true });
    expect(job.finishes[0]?.reason).toContain('cannot start "/no/such/program"');
  });

  test("a value that can not be handed to the system fails the attempt", async () => {
    const { run } = await start();

    const job = await run({ env_vars: { CI: "a\0b" } });

    expect(job.finishes[0]).toMatchObject({ status: "failed", code: -1 });
  });
});
