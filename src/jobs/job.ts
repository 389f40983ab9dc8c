/** The job record and its states: types and pure functions. Every transition is one script of the store. */
import { type JobState, TERMINAL_STATES, type TerminalState } from "../rpc/schema.ts";

/**
 * The transitions (spec: jobs-and-redis, "States"), each carried out by the script named beside it in the store:
 * pending → running (claim); pending → expired (expire, claim) | cancelled (cancel);
 * running → completed | failed | timeout | cancelled (finish, reap); running → pending (finish with a retry, reap, release).
 */
export const TRANSITIONS: Readonly<Record<JobState, readonly JobState[]>> = {
  pending: ["running", "expired", "cancelled"],
  running: ["pending", "completed", "failed", "timeout", "cancelled"],
  completed: [],
  failed: [],
  timeout: [],
  cancelled: [],
  expired: [],
};

/** Terminal states never change. */
export function isTerminal(state: JobState): state is TerminalState {
  return TERMINAL_STATES.some((terminal) => terminal === state);
}

/** What is stored of a job: the immutable signed part as text, and its state. Times are UNIX ms by Redis' clock. */
export interface JobRecord {
  readonly id: string;
  /** Canonical text of the job document: what was signed, byte for byte. */
  readonly document: string;
  /** JSON text of the signatures array. */
  readonly signatures: string;
  /** JSON text of the SignedTicket. */
  readonly ticket: string;
  readonly digest: string;
  readonly principal: string;
  readonly callerId: string;
  readonly queue: string;
  readonly contextId?: string;
  readonly priority: number;
  /** UNIX seconds, as in the document. */
  readonly expiresAt: number;
  readonly state: JobState;
  /** Rises with every transition and flag. */
  readonly revision: number;
  readonly isCancelling: boolean;
  readonly attempt: number;
  readonly failures: number;
  readonly losses: number;
  readonly runner?: string;
  readonly code?: number;
  readonly reason?: string;
  readonly admittedMs: number;
  readonly startedMs?: number;
  readonly finishedMs?: number;
  readonly readyMs?: number;
  readonly logCount: number;
  readonly logBytes: number;
  /** JSON text of the JobResult of the last accepted attempt. */
  readonly result?: string;
  /** JSON text of the SignedReceipt of the last accepted attempt. */
  readonly receipt?: string;
}

/** A record without its content: what lists and waits read. */
export type JobHead = Omit<JobRecord, "document" | "signatures" | "ticket" | "result" | "receipt">;
