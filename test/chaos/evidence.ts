/** What a run left behind outside the system under test: all that the checker judges by. Times are UNIX ms. */
import type { JobState } from "../../src/client/index.ts";
import type { JobPlan } from "./jobs.ts";

/**
 * How one `create_job` ended: `new` and `duplicate` acknowledge the job, `no` says that it was not applied, `unknown` that
 * nobody can tell (no answer in time, a cut connection), `refused` anything else.
 */
export type CallOutcome = "new" | "duplicate" | "no" | "unknown" | "refused";

/** One `create_job` to one supervisor. */
export interface Call {
  readonly job: string;
  /** The supervisor's name. */
  readonly to: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly outcome: CallOutcome;
  /** What was said, where it was no acknowledgement. */
  readonly detail?: string;
}

/** A terminal state that the client saw while the run went on; `missing`: an acknowledged job that was not there. */
export interface End {
  readonly job: string;
  readonly state: JobState | "missing";
  readonly revision: number;
  readonly attempt: number;
}

/** A line that a job's own process wrote. */
export interface Execution {
  readonly job: string;
  readonly attempt: number;
  readonly phase: "start" | "end";
}

/** A runner was told that its attempt's outcome was accepted and that the job is in this state now. */
export interface Acceptance {
  readonly job: string;
  readonly attempt: number;
  readonly runner: string;
  readonly state: string;
}

/** A job as the supervisor gives it when everything is quiet. */
export interface Final {
  readonly state: JobState;
  readonly revision: number;
  readonly attempt: number;
  readonly failures: number;
  readonly losses: number;
  readonly code?: number;
  readonly reason?: string;
  readonly finishedMs?: number;
  readonly receipt?: { readonly attempt: number; readonly status: string };
  readonly result?: string;
}

export interface FaultRecord {
  readonly name: string;
  readonly startMs: number;
  /** Everything it hit is up and answering again. */
  readonly endMs: number;
}

export interface Evidence {
  readonly jobs: ReadonlyMap<string, JobPlan>;
  readonly calls: readonly Call[];
  readonly ends: readonly End[];
  readonly executions: readonly Execution[];
  readonly acceptances: readonly Acceptance[];
  /** Of every job; undefined where there is none of that id. */
  readonly finals: ReadonlyMap<string, Final | undefined>;
  readonly faults: readonly FaultRecord[];
  /** Admissions that the store has counted. */
  readonly admissions: number;
  /** Why the run came to a stand before all was sent and ended, where it did. */
  readonly givenUp?: string;
  /** Where the database contradicts itself, in words. */
  readonly contradictions: readonly string[];
}
