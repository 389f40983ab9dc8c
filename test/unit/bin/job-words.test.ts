import { describe, expect, test } from "vitest";

import { badSigners, jobWords, type WordsOptions } from "../../../bin/job-words.ts";
import { SIGNED_JOB } from "../../../src/rpc/examples.ts";
import { aSignedJob, aSigner, VECTORS } from "../../support/signing.ts";

const { caller, approver } = VECTORS.keys;

const NOW = 1_790_000_030_000;

async function wordsOf(
  wanted: Parameters<typeof aSignedJob>[0],
  options: Partial<WordsOptions> = {},
): Promise<readonly string[]> {
  return jobWords(await aSignedJob(wanted), { now: NOW, isFull: false, nameOf: () => undefined, ...options });
}

describe("jobWords", () => {
  test("says runner, executor, owner, times, environment, payload and signers", async () => {
    const signed = await aSignedJob(
      { executor: "sh", payload: "echo 1\necho 2", env_vars: { B: "2", A: "1" }, context_id: "shop", max_attempts: 3 },
      [aSigner(), aSigner("approver")],
    );
    const names = new Map([[caller, "alice-laptop of alice"]]);

    const words = jobWords(signed, { now: NOW, isFull: false, nameOf: (key) => names.get(key) });

    expect(words).toEqual([
      `job         ${SIGNED_JOB.job.id}`,
      `supervisor  ${VECTORS.keys.supervisorA}`,
      "runs on     build, with executor sh",
      `owner       ${caller} (alice-laptop of alice)`,
      "context     shop",
      `timeout     ${SIGNED_JOB.job.timeout} s an attempt, up to 3 attempts, again when its runner vanishes`,
      `starts      until ${new Date(SIGNED_JOB.job.expires_at * 1000).toISOString().slice(0, 19)}Z at the latest`,
      "environment A, B (values with --full)",
      "payload     13 bytes",
      "  | echo 1",
      "  | echo 2",
      `signed by   ${caller} (alice-laptop of alice)`,
      `signed by   ${approver}`,
    ]);
  });

  test("shows every character that a terminal would obey, or that turns text around, as what it is", async () => {
    const words = await wordsOf(
      { payload: "a\u001b[2Jb\rc\u202ed\u200be\u2028f\u0007", env_vars: { A: "\u001b[31m" } },
      { isFull: true },
    );

    const text = words.join("\n");
    expect(text).toContain(String.raw`a\u{1b}[2Jb\u{d}c\u{202e}d\u{200b}e\u{2028}f\u{7}`);
    expect(text).toContain(String.raw`A=\u{1b}[31m`);
    expect(words.join("")).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  });

  test("says when the payload goes on beyond what is shown, and shows all of it when asked", async () => {
    const payload = Array.from({ length: 100 }, (_, index) => `line ${index}`).join("\n");
    const [short, whole] = [await wordsOf({ payload }), await wordsOf({ payload }, { isFull: true })];

    expect(short.join("\n")).toContain("the first of them (all with --full)");
    expect(short).toContain("  | …");
    expect(short).not.toContain("  | line 99");
    expect(whole).toContain("  | line 99");
    expect(whole.join("\n")).not.toContain("the first of them");
    // One endless line, too, has an end on the terminal.
    expect((await wordsOf({ payload: "x".repeat(100_000) })).join("").length).toBeLessThan(6000);
  });

  test("says that a job has expired, starts later, runs once, and whose signature is missing or wrong", async () => {
    const expired = await wordsOf({ expires_at: 1_790_000_029 });
    const later = await wordsOf({ not_before: 1_790_000_100, expires_at: 2 ** 53 - 1, on_loss: "fail" });
    const { job, signatures } = await aSignedJob({}, [aSigner("approver")]);
    const wrong = jobWords(
      { job: { ...job, payload: "other" }, signatures },
      { now: NOW, isFull: false, nameOf: () => undefined },
    );

    expect(expired.join("\n")).toContain("EXPIRED at 2026-09-21T14:13:49Z");
    expect(later.join("\n")).toContain("not before 2026-09-21T14:15:00Z, until second 9007199254740991");
    expect(later.join("\n")).toContain("one attempt\n");
    expect(wrong.join("\n")).toContain(`signed by   ${approver}: THE SIGNATURE IS WRONG`);
    expect(wrong.join("\n")).toContain("the owner has not signed yet");
    expect(expired.join("\n")).not.toContain("has not signed yet");
  });

  test("names no environment where there is none", async () => {
    const { env_vars: _env, ...job } = SIGNED_JOB.job;

    expect(jobWords({ job, signatures: [] }, { now: NOW, isFull: true, nameOf: () => undefined })).toContain(
      "environment none",
    );
  });
});

describe("badSigners", () => {
  test("names whose signature does not cover the job", async () => {
    const signed = await aSignedJob({}, [aSigner(), aSigner("approver")]);
    const [first, second] = signed.signatures;

    expect(badSigners(signed)).toEqual([]);
    expect(badSigners({ ...signed, job: { ...signed.job, priority: 9 } })).toEqual([caller, approver]);
    expect(
      badSigners({
        job: signed.job,
        signatures: [
          ...(first === undefined ? [] : [first]),
          { public_key: approver, signature: first?.signature ?? "" },
        ],
      }),
    ).toEqual([approver]);
    expect(second?.public_key).toBe(approver);
    expect(badSigners({ ...signed, job: { ...signed.job, payload: "\ud800" } })).toEqual([caller, approver]);
  });
});
