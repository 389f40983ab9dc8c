/** What of a job a reader may see: pure. */
import { Type } from "typebox";
import { Compile } from "typebox/compile";

import {
  JobDocument,
  JobResult,
  type JobSummary,
  type JobView,
  SignatureEntry,
  SignedReceipt,
  SignedTicket,
} from "../rpc/schema.ts";
import type { JobHead, JobRecord } from "./job.ts";

/**
 * Who reads. `owner`: everything; `admin`: everything but the environment; `observer`: no payload, environment, result.
 */
export type Reader = "owner" | "admin" | "observer";

/** A record's head as the API shows it. */
export function toSummary(head: JobHead): JobSummary {
  return {
    id: head.id,
    state: head.state,
    revision: head.revision,
    cancelling: head.isCancelling,
    principal: head.principal,
    caller_id: head.callerId,
    digest: head.digest,
    queue: head.queue,
    priority: head.priority,
    attempt: head.attempt,
    failures: head.failures,
    losses: head.losses,
    admitted_ms: head.admittedMs,
    expires_at: head.expiresAt,
    log_count: head.logCount,
    log_bytes: head.logBytes,
    ...whatHappened(head),
  };
}

/** Members that are absent until something happened. */
function whatHappened(head: JobHead): Partial<JobSummary> {
  return {
    ...(head.contextId === undefined ? {} : { context_id: head.contextId }),
    ...(head.runner === undefined ? {} : { runner: head.runner }),
    ...(head.code === undefined ? {} : { code: head.code }),
    ...(head.reason === undefined ? {} : { reason: head.reason }),
    ...(head.startedMs === undefined ? {} : { started_ms: head.startedMs }),
    ...(head.finishedMs === undefined ? {} : { finished_ms: head.finishedMs }),
    ...(head.readyMs === undefined ? {} : { ready_ms: head.readyMs }),
  };
}

const StoredJob = Compile(JobDocument);
const StoredSignatures = Compile(Type.Array(SignatureEntry));
const StoredTicket = Compile(SignedTicket);
const StoredResult = Compile(JobResult);
const StoredReceipt = Compile(SignedReceipt);

/**
 * A whole record for one reader. Result and receipt are the runner's own words: what is neither is left out, as if there
 * were none, and a receipt that should be there is missed by whoever checks it.
 * @throws Error when a text that a supervisor stored is none of ours: somebody else wrote into the store.
 */
export function toView(record: JobRecord, reader: Reader): JobView {
  const document = StoredJob.Parse(JSON.parse(record.document));
  const job = redact(document, reader);
  const showsResult = reader !== "observer";
  const result = showsResult ? handedIn(StoredResult, record.result) : undefined;
  const receipt = handedIn(StoredReceipt, record.receipt);
  return {
    ...toSummary(record),
    job,
    redacted: Object.keys(job).length < Object.keys(document).length || (!showsResult && record.result !== undefined),
    signatures: StoredSignatures.Parse(JSON.parse(record.signatures)),
    ticket: StoredTicket.Parse(JSON.parse(record.ticket)),
    ...(result === undefined ? {} : { result }),
    ...(receipt === undefined ? {} : { receipt }),
  };
}

function handedIn<Value>(shape: { Parse(value: unknown): Value }, text: string | undefined): Value | undefined {
  if (text === undefined) return undefined;
  try {
    return shape.Parse(JSON.parse(text));
  } catch {
    // No supervisor has looked at it, and it must not hide the job.
    return undefined;
  }
}

/** The job's W3C trace context; undefined where it has none, or where the stored text is none of ours. */
export function traceparentOf({ document }: JobRecord): string | undefined {
  try {
    const job: unknown = JSON.parse(document);
    return StoredJob.Check(job) ? job.traceparent : undefined;
  } catch {
    // Not JSON: whoever shows the record says so; a line without a trace is still a line.
    return undefined;
  }
}

function redact(document: JobDocument, reader: Reader): Partial<JobDocument> {
  if (reader === "owner") return document;
  const { env_vars: _environment, ...rest } = document;
  if (reader === "admin") return rest;
  const { payload: _payload, ...metadata } = rest;
  return metadata;
}
