/** A job record as Redis holds it (a hash of texts), and back. */
import type { JobHead, JobRecord } from "../jobs/job.ts";
import { JOB_STATES } from "../rpc/schema.ts";
import { asNumber, asOneOf, asOptional, asText } from "./reply.ts";

/** The hash fields of a head, in the order scripts and HMGET answer them; `list` reads the first four by position. */
export const HEAD_FIELDS = [
  "principal",
  "state",
  "queue",
  "context_id",
  "digest",
  "caller_id",
  "priority",
  "expires_at",
  "revision",
  "cancelling",
  "attempt",
  "failures",
  "losses",
  "runner",
  "code",
  "reason",
  "admitted_ms",
  "started_ms",
  "finished_ms",
  "ready_ms",
  "log_count",
  "log_bytes",
] as const;

const CONTENT_FIELDS = ["document", "signatures", "ticket", "result", "receipt"] as const;

/** All fields of a record, heads first. */
export const RECORD_FIELDS = [...HEAD_FIELDS, ...CONTENT_FIELDS] as const;

type Field = (typeof RECORD_FIELDS)[number];

type Draft<Value> = { -readonly [Name in keyof Value]: Value[Name] };

/** Optional members stay absent where there is no value. */
function set<Target, Name extends keyof Target>(target: Target, name: Name, value: Target[Name] | undefined): void {
  if (value !== undefined) target[name] = value;
}

/** Values in the order of {@link HEAD_FIELDS}; undefined where there is no such job. */
export function parseHead(id: string, values: readonly unknown[]): JobHead | undefined {
  const of = (field: Field): unknown => values[RECORD_FIELDS.indexOf(field)];
  const text = (field: Field): string | undefined => asOptional(of(field), asText);
  const number = (field: Field): number | undefined => asOptional(of(field), asNumber);
  if (text("state") === undefined) return undefined;
  const head: Draft<JobHead> = {
    id,
    digest: asText(of("digest")),
    principal: asText(of("principal")),
    callerId: asText(of("caller_id")),
    queue: asText(of("queue")),
    priority: asNumber(of("priority")),
    expiresAt: asNumber(of("expires_at")),
    state: asOneOf(of("state"), JOB_STATES),
    revision: asNumber(of("revision")),
    isCancelling: of("cancelling") === "1",
    attempt: asNumber(of("attempt")),
    failures: asNumber(of("failures")),
    losses: asNumber(of("losses")),
    admittedMs: asNumber(of("admitted_ms")),
    logCount: asNumber(of("log_count")),
    logBytes: asNumber(of("log_bytes")),
  };
  set(head, "contextId", text("context_id"));
  set(head, "runner", text("runner"));
  set(head, "code", number("code"));
  set(head, "reason", text("reason"));
  set(head, "startedMs", number("started_ms"));
  set(head, "finishedMs", number("finished_ms"));
  set(head, "readyMs", number("ready_ms"));
  return head;
}

/** Values in the order of {@link RECORD_FIELDS}; undefined where there is no such job. */
export function parseRecord(id: string, values: readonly unknown[]): JobRecord | undefined {
  const head = parseHead(id, values);
  if (head === undefined) return undefined;
  const [document, signatures, ticket, result, receipt] = values.slice(HEAD_FIELDS.length);
  const record: Draft<JobRecord> = {
    ...head,
    document: asText(document),
    signatures: asText(signatures),
    ticket: asText(ticket),
  };
  set(record, "result", asOptional(result, asText));
  set(record, "receipt", asOptional(receipt, asText));
  return record;
}
