/** The checker finds each kind of broken promise in evidence made for it, and nothing in a good run. */
import { describe, expect, test } from "vitest";

import { check } from "./checker.ts";
import type { Acceptance, Call, Evidence, Execution, Final } from "./evidence.ts";
import type { JobPlan } from "./jobs.ts";

const ID = "a-job";
const BOUNDS = { recoveryMs: 10_000 };

interface Tale {
  readonly kind?: JobPlan["kind"];
  readonly calls?: readonly Partial<Call>[];
  readonly executions?: readonly Partial<Execution>[];
  readonly acceptances?: readonly { readonly attempt?: number; readonly state?: string; readonly runner?: string }[];
  readonly seen?: { readonly state?: "completed" | "missing"; readonly revision?: number; readonly attempt?: number };
  readonly final?: Partial<Final> | "none";
  readonly admissions?: number;
  readonly contradictions?: readonly string[];
  readonly givenUp?: string;
}

const GOOD_CALL: Call = { job: ID, to: "supervisor-1", startMs: 1000, endMs: 1100, outcome: "new" };
const GOOD_EXECUTION: Execution = { job: ID, attempt: 1, phase: "start" };
const GOOD_ACCEPTANCE: Acceptance = { job: ID, attempt: 1, runner: "one", state: "completed" };
const GOOD_FINAL: Final = {
  state: "completed",
  revision: 3,
  attempt: 1,
  failures: 0,
  losses: 0,
  code: 0,
  finishedMs: 2000,
  receipt: { attempt: 1, status: "completed" },
  result: `${ID} 1`,
};

/** Evidence of one job: a good one, but for what the tale says. */
function anEvidence(tale: Tale = {}): Evidence {
  const { kind = "quick", calls = [{}], acceptances = [{}], seen = {}, contradictions = [] } = tale;
  const executions = tale.executions ?? [{ phase: "start" }, { phase: "end" }];
  const final = tale.final === "none" ? undefined : { ...GOOD_FINAL, ...tale.final };
  return {
    jobs: new Map([[ID, { kind, runner: "crew", sleepMs: 0, isTwin: false }]]),
    calls: calls.map((call) => Object.assign({}, GOOD_CALL, call)),
    ends: [{ job: ID, state: "completed", revision: 3, attempt: 1, ...seen }],
    executions: executions.map((told) => Object.assign({}, GOOD_EXECUTION, told)),
    acceptances: acceptances.map((told) => Object.assign({}, GOOD_ACCEPTANCE, told)),
    finals: new Map([[ID, final]]),
    faults: [{ name: "redis killed", startMs: 1200, endMs: 1500 }],
    admissions: tale.admissions ?? (final === undefined ? 0 : 1),
    contradictions,
    ...(tale.givenUp === undefined ? {} : { givenUp: tale.givenUp }),
  };
}

/** What is found, each as `I1 words`. */
function findings(tale?: Tale): readonly string[] {
  return check(anEvidence(tale), BOUNDS).map(({ invariant, text }) => `${invariant} ${text}`);
}

describe("check", () => {
  test.each<[string, Tale]>([
    ["a job that ran at once", {}],
    ["a repeat of an unclear answer", { calls: [{ outcome: "unknown" }, { outcome: "duplicate" }] }],
    [
      "a job that ran again after its runner vanished",
      {
        executions: [{ phase: "start" }, { attempt: 2, phase: "start" }, { attempt: 2, phase: "end" }],
        acceptances: [{ attempt: 2 }],
        seen: { attempt: 2 },
        final: { attempt: 2, losses: 1, receipt: { attempt: 2, status: "completed" }, result: `${ID} 2` },
      },
    ],
    [
      "an accepted failure before the accepted end",
      {
        kind: "flaky",
        executions: [1, 2].flatMap((attempt) => [
          { attempt, phase: "start" },
          { attempt, phase: "end" },
        ]),
        acceptances: [{ state: "pending" }, { attempt: 2 }],
        seen: { attempt: 2 },
        final: { attempt: 2, failures: 1, receipt: { attempt: 2, status: "completed" }, result: `${ID} 2` },
      },
    ],
    ["a job that nobody could admit", { calls: [{ outcome: "no" }], final: "none", executions: [], acceptances: [] }],
  ])("finds nothing wrong with %s", (_, tale) => {
    expect(findings(tale)).toEqual([]);
  });

  test.each<[string, Tale, string]>([
    ["a lost job", { final: "none" }, "I1 lost: it was admitted and is gone"],
    ["one missing in between", { seen: { state: "missing" } }, "I1 missing after it was admitted"],
    ["a stuck job", { final: { state: "running" } }, "I1 not ended: running, attempt 1"],
    [
      "a job that ended otherwise than it can",
      { final: { state: "expired" } },
      "I1 a quick job ended expired (code 0)",
    ],
    [
      "a completed job that never ran",
      { executions: [] },
      "I1 a quick job is completed, and attempt 1 never ran to its end",
    ],
    ["a second admission", { calls: [{}, { outcome: "new" }] }, "I2 admitted as new 2 times"],
    [
      "two accepted outcomes",
      { acceptances: [{}, { runner: "two", attempt: 1 }] },
      "I2 accepted twice: attempt 1 of one and attempt 1 of two",
    ],
    ["an outcome of a stale attempt", { acceptances: [{ attempt: 2 }] }, "I2 attempt 2 was accepted, 1 held the lease"],
    [
      "an accepted outcome that was taken back",
      { kind: "once", final: { state: "failed", reason: "lost", losses: 1 } },
      "I2 attempt 1 was accepted, and the job ended as lost",
    ],
    [
      "an end that changed",
      { seen: { revision: 2 } },
      "I2 overwritten: seen completed of attempt 1 at revision 2, then completed of attempt 1 at revision 3",
    ],
    [
      "another attempt's receipt",
      { final: { receipt: { attempt: 2, status: "completed" } } },
      "I2 completed of attempt 1 with the receipt of attempt 2",
    ],
    ["another attempt's result", { final: { result: `${ID} 2` } }, `I2 attempt 1 with the result "${ID} 2"`],
    ["an attempt that ran twice", { executions: [{}, {}, { phase: "end" }] }, "I2 an attempt ran twice: 1, 1"],
    [
      "a second run of what must not run twice",
      { kind: "once", executions: [{}, { attempt: 2 }, { phase: "end" }] },
      "I2 was never to run twice, and ran as attempts 1, 2",
    ],
    ["a count that does not agree", { admissions: 2 }, "I3 the store counted 2 admissions, and holds 1 jobs"],
    ["a database that contradicts itself", { contradictions: ["leases: x is missing"] }, "I3 leases: x is missing"],
    [
      "a run that came to a stand before its jobs were acknowledged",
      { calls: [{ outcome: "unknown" }], executions: [], acceptances: [], final: "none", givenUp: "no job ends" },
      "I1 given up: no job ends",
    ],
    ["a refusal", { calls: [{ outcome: "refused", detail: "Forbidden" }, {}] }, "I5 refused: Forbidden"],
    [
      "an admission behind a no",
      { calls: [{ outcome: "no" }, { outcome: "duplicate" }] },
      "I5 is there, though every call said no",
    ],
    [
      "a late end",
      { final: { finishedMs: 12_000 } },
      "I6 ended 10500 ms after the last fault or its admission, 10000 ms are allowed",
    ],
  ])("finds %s", (_, tale, finding) => {
    expect(findings(tale)).toContain(finding);
  });
});
