/** The job methods of the table. */
import { Type } from "typebox";

import { JOB_ID, JOB_SUMMARY, JOB_VIEW, SIGNED_JOB } from "../examples.ts";
import { defineMethod } from "../method.ts";
import {
  Count,
  Digest,
  JobDocument,
  JobId,
  JobStateSchema,
  JobSummary,
  JobView,
  LogEntry,
  Milliseconds,
  Name,
} from "../schema.ts";

const closed = { additionalProperties: false } as const;
const WaitMs = Type.Integer({
  title: "WaitMs",
  description: "Longest wait in ms; cut to what the transport holds (25 s on HTTP and WebSocket, 240 s on Mycelium)",
  minimum: 0,
  maximum: 240_000,
});
const Durability = Type.String({
  title: "Durability",
  description: "What the acknowledgement stands for: memory, everysec, always or replicated(n)",
});

export const createJob = defineMethod({
  summary: "Submit a signed job",
  description:
    "Admits a job that its caller signed. The same document again gives its present state with `duplicate: true`; " +
    "the same id with other content is a conflict. No credential beside the job's own signatures.",
  params: Type.Object({ job: JobDocument }, closed),
  result: Type.Object(
    {
      id: JobId,
      state: Type.Union([JobStateSchema, Type.Literal("deleted")], { title: "AdmittedState" }),
      digest: Digest,
      duplicate: Type.Boolean({ title: "Duplicate", description: "It had been admitted before" }),
      queue: Type.Optional(Name),
      runner_online: Type.Boolean({ title: "RunnerOnline", description: "A runner that takes it is there now" }),
      durability: Durability,
    },
    { ...closed, title: "CreatedJob" },
  ),
  errors: ["unauthenticated", "stale", "forbidden", "wrongAudience", "conflict", "tooLarge", "tooMany", "unavailable"],
  credential: "signatures",
  effect: "change",
  access: { submitter: "own" },
  example: {
    params: SIGNED_JOB,
    result: {
      id: JOB_ID,
      state: "pending",
      digest: JOB_SUMMARY.digest,
      duplicate: false,
      queue: "build",
      runner_online: true,
      durability: "everysec",
    },
  },
});

export const getJob = defineMethod({
  summary: "Read one job whole",
  description: "State, signed document, signatures, ticket, result and receipt of one job.",
  params: Type.Object({ id: JobId }, closed),
  result: JobView,
  errors: ["notFound"],
  credential: "call",
  effect: "read",
  access: { submitter: "own", observer: "redacted", admin: "all" },
  example: { params: { id: JOB_ID }, result: JOB_VIEW },
});

export const listJobs = defineMethod({
  summary: "List jobs, newest first",
  description:
    "The caller's own jobs, or with `all` (observer, admin) everybody's. A page scans a bounded number of entries, " +
    "so a short page with a `next` is legal: go on until there is none.",
  params: Type.Object(
    {
      state: Type.Optional(JobStateSchema),
      runner: Type.Optional(Name),
      context_id: Type.Optional(Type.String({ title: "ContextId", maxLength: 128 })),
      created_after_ms: Type.Optional(Milliseconds("CreatedAfterMs", "Admitted at or after, UNIX ms")),
      created_before_ms: Type.Optional(Milliseconds("CreatedBeforeMs", "Admitted before, UNIX ms")),
      all: Type.Optional(Type.Boolean({ title: "All", description: "Everybody's; observer and admin only" })),
      limit: Type.Optional(Type.Integer({ title: "Limit", description: "50 unless told", minimum: 1, maximum: 200 })),
      cursor: Type.Optional(Type.String({ title: "Cursor", description: "`next` of the page before", maxLength: 512 })),
    },
    closed,
  ),
  result: Type.Object(
    {
      jobs: Type.Array(JobSummary, { title: "Jobs" }),
      next: Type.Optional(Type.String({ title: "Next", description: "Cursor of the next page; absent on the last" })),
    },
    { ...closed, title: "JobPage" },
  ),
  errors: ["forbidden"],
  credential: "call",
  effect: "read",
  access: { submitter: "own", observer: "redacted", admin: "all" },
  example: { params: { state: "completed", limit: 1 }, result: { jobs: [JOB_SUMMARY] } },
});

export const waitJob = defineMethod({
  summary: "Wait for a job's state to change",
  description:
    "Answers at once when the job is terminal or its revision is beyond `since`, else with the first change, " +
    "else at the end of the wait with the state as it is. Without `since` it waits for a terminal state.",
  params: Type.Object(
    { id: JobId, since: Type.Optional(Count("Since", "A revision seen before")), wait_ms: Type.Optional(WaitMs) },
    closed,
  ),
  result: JobSummary,
  errors: ["notFound"],
  credential: "call",
  effect: "read",
  waits: "wait_ms",
  access: { submitter: "own", observer: "redacted", admin: "all" },
  example: { params: { id: JOB_ID, wait_ms: 25_000 }, result: JOB_SUMMARY },
});

export const getJobLogs = defineMethod({
  summary: "Read a job's log",
  description:
    "Entries of all attempts in the order they were stored, from position `from`. With `wait_ms` it waits for more " +
    "when there are none yet. `done` says that no more can come. Gaps and truncation are entries of stream `system`.",
  params: Type.Object(
    {
      id: JobId,
      from: Type.Optional(Count("From", "Position of the first entry wanted, from 0")),
      limit: Type.Optional(Type.Integer({ title: "Limit", description: "500 unless told", minimum: 1, maximum: 1000 })),
      wait_ms: Type.Optional(WaitMs),
    },
    closed,
  ),
  result: Type.Object(
    {
      entries: Type.Array(LogEntry, { title: "Entries" }),
      next: Count("Next", "`from` of the next page"),
      done: Type.Boolean({ title: "Done", description: "The job is terminal and this was the last page" }),
    },
    { ...closed, title: "LogPage" },
  ),
  errors: ["notFound"],
  credential: "call",
  effect: "read",
  waits: "wait_ms",
  access: { submitter: "own", admin: "all" },
  example: {
    params: { id: JOB_ID, from: 0 },
    result: {
      entries: [{ attempt: 1, seq: 1, time_ms: 1_790_000_031_100, stream: "stdout", text: "héllo" }],
      next: 1,
      done: true,
    },
  },
});

export const cancelJob = defineMethod({
  summary: "Cancel a job",
  description:
    "A pending job is cancelled at once. A running one becomes `cancelling`, durably, until its runner confirmed or " +
    "its lease ran out. Cancelling a cancelled job succeeds.",
  params: Type.Object({ id: JobId }, closed),
  result: JobSummary,
  errors: ["notFound", "wrongState"],
  credential: "call",
  effect: "change",
  access: { submitter: "own", admin: "all" },
  example: { params: { id: JOB_ID }, result: { ...JOB_SUMMARY, state: "cancelled" } },
});

export const deleteJob = defineMethod({
  summary: "Delete a job and all its traces",
  description:
    "Record, log and result go; a tombstone stays until `expires_at` + 60 s so that the job can not be replayed. " +
    "A running job is refused with its state: cancel it first. Deleting a deleted job succeeds.",
  params: Type.Object({ id: JobId }, closed),
  result: Type.Object(
    { id: JobId, deleted: Type.Literal(true, { title: "Deleted" }) },
    { ...closed, title: "DeletedJob" },
  ),
  errors: ["notFound", "wrongState"],
  credential: "call",
  effect: "change",
  access: { submitter: "own", admin: "all" },
  example: { params: { id: JOB_ID }, result: { id: JOB_ID, deleted: true } },
});
