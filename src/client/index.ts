/** The public door `horus-supervisor/client`: runs in Node and in browsers; the carrier comes from `horus-supervisor/dial`. */

// Calls
export { type CallOptions, type ClientOptions, type Pins, SupervisorClient } from "./client.ts";
export { retryAfterMs, RpcError } from "./rpc-error.ts";
export { type Applied, CarrierError, type ErrorName, ERRORS } from "../errors.ts";
export type { MethodName, Params, Result } from "../rpc/methods.ts";
export type { Dialer, OutgoingCall } from "../rpc/transport.ts";

// Keys and signatures
export { createSigner, generateSeed, isPublicKey, type Signer, signDocument } from "../auth/signature.ts";

// Jobs
export { buildJob, coSignJob, type JobOptions, type SignedJob, signJob } from "./job.ts";
export { type EventSource, followEvents, type FollowEventsOptions, type SeenEvent } from "./events.ts";
export { followLogs, type FollowLogsOptions, type FollowOptions, followStates } from "./follow.ts";
export type { JobEvent } from "../rpc/job-event.ts";
export type {
  JobDocument,
  JobResult,
  JobState,
  JobSummary,
  JobView,
  LogEntry,
  RunnerView,
  SignatureEntry,
  SignedReceipt,
  SignedRunner,
  SignedTicket,
} from "../rpc/schema.ts";

// Ends and receipts
export { type JobEnd, ReceiptError, type ResultOptions, waitForResult } from "./result.ts";
export type { Enrolment } from "./enrolment.ts";
export { type ReceiptFinding, type ReceiptQuestion, type ReceiptVerdict, verifyReceipt } from "./receipt.ts";
