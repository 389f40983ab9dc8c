/** Every bound of a runner in one place: what one attempt may produce, and how long anything is waited for. */

const KIB = 1024;
const MIB = 1024 * KIB;

/** Bounds of one attempt; an executor may narrow them. */
export interface AttemptLimits {
  /** Canonical text of the log entries of one attempt; the rest is cut, with a marker. */
  readonly maxLogBytes: number;
  /** One log line; a longer one becomes several entries between two markers. */
  readonly maxLineBytes: number;
  /** `$HORUS_RESULT`; a larger one fails the attempt. */
  readonly maxResultBytes: number;
  /** From SIGTERM to SIGKILL; short, so that a cancel is over soon whatever the job does about it. */
  readonly killGraceMs: number;
}

export interface RunnerLimits extends AttemptLimits {
  /** How long a drain lets running jobs go on. */
  readonly graceMs: number;
  /** How long a stop tries to settle what was interrupted when the source does not answer. */
  readonly settleMs: number;
  /** Output held in memory for one attempt while the source is slow; beyond it lines are dropped, with a marker. */
  readonly logBufferBytes: number;
  /** How long a job's output is held back (and so the job) for a source that makes no progress, before it is dropped. */
  readonly logStallMs: number;
  /**
   * How long an outcome waits for the last log entries to be stored before it is handed in without them; twelve times as
   * long while an append is unanswered.
   */
  readonly logFlushMs: number;
  /** After the child exited its pipes are read until they end, or until nothing came out of them for this long. */
  readonly pipeGraceMs: number;
  /** A call to the source that is not answered in this time is taken as failed, and repeated. */
  readonly callMs: number;
  /** Between two looks at an empty queue, with jitter: hints may be lost. */
  readonly pollMs: number;
}

export const DEFAULT_LIMITS: RunnerLimits = {
  maxLogBytes: 10 * MIB,
  maxLineBytes: 16 * KIB,
  maxResultBytes: 256 * KIB,
  killGraceMs: 1000,
  graceMs: 30_000,
  settleMs: 5000,
  logBufferBytes: MIB,
  logStallMs: 1000,
  logFlushMs: 5000,
  pipeGraceMs: 1000,
  callMs: 10_000,
  pollMs: 1000,
};
