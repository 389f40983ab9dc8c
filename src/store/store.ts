/**
 * What the inside needs of a store: interfaces alone. A Redis implementation stands beside this file; another one joins
 * by passing the same contract suite. Every method throws `SupervisorError("unavailable", {data: {applied}})` when the
 * store can not be reached or refuses, and says whether the request was applied.
 */
import type { JobCount } from "../jobs/end-reasons.ts";
import type { JobHead, JobRecord } from "../jobs/job.ts";
import type { JobState, LogEntry, SignedRunner } from "../rpc/schema.ts";

/** Everything admission has worked out about a verified job; one script stores it whole or not at all. */
export interface Admission {
  readonly id: string;
  readonly document: string;
  readonly signatures: string;
  readonly ticket: string;
  readonly digest: string;
  readonly principal: string;
  readonly callerId: string;
  /** Keys that signed; the script refuses when one of them is revoked. */
  readonly signers: readonly string[];
  readonly queue: string;
  readonly contextId?: string;
  readonly priority: number;
  readonly createdAt: number;
  readonly expiresAt: number;
  readonly notBefore?: number;
  readonly maxAttempts: number;
  readonly onLoss: "retry" | "fail";
  readonly timeoutSeconds: number;
  /** Callers of this queue are served in turn. */
  readonly isFair: boolean;
  readonly limits: {
    readonly maxQueueJobs: number;
    readonly maxQueueBytes: number;
    /** Waiting, in all queues. */
    readonly maxPrincipalJobs: number;
    readonly maxPrincipalBytes: number;
    /** Longest `expires_at - created_at`, seconds. */
    readonly maxLifetimeSeconds: number;
  };
}

export type Admitted =
  | { readonly outcome: "new"; readonly state: JobState }
  | { readonly outcome: "duplicate"; readonly state: JobState | "deleted" }
  | { readonly outcome: "conflict" | "revoked" | "unknown_runner" }
  /** Outside created_at/expires_at by Redis' clock; its now in UNIX seconds. */
  | { readonly outcome: "stale"; readonly now: number }
  | {
      readonly outcome: "queue_full";
      readonly limit: "max_queue_jobs" | "max_queue_bytes" | "max_principal_jobs" | "max_principal_bytes";
      /** What is allowed and what is there now; on a Cluster of a shard. */
      readonly allowed: number;
      readonly present: number;
    };

/** Where a page ended: admission time and id of the last job scanned. */
export interface JobPosition {
  readonly admittedMs: number;
  readonly id: string;
}

export interface JobQuery {
  /** Absent: everybody's. */
  readonly principal?: string;
  readonly state?: JobState;
  readonly queue?: string;
  readonly contextId?: string;
  readonly fromMs?: number;
  /** Exclusive. */
  readonly untilMs?: number;
  readonly before?: JobPosition;
  readonly limit: number;
}

export interface JobPage {
  readonly jobs: readonly JobHead[];
  /** Absent when the index is exhausted. */
  readonly next?: JobPosition;
}

export interface LogPage {
  readonly entries: readonly LogEntry[];
  /** Position after the last entry. */
  readonly next: number;
}

export type Cancelled =
  | { readonly outcome: "cancelled" | "cancelling" }
  | { readonly outcome: "missing" }
  | { readonly outcome: "wrong_state"; readonly state: JobState };

export type Deleted =
  | { readonly outcome: "deleted" | "missing" }
  | { readonly outcome: "wrong_state"; readonly state: JobState };

/** Who may act on a job: its owner's principal, or absent for everybody (admin). A foreign job answers `missing`. */
export interface Actor {
  readonly principal?: string;
}

export interface JobStore {
  admit(job: Admission): Promise<Admitted>;
  get(id: string): Promise<JobRecord | undefined>;
  head(id: string): Promise<JobHead | undefined>;
  list(query: JobQuery): Promise<JobPage>;
  /** How many jobs stand in each state, ended ones by reason and until their retention is over; each row, even of none. */
  count(): Promise<readonly JobCount[]>;
  /** Entries from a position (0-based over all attempts); empty for a missing job. */
  logs(id: string, from: number, limit: number): Promise<LogPage>;
  /** `reason` is shown; cancelling twice answers the same. */
  cancel(id: string, actor: Actor, reason: string): Promise<Cancelled>;
  /** Deleting twice answers `deleted` to the owner while the tombstone lives. */
  delete(id: string, actor: Actor): Promise<Deleted>;
  /** Calls back with a hint that something of this job changed (state or log). Hints may be lost: poll behind them. */
  onChange(id: string, callback: () => void): () => void;
}

/** What a maintenance tick did, for logs and metrics. */
export interface Maintained {
  readonly reaped: number;
  readonly expired: number;
  readonly retired: number;
}

export interface RetentionLimits {
  /** Terminal jobs are deleted this long after they finished, seconds. */
  readonly maxAgeSeconds: number;
  /** Most terminal jobs kept for each terminal state; on a Cluster a shard keeps its share. */
  readonly maxJobs: number;
  /** Most bytes of terminal jobs kept for each terminal state, as `maxJobs`; the newest job stays whatever its size. */
  readonly maxBytes: number;
}

export interface MaintenanceStore {
  /** Lost leases back to their queues or ended, pending jobs past `expires_at` ended; at most 100 items a script. */
  maintain(retention: RetentionLimits): Promise<Maintained>;
}

/** A runner's last evidence. Times are UNIX ms by Redis' clock. */
export interface RunnerRecord {
  readonly registration: SignedRunner;
  /** JSON text of the signed call that registered it, for offline checks. */
  readonly enrolledBy: string;
  readonly registeredMs: number;
  readonly nowMs: number;
  readonly version?: string;
  readonly heartbeatMs?: number;
  readonly claimedMs?: number;
  readonly finishedMs?: number;
  readonly running: number;
  readonly isDraining: boolean;
  readonly isDetached: boolean;
  readonly waiting: number;
  readonly oldestWaitingMs?: number;
}

export type Registered =
  | { readonly outcome: "new" | "same" | "replaced" }
  /** The name is taken by a group, or a group name by a runner, or the name by another key. */
  | { readonly outcome: "conflict" | "revoked" }
  /** Outside iat/exp by Redis' clock; its now in UNIX seconds. */
  | { readonly outcome: "stale"; readonly now: number };

export type Removed =
  | { readonly outcome: "removed"; readonly cancelled: number }
  | { readonly outcome: "missing" }
  | { readonly outcome: "has_jobs"; readonly waiting: number };

export interface RunnerStore {
  register(registration: SignedRunner, enrolledBy: string): Promise<Registered>;
  list(): Promise<readonly RunnerRecord[]>;
  /** Who is registered, and nothing of what they do. */
  registrations(): Promise<readonly SignedRunner[]>;
  registration(name: string): Promise<SignedRunner | undefined>;
  get(name: string): Promise<RunnerRecord | undefined>;
  remove(name: string, force: boolean): Promise<Removed>;
  /** Is a live runner there for this runner or group name? */
  isServed(name: string): Promise<boolean>;
}

export type NonceOutcome =
  | { readonly outcome: "fresh" | "replay" | "revoked" }
  | { readonly outcome: "stale"; readonly now: number };

export interface ReplayStore {
  /** Judges the window by Redis' clock (iat ≤ now+30, now ≤ exp+30) and sets key and nonce in one script. */
  claimNonce(call: { key: string; nonce: string; iat: number; exp: number }): Promise<NonceOutcome>;
}

export interface RevocationStore {
  /** Copies revoked keys to every shard; returns once calls and admissions by them are refused everywhere. */
  revoke(keys: readonly string[]): Promise<void>;
  /** Cancels pending jobs signed by the key (`revoked`), running ones too when asked. */
  cancelJobsOf(key: string, withRunning: boolean): Promise<number>;
  /** Those of the keys that signed a job which waits or runs. */
  findWithJobs(keys: readonly string[]): Promise<readonly string[]>;
  /** Has any supervisor on this store revoked the key? For calls that use up no nonce. */
  isRevoked(key: string): Promise<boolean>;
}

/** Compares the keyrings of the supervisors that share the data. */
export interface KeyringStore {
  /** Says which keyring (a digest) a supervisor goes by; gives those that others said within `keepMs`, each once. */
  compare(claim: { supervisor: string; digest: string; keepMs: number }): Promise<readonly string[]>;
  /** A supervisor that stops has nothing to say any more. */
  withdraw(supervisor: string): Promise<void>;
  /** Those of the keys that were revoked once, whatever a file says of them now. */
  findRevoked(keys: readonly string[]): Promise<readonly string[]>;
  /** The keys that were enrolled, revoked ones among them, when the supervisors last agreed; none before they did. */
  readEnrolled(): Promise<readonly string[]>;
  writeEnrolled(keys: readonly string[]): Promise<void>;
}

/** What the store is, for health, `get_info` and `doctor`. */
export interface StoreHealth {
  readonly isUp: boolean;
  /** The durability class as stated and verified: memory, everysec, always, replicated(n). */
  readonly durability: string;
  /** Each with its fix. */
  readonly warnings: readonly string[];
  readonly problems: readonly string[];
}

export interface Store {
  readonly jobs: JobStore;
  readonly maintenance: MaintenanceStore;
  readonly runners: RunnerStore;
  readonly replay: ReplayStore;
  readonly revocations: RevocationStore;
  readonly keyrings: KeyringStore;
  /**
   * Connects, checks version and settings, and claims the data for this identity.
   * @throws SupervisorError naming the fix: wrong identity, other shard count, evicting policy, too old a version.
   */
  start(identity: string): Promise<void>;
  stop(): Promise<void>;
  health(): StoreHealth;
}
