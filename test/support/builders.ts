/** Builders of the things tests talk about; each takes only what the test is about. */
import type { JobHead, JobRecord } from "../../src/jobs/job.ts";
import { EXAMPLE_KEYS, JOB_VIEW, RUNNER_DOCUMENT, SIGNED_JOB, SIGNED_RUNNER } from "../../src/rpc/examples.ts";
import type { JobDocument, RunnerDocument } from "../../src/rpc/schema.ts";
import type { RunnerRecord } from "../../src/store/store.ts";

export function aHead(wanted: Partial<JobHead> = {}): JobHead {
  return {
    id: SIGNED_JOB.job.id,
    digest: "d".repeat(64),
    principal: "alice",
    callerId: EXAMPLE_KEYS.caller,
    queue: "build",
    priority: 5,
    expiresAt: 1_790_003_600,
    state: "pending",
    revision: 1,
    isCancelling: false,
    attempt: 0,
    failures: 0,
    losses: 0,
    admittedMs: 1_790_000_030_000,
    logCount: 0,
    logBytes: 0,
    ...wanted,
  };
}

export function aJob(wanted: Partial<JobDocument> = {}): JobDocument {
  return { ...SIGNED_JOB.job, ...wanted };
}

interface RecordWishes extends Partial<JobRecord> {
  readonly env?: Readonly<Record<string, string>>;
  readonly payload?: string;
}

export function aRecord({ env, payload, ...wanted }: RecordWishes = {}): JobRecord {
  const { env_vars: _env, ...document } = SIGNED_JOB.job;
  return {
    ...aHead(),
    document: JSON.stringify({
      ...document,
      ...(payload === undefined ? {} : { payload }),
      ...(env === undefined ? {} : { env_vars: env }),
    }),
    signatures: JSON.stringify(SIGNED_JOB.signatures),
    ticket: JSON.stringify(JOB_VIEW.ticket),
    ...wanted,
  };
}

export function aRunnerRecord({
  body,
  ...wanted
}: Partial<RunnerRecord> & { body?: Partial<RunnerDocument> } = {}): RunnerRecord {
  return {
    registration: { ...SIGNED_RUNNER, body: { ...RUNNER_DOCUMENT, ...body } },
    enrolledBy: "{}",
    registeredMs: 0,
    nowMs: 100_000,
    running: 0,
    isDraining: false,
    isDetached: false,
    waiting: 0,
    ...wanted,
  };
}
