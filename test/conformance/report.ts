/** What a run of the kit says on a terminal. */
import { table } from "../../bin/terminal.ts";
import type { Check } from "./check.ts";
import type { Verdict } from "./conformance.ts";

const WORD = { passed: "passed", failed: "FAILED", "not performed": "not performed" } as const;

/** A line for each check, and under one that did not pass what was done, what had to be seen and what was seen. */
export function reportLines(verdicts: readonly Verdict[]): readonly string[] {
  const rows = verdicts.map(({ name, outcome, tookMs, clause }) => [
    name,
    WORD[outcome],
    `${(tookMs / 1000).toFixed(1)} s`,
    clause,
  ]);
  const [header = "", ...lines] = table(["CHECK", "OUTCOME", "TOOK", "CLAUSE (src/store/README.md)"], rows);
  const explained = lines.flatMap((line, index) => [line].concat(explanation(verdicts[index])));
  return [header, ...explained, "", summary(verdicts)];
}

function explanation(verdict: Verdict | undefined): readonly string[] {
  if (verdict === undefined || verdict.outcome === "passed") return [];
  const { does, sees, detail } = verdict;
  return [`    done      ${does}`, `    expected  ${sees}`, `    seen      ${detail}`];
}

export function count(verdicts: readonly Verdict[], outcome: Verdict["outcome"]): number {
  return verdicts.filter((verdict) => verdict.outcome === outcome).length;
}

function summary(verdicts: readonly Verdict[]): string {
  const [passed, failed, missing] = [
    count(verdicts, "passed"),
    count(verdicts, "failed"),
    count(verdicts, "not performed"),
  ];
  return `${passed} passed, ${failed} failed, ${missing} not performed`;
}

/** The table of checks itself. */
export function listLines(checks: readonly Check[]): readonly string[] {
  return checks.flatMap(({ name, clause, does, sees }) => [`${name} (${clause})`, `    ${does}`, `    → ${sees}`]);
}
