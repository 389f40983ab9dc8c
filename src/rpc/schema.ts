/** Schemas shared by the methods: compiled once, published in the OpenRPC document as they are enforced. */
import { type Static, type TInteger, type TSchema, Type } from "typebox";

import { VARIABLE_NAME } from "./variable-name.ts";

const closed = { additionalProperties: false } as const;

export const PublicKey = Type.String({
  title: "PublicKey",
  description: "Ed25519 public key",
  pattern: "^ed25519:[0-9a-f]{64}$",
});
export const NodeKey = Type.String({
  title: "NodeKey",
  description: "Key of a Mycelium node; never interchangeable with an Ed25519 key",
  pattern: "^x25519:[0-9a-f]{64}$",
});
export const Signature = Type.String({ title: "Signature", pattern: "^[0-9a-f]{128}$" });
export const Digest = Type.String({ title: "Digest", description: "SHA-256, hex", pattern: "^[0-9a-f]{64}$" });
export const Nonce = Type.String({ title: "Nonce", pattern: "^[0-9a-f]{32}$" });
export const Challenge = Type.String({ title: "Challenge", description: "Good once", pattern: "^[0-9a-f]{64}$" });
export const SubscriptionId = Type.String({
  title: "SubscriptionId",
  description: "Names a subscription on its connection",
  pattern: "^[0-9a-f]{16}$",
});
export const JobId = Type.String({
  title: "JobId",
  description: "Lower-case UUID chosen by the client: idempotency and replay key",
  pattern: "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
});
export const Name = Type.String({
  title: "Name",
  description: "Name of a runner, group or executor",
  pattern: "^[a-z0-9][a-z0-9._-]{0,63}$",
});
const Seconds = (title: string, description: string): TInteger =>
  Type.Integer({ title, description, minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
export const Milliseconds = (title: string, description: string): TInteger =>
  Type.Integer({ title, description, minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
export const Count = (title: string, description: string): TInteger =>
  Type.Integer({ title, description, minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

/** A map of strings; `Type.Record` would publish `patternProperties`, which OpenRPC tools do not read. */
const EnvVars = Type.Unsafe<Readonly<Record<string, string>>>({
  title: "EnvVars",
  type: "object",
  description: "Environment of the job; the runner's executor says which names it lets through",
  maxProperties: 64,
  propertyNames: { pattern: VARIABLE_NAME },
  additionalProperties: { type: "string" },
});

/** The job document (spec: jobs-and-redis, "The job document"): every field is signed, unknown fields are refused. */
export const JobDocument = Type.Object(
  {
    v: Type.Literal(1, { title: "v" }),
    aud: PublicKey,
    id: JobId,
    caller_id: PublicKey,
    context_id: Type.Optional(Type.String({ title: "ContextId", description: "Tenant or project", maxLength: 128 })),
    runner: Name,
    executor: Type.Optional(Name),
    payload: Type.String({ title: "Payload", description: "Opaque to the supervisor; on stdin of the executor" }),
    env_vars: Type.Optional(EnvVars),
    timeout: Type.Integer({
      title: "Timeout",
      description: "Seconds one attempt may run",
      minimum: 1,
      maximum: 86_400,
    }),
    max_attempts: Type.Optional(
      Type.Integer({
        title: "MaxAttempts",
        description: "Attempts in all that may fail or time out; 1 unless told",
        minimum: 1,
        maximum: 20,
      }),
    ),
    on_loss: Type.Optional(
      Type.Union([Type.Literal("retry"), Type.Literal("fail")], {
        title: "OnLoss",
        description: "When the runner disappears: run again, or fail, so that it never begins twice; retry unless told",
      }),
    ),
    priority: Type.Optional(
      Type.Integer({ title: "Priority", description: "Higher first; 5 unless told", minimum: 0, maximum: 9 }),
    ),
    not_before: Type.Optional(Seconds("NotBefore", "Earliest start, UNIX seconds")),
    traceparent: Type.Optional(
      Type.String({
        title: "Traceparent",
        description: "W3C trace context",
        pattern: "^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$",
      }),
    ),
    created_at: Seconds("CreatedAt", "UNIX seconds"),
    expires_at: Seconds("ExpiresAt", "UNIX seconds; bounds the start of every attempt"),
  },
  { ...closed, title: "JobDocument" },
);
export type JobDocument = Static<typeof JobDocument>;

/** One signature over a document. */
export const SignatureEntry = Type.Object(
  { public_key: PublicKey, signature: Signature },
  { ...closed, title: "SignatureEntry" },
);
export type SignatureEntry = Static<typeof SignatureEntry>;

/** A runner's registration (kind `runner`). */
export const RunnerDocument = Type.Object(
  {
    v: Type.Literal(1, { title: "v" }),
    aud: PublicKey,
    name: Name,
    key: PublicKey,
    groups: Type.Array(Name, { title: "Groups", maxItems: 16, uniqueItems: true }),
    executors: Type.Array(Name, { title: "Executors", maxItems: 32, uniqueItems: true }),
    slots: Type.Integer({ title: "Slots", minimum: 1, maximum: 1024 }),
    iat: Seconds("Iat", "Issued at, UNIX seconds"),
    exp: Seconds("Exp", "Bounds the presentation, not the enrolment; UNIX seconds"),
  },
  { ...closed, title: "RunnerDocument" },
);
export type RunnerDocument = Static<typeof RunnerDocument>;

/** The supervisor's statement that it admitted a job to a queue (kind `ticket`). */
export const TicketDocument = Type.Object(
  {
    v: Type.Literal(1, { title: "v" }),
    aud: PublicKey,
    job: Digest,
    id: JobId,
    queue: Name,
    iat: Seconds("Iat", "Issued at, UNIX seconds"),
    exp: Seconds("Exp", "The job's expires_at"),
  },
  { ...closed, title: "TicketDocument" },
);
export type TicketDocument = Static<typeof TicketDocument>;

export const TERMINAL_STATES = ["completed", "failed", "timeout", "cancelled", "expired"] as const;
export const JOB_STATES = ["pending", "running", ...TERMINAL_STATES] as const;
export type JobState = (typeof JOB_STATES)[number];
export type TerminalState = (typeof TERMINAL_STATES)[number];
export const JobStateSchema = Type.Enum([...JOB_STATES], { title: "JobState" });

/** The runner's statement of what one attempt produced (kind `receipt`). */
export const ReceiptDocument = Type.Object(
  {
    v: Type.Literal(1, { title: "v" }),
    aud: PublicKey,
    job: Digest,
    id: JobId,
    caller_id: PublicKey,
    runner: PublicKey,
    queue: Name,
    attempt: Type.Integer({ title: "Attempt", minimum: 1 }),
    status: Type.Enum(["completed", "failed", "timeout", "cancelled"], { title: "ReceiptStatus" }),
    code: Type.Integer({ title: "ExitCode", description: "Exit code; 128 + signal; -1 where nothing ran" }),
    started_ms: Milliseconds("StartedMs", "UNIX ms by the runner's clock"),
    finished_ms: Milliseconds("FinishedMs", "UNIX ms by the runner's clock"),
    result: Digest,
    result_len: Count("ResultLength", "Bytes"),
    logs: Digest,
    logs_count: Count("LogsCount", "Entries in the log chain of this attempt"),
  },
  { ...closed, title: "ReceiptDocument" },
);
export type ReceiptDocument = Static<typeof ReceiptDocument>;

/** A document with one signature, as tickets, receipts and registrations are stored and shown. */
const signed = <Body extends TSchema>(title: string, body: Body) =>
  Type.Object({ body, public_key: PublicKey, signature: Signature }, { ...closed, title });
export const SignedTicket = signed("SignedTicket", TicketDocument);
export type SignedTicket = Static<typeof SignedTicket>;
export const SignedReceipt = signed("SignedReceipt", ReceiptDocument);
export type SignedReceipt = Static<typeof SignedReceipt>;
export const SignedRunner = signed("SignedRunner", RunnerDocument);
export type SignedRunner = Static<typeof SignedRunner>;

/** One line of a job's log; the chain in the receipt is over {attempt, seq, stream, text|base64, time_ms}. */
export const LogEntry = Type.Object(
  {
    attempt: Type.Integer({ title: "Attempt", minimum: 1 }),
    seq: Type.Integer({ title: "Seq", description: "From 1 in each attempt", minimum: 1 }),
    time_ms: Milliseconds("TimeMs", "UNIX ms by the runner's clock"),
    stream: Type.Enum(["stdout", "stderr", "system"], { title: "Stream" }),
    text: Type.Optional(Type.String({ title: "Text" })),
    base64: Type.Optional(Type.String({ title: "Base64", description: "Where the bytes are not UTF-8" })),
  },
  { ...closed, title: "LogEntry" },
);
export type LogEntry = Static<typeof LogEntry>;
export type LogStream = LogEntry["stream"];

/** What an attempt produced, small and inline; its hash stands in the receipt. */
export const JobResult = Type.Object(
  {
    text: Type.Optional(Type.String({ title: "Text" })),
    base64: Type.Optional(Type.String({ title: "Base64", description: "Where the bytes are not UTF-8" })),
  },
  { ...closed, title: "JobResult" },
);
export type JobResult = Static<typeof JobResult>;

const summary = {
  id: JobId,
  state: JobStateSchema,
  revision: Count("Revision", "Rises with every change of state; wait_job waits for the next"),
  cancelling: Type.Boolean({ title: "Cancelling", description: "Running, and asked to stop" }),
  principal: Type.String({ title: "Principal", description: "The owner" }),
  caller_id: PublicKey,
  digest: Digest,
  queue: Name,
  context_id: Type.Optional(Type.String({ title: "ContextId" })),
  priority: Type.Integer({ title: "Priority", minimum: 0, maximum: 9 }),
  attempt: Count("Attempt", "Attempts started so far"),
  failures: Count("Failures", "Attempts that ended failed or timeout"),
  losses: Count("Losses", "Attempts whose runner vanished"),
  runner: Type.Optional(Name),
  code: Type.Optional(Type.Integer({ title: "ExitCode" })),
  reason: Type.Optional(Type.String({ title: "Reason", description: "Why it is in this state, in words" })),
  admitted_ms: Milliseconds("AdmittedMs", "UNIX ms by Redis' clock"),
  started_ms: Type.Optional(Milliseconds("StartedMs", "Start of the present or last attempt")),
  finished_ms: Type.Optional(Milliseconds("FinishedMs", "When it became terminal")),
  ready_ms: Type.Optional(Milliseconds("ReadyMs", "Earliest start of a delayed or retried job")),
  expires_at: Seconds("ExpiresAt", "UNIX seconds"),
  log_count: Count("LogCount", "Log entries stored"),
  log_bytes: Count("LogBytes", "Bytes of log stored"),
};
/** Everything about a job but its content. */
export const JobSummary = Type.Object(summary, { ...closed, title: "JobSummary" });
export type JobSummary = Static<typeof JobSummary>;

/** A job whole: summary, the signed document, and what came of it. */
export const JobView = Type.Object(
  {
    ...summary,
    job: Type.Unsafe<Partial<JobDocument>>({
      title: "JobDocumentShown",
      type: "object",
      description: "The signed document; payload and env_vars are left out for who may not read them",
    }),
    redacted: Type.Boolean({ title: "Redacted", description: "Something was left out of job, result or receipt" }),
    signatures: Type.Array(SignatureEntry, { title: "Signatures" }),
    ticket: SignedTicket,
    result: Type.Optional(JobResult),
    receipt: Type.Optional(SignedReceipt),
  },
  { ...closed, title: "JobView" },
);
export type JobView = Static<typeof JobView>;

export const RUNNER_STATES = ["online", "busy", "stale", "offline", "draining"] as const;
export type RunnerState = (typeof RUNNER_STATES)[number];

/** A runner as seen from its evidence. */
export const RunnerView = Type.Object(
  {
    name: Name,
    key: PublicKey,
    groups: Type.Array(Name, { title: "Groups" }),
    executors: Type.Array(Name, { title: "Executors" }),
    slots: Type.Integer({ title: "Slots", minimum: 1 }),
    state: Type.Enum([...RUNNER_STATES], { title: "RunnerState" }),
    running: Count("Running", "Jobs in flight"),
    waiting: Count("Waiting", "Jobs in the queues it claims from"),
    oldest_waiting_ms: Type.Optional(Milliseconds("OldestWaitingMs", "Age of the oldest job it could have taken")),
    version: Type.Optional(Type.String({ title: "Version" })),
    registered_ms: Milliseconds("RegisteredMs", "UNIX ms"),
    heartbeat_ms: Type.Optional(Milliseconds("HeartbeatMs", "Last heartbeat, UNIX ms")),
    claimed_ms: Type.Optional(Milliseconds("ClaimedMs", "Last claim, UNIX ms")),
    finished_ms: Type.Optional(Milliseconds("FinishedMs", "Last finish, UNIX ms")),
  },
  { ...closed, title: "RunnerView" },
);
export type RunnerView = Static<typeof RunnerView>;

/** `params.auth` of a signed call (kind `call`; spec: signing, "Every other call"). */
export const CallAuth = Type.Object(
  {
    v: Type.Literal(1, { title: "v" }),
    aud: PublicKey,
    key: PublicKey,
    iat: Seconds("Iat", "UNIX seconds"),
    exp: Seconds("Exp", "UNIX seconds; at most 600 after iat"),
    nonce: Nonce,
    sig: Signature,
  },
  { ...closed, title: "CallAuth", description: "Signature of this call; any fault in it is -32001" },
);
export type CallAuth = Static<typeof CallAuth>;

/** `params.auth` of `auth_login` (kind `login`; spec: signing, "Every other call"). */
export const LoginAuth = Type.Object(
  {
    v: Type.Literal(1, { title: "v" }),
    aud: PublicKey,
    key: PublicKey,
    challenge: Challenge,
    iat: Seconds("Iat", "UNIX seconds"),
    exp: Seconds("Exp", "UNIX seconds; at most 600 after iat"),
    sig: Signature,
  },
  { ...closed, title: "LoginAuth", description: "Signature of the connection's challenge; any fault in it is -32001" },
);
export type LoginAuth = Static<typeof LoginAuth>;
