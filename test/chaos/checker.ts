/** Judges a run by its evidence: the invariants I1 to I3, I5 and I6 (spec: faults), as pure functions. */
import type { Acceptance, Call, End, Evidence, Execution, Final } from "./evidence.ts";
import { resultOf } from "./jobs.ts";

export interface Violation {
  readonly invariant: "I1" | "I2" | "I3" | "I5" | "I6";
  readonly text: string;
  readonly job?: string;
}

export interface Bounds {
  /** Longest time from the last fault's end, or from a later acknowledgement, to a job's end, in ms. */
  readonly recoveryMs: number;
}

const TERMINAL = new Set(["completed", "failed", "timeout", "cancelled", "expired"]);
const LOSSES_OF_POISON = 3;

/** Everything of one job. */
interface Story {
  readonly id: string;
  readonly plan: { readonly kind: string };
  readonly calls: readonly Call[];
  readonly ends: readonly End[];
  readonly executions: readonly Execution[];
  readonly acceptances: readonly Acceptance[];
  readonly final: Final | undefined;
}

type Finding = readonly [Violation["invariant"], string];

/** Every way in which the run broke its promises; none when all is well. */
export function check(evidence: Evidence, bounds: Bounds): readonly Violation[] {
  const stories = storiesOf(evidence);
  const rules = [admission, existence, end, acceptance, outcome, repetition];
  const lastFaultMs = Math.max(0, ...evidence.faults.map(({ endMs }) => endMs));
  const found = stories.flatMap((story) =>
    [...rules.flatMap((rule) => rule(story)), ...recovery(story, lastFaultMs, bounds)].map(([invariant, text]) => ({
      invariant,
      text,
      job: story.id,
    })),
  );
  return [...found, ...totals(evidence)];
}

/** When the last job ended after the last fault, in ms; 0 when all had ended by then. */
export function recoveryMs({ faults, finals }: Pick<Evidence, "faults" | "finals">): number {
  const lastFaultMs = Math.max(0, ...faults.map(({ endMs }) => endMs));
  const lastEndMs = Math.max(0, ...[...finals.values()].map((final) => final?.finishedMs ?? 0));
  return Math.max(0, lastEndMs - lastFaultMs);
}

function storiesOf(evidence: Evidence): readonly Story[] {
  const calls = byJob(evidence.calls);
  const ends = byJob(evidence.ends);
  const executions = byJob(evidence.executions);
  const acceptances = byJob(evidence.acceptances);
  return [...evidence.jobs].map(([id, plan]) => ({
    id,
    plan,
    calls: calls.get(id) ?? [],
    ends: ends.get(id) ?? [],
    executions: executions.get(id) ?? [],
    acceptances: acceptances.get(id) ?? [],
    final: evidence.finals.get(id),
  }));
}

function byJob<Item extends { readonly job: string }>(items: readonly Item[]): ReadonlyMap<string, readonly Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const group = groups.get(item.job);
    if (group === undefined) groups.set(item.job, [item]);
    else group.push(item);
  }
  return groups;
}

/** The answers to `create_job` agree with one another: new once, and errors tell *not applied* from *unknown*. */
function admission({ calls, final, executions }: Story): readonly Finding[] {
  const count = (told: Call["outcome"]): number => calls.filter((call) => call.outcome === told).length;
  const findings: Finding[] = calls
    .filter((call) => call.outcome === "refused")
    .map(({ detail = "" }) => ["I5", `refused: ${detail}`]);
  if (count("new") > 1) findings.push(["I2", `admitted as new ${count("new")} times`]);
  const isThere = final !== undefined || executions.length > 0 || count("duplicate") > 0;
  if (isThere && count("new") + count("unknown") === 0) findings.push(["I5", "is there, though every call said no"]);
  return findings;
}

/** Acknowledged: there, and terminal. */
function existence({ calls, ends, final, executions }: Story): readonly Finding[] {
  const isAcknowledged = calls.some(({ outcome: told }) => told === "new" || told === "duplicate");
  if (isAcknowledged && ends.some(({ state }) => state === "missing")) return [["I1", "missing after it was admitted"]];
  if (final === undefined) {
    if (isAcknowledged) return [["I1", "lost: it was admitted and is gone"]];
    return executions.length > 0 ? [["I1", "ran, and is not there"]] : [];
  }
  return TERMINAL.has(final.state) ? [] : [["I1", `not ended: ${final.state}, attempt ${final.attempt}`]];
}

/** Terminal is final, and is what the job was made for or the documented end of one whose runners vanished. */
function end(story: Story): readonly Finding[] {
  const { ends, final } = story;
  if (final === undefined || !TERMINAL.has(final.state)) return [];
  const changed = ends.filter(
    ({ state, revision, attempt }) =>
      state !== "missing" && (state !== final.state || revision !== final.revision || attempt !== final.attempt),
  );
  const findings: Finding[] = changed.map((seen) => [
    "I2",
    `overwritten: seen ${endText(seen)}, then ${endText(final)}`,
  ]);
  if (!isExpected(story.plan.kind, final)) {
    findings.push(["I1", `a ${story.plan.kind} job ended ${final.state} (${final.reason ?? `code ${final.code}`})`]);
  }
  return findings;
}

function endText({ state, revision, attempt }: Pick<Final, "revision" | "attempt"> & { state: string }): string {
  return `${state} of attempt ${attempt} at revision ${revision}`;
}

function isExpected(kind: string, { state, reason, code, failures, losses }: Final): boolean {
  if (kind === "once") return state === "completed" || (state === "failed" && reason === "lost" && losses === 1);
  if (state === "failed" && reason === "poison") return losses === LOSSES_OF_POISON;
  return kind === "failing" ? state === "failed" && code === 3 && failures === 2 : state === "completed";
}

/** One outcome is accepted, of the attempt that held the lease; none where the store ended the job by itself. */
function acceptance({ acceptances, final }: Story): readonly Finding[] {
  const findings: Finding[] = [];
  const ended = acceptances.filter(({ state }) => TERMINAL.has(state));
  if (ended.length > 1) {
    const told = ended.map(({ attempt, runner }) => `attempt ${attempt} of ${runner}`).join(" and ");
    findings.push(["I2", `accepted twice: ${told}`]);
  }
  if (final === undefined) return findings;
  for (const { attempt } of ended) {
    if (isGivenUp(final))
      findings.push(["I2", `attempt ${attempt} was accepted, and the job ended as ${final.reason}`]);
    else if (attempt !== final.attempt) {
      findings.push(["I2", `attempt ${attempt} was accepted, ${final.attempt} held the lease`]);
    }
  }
  return findings;
}

/** Result and receipt are those of the attempt that held the lease, and it ran to its end. */
function outcome({ id, plan, executions, final }: Story): readonly Finding[] {
  if (final === undefined || isGivenUp(final) || !TERMINAL.has(final.state)) return [];
  const { attempt, receipt, result, state } = final;
  const findings: Finding[] = [];
  if (receipt?.attempt !== attempt || receipt.status !== state) {
    findings.push(["I2", `${state} of attempt ${attempt} with the receipt of attempt ${receipt?.attempt}`]);
  }
  if (result !== resultOf(id, attempt)) findings.push(["I2", `attempt ${attempt} with the result "${result}"`]);
  const hasRun = executions.some((each) => each.attempt === attempt && each.phase === "end");
  if (!hasRun) findings.push(["I1", `a ${plan.kind} job is ${state}, and attempt ${attempt} never ran to its end`]);
  return findings;
}

function isGivenUp({ state, reason }: Final): boolean {
  return state === "failed" && (reason === "lost" || reason === "poison");
}

/** An attempt runs once, and a job that says `on_loss = fail` has one execution at most. */
function repetition({ plan, executions }: Story): readonly Finding[] {
  const starts = executions.filter(({ phase }) => phase === "start").map(({ attempt }) => attempt);
  if (plan.kind === "once" && starts.length > 1) {
    return [["I2", `was never to run twice, and ran as attempts ${starts.join(", ")}`]];
  }
  return new Set(starts).size === starts.length ? [] : [["I2", `an attempt ran twice: ${starts.join(", ")}`]];
}

function recovery({ calls, final }: Story, lastFaultMs: number, bounds: Bounds): readonly Finding[] {
  const { finishedMs } = final ?? {};
  if (finishedMs === undefined) return [];
  const acknowledged = calls.filter(({ outcome: told }) => told === "new" || told === "duplicate");
  const sinceMs = Math.max(lastFaultMs, Math.min(...acknowledged.map(({ endMs }) => endMs)));
  const tookMs = finishedMs - sinceMs;
  if (acknowledged.length === 0 || tookMs <= bounds.recoveryMs) return [];
  return [["I6", `ended ${tookMs} ms after the last fault or its admission, ${bounds.recoveryMs} ms are allowed`]];
}

function totals({ finals, admissions, contradictions, givenUp }: Evidence): readonly Violation[] {
  const present = [...finals.values()].filter((final) => final !== undefined).length;
  const found: Violation[] = contradictions.map((text) => ({ invariant: "I3", text }));
  if (givenUp !== undefined) found.push({ invariant: "I1", text: `given up: ${givenUp}` });
  if (present === admissions) return found;
  return [...found, { invariant: "I3", text: `the store counted ${admissions} admissions, and holds ${present} jobs` }];
}
