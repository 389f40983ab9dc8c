/** The jobs of a run: quick, slow, longer than a lease, failing, and those that must not run twice. */
import type { JobOptions } from "../../src/client/index.ts";

export type JobKind = "quick" | "slow" | "long" | "flaky" | "failing" | "once";

/** One job as the seed wants it; its id is given when it is signed. */
export interface JobPlan {
  readonly kind: JobKind;
  /** A runner or the group. */
  readonly runner: string;
  readonly sleepMs: number;
  /** Sent to two supervisors at the same moment. */
  readonly isTwin: boolean;
}

export interface JobsWish {
  readonly count: number;
  readonly leaseMs: number;
  readonly group: string;
  readonly runners: readonly string[];
  readonly random: () => number;
}

/** Share of each kind, and how long it sleeps at least and at most, in leases. */
const KINDS: Readonly<Record<JobKind, { readonly share: number; readonly sleeps: readonly [number, number] }>> = {
  quick: { share: 0.44, sleeps: [0, 0] },
  slow: { share: 0.24, sleeps: [0.2, 1] },
  long: { share: 0.04, sleeps: [1.1, 1.3] },
  flaky: { share: 0.08, sleeps: [0, 0.1] },
  failing: { share: 0.05, sleeps: [0, 0.1] },
  once: { share: 0.15, sleeps: [0.05, 0.5] },
};
const KIND_NAMES = ["quick", "slow", "long", "flaky", "failing", "once"] as const;
/** Jobs for one runner alone; the others take whoever of the group is free. */
const NAMED_SHARE = 0.2;
const TWIN_SHARE = 0.12;

export function planJobs({ count, leaseMs, group, runners, random }: JobsWish): readonly JobPlan[] {
  return Array.from({ length: count }, () => {
    const kind = drawKind(random());
    const [least, most] = KINDS[kind].sleeps;
    const sleepMs = Math.round(leaseMs * (least + (most - least) * random()));
    const named = random() < NAMED_SHARE ? runners[Math.floor(random() * runners.length)] : undefined;
    return { kind, runner: named ?? group, sleepMs, isTwin: random() < TWIN_SHARE };
  });
}

function drawKind(drawn: number): JobKind {
  let sum = 0;
  for (const kind of KIND_NAMES) {
    sum += KINDS[kind].share;
    if (drawn < sum) return kind;
  }
  return "quick";
}

/** What the job document says beside supervisor and caller. `executions` is the file that every attempt writes to. */
export function documentOf(
  { kind, runner, sleepMs }: JobPlan,
  executions: string,
): Pick<JobOptions, "runner" | "payload" | "timeout" | "on_loss" | "max_attempts"> {
  return {
    runner,
    payload: payloadOf(kind, sleepMs, executions),
    timeout: 120,
    ...(kind === "once" ? { on_loss: "fail" as const } : {}),
    ...(kind === "flaky" ? { max_attempts: 3 } : {}),
    ...(kind === "failing" ? { max_attempts: 2 } : {}),
  };
}

/** Appends of one short line are whole, however many processes write. */
function payloadOf(kind: JobKind, sleepMs: number, executions: string): string {
  const write = (phase: string): string =>
    `printf '%s %s ${phase}\\n' "$HORUS_JOB_ID" "$HORUS_ATTEMPT" >> '${executions}'`;
  return [
    write("start"),
    'echo "attempt $HORUS_ATTEMPT"',
    ...(sleepMs === 0 ? [] : [`sleep ${(sleepMs / 1000).toFixed(3)}`]),
    'printf \'%s %s\' "$HORUS_JOB_ID" "$HORUS_ATTEMPT" > "$HORUS_RESULT"',
    write("end"),
    ...(kind === "failing" ? ["exit 3"] : []),
    ...(kind === "flaky" ? ['[ "$HORUS_ATTEMPT" -gt 1 ]'] : []),
  ].join("\n");
}

/** What the job leaves as its result when this attempt's outcome is the accepted one. */
export function resultOf(id: string, attempt: number): string {
  return `${id} ${attempt}`;
}
