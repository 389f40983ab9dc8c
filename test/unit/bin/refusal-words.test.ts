import { expect, test } from "vitest";

import { refusalWords } from "../../../bin/refusal-words.ts";

test.each<[string, unknown, string]>([
  [
    "a fault of a parameter",
    { path: "params.job.timeout", expected: "must be <= 86400" },
    " (params.job.timeout: must be <= 86400)",
  ],
  ["a limit", { limit: "job_bytes", allowed: 10, present: 12 }, " (job_bytes: 10 allowed, 12 present)"],
  ["a limit alone", { limit: "rate", retry_after_ms: 1234 }, " (rate; again in 1.3 s)"],
  [
    "a clock",
    { now: 1_790_000_000, max_validity_seconds: 600 },
    " (its clock says 2026-09-21T14:13:20Z; a signature may hold 600 s at most)",
  ],
  ["a clock that is none", { now: 1e300 }, " (its clock says second 1e+300)"],
  ["another identity", { identity: "ed25519:ab" }, " (it is ed25519:ab)"],
  ["a state", { state: "running" }, " (it is running)"],
  ["an outage", { applied: "no", reason: "not_connected" }, " (nothing was done; not connected)"],
  ["an outage meanwhile", { applied: "unknown" }, " (whether it was done is not known)"],
  ["approvals", { approvals_missing: 1 }, " (1 signature more)"],
  ["a fix", { name: "prod", fix: "Choose another." }, " (name prod; Choose another)"],
  ["a crash", { request_id: "r1" }, " (request id r1)"],
  ["a list", { instead: ["wait_job", "get_job_logs"] }, " (instead wait_job, get_job_logs)"],
  ["what no table knows", { toString: { deep: [1, { a: true }] }, none: null }, " (toString deep 1, a true; none )"],
  ["a text", "why not", " (why not)"],
  ["nothing", undefined, ""],
  ["nothing in it", {}, ""],
])("%s is told in words", (_what, data, says) => {
  expect(refusalWords(data)).toBe(says);
  expect(refusalWords(data)).not.toMatch(/[{}"]/u);
});

test("a refusal can not act on a terminal", () => {
  expect(refusalWords({ "\u001b[2J": "\u001b]0;x\u0007", path: "\u202e" })).toMatch(/^[\x20-\x7e]+$/u);
});
