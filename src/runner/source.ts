/**
 * Where a runner's jobs come from: the only thing the runner library knows of the world. Redis implements it in
 * `src/store`; a source over RPC can stand beside it.
 */
import type { LogEntry, SignedReceipt } from "../rpc/schema.ts";

/** What a runner says of itself when it attaches. */
export interface RunnerHello {
  readonly name: string;
  readonly key: string;
  readonly groups: readonly string[];
  readonly slots: number;
  readonly version: string;
  /** Random, one for each process: two live processes of one name are told apart by it. */
  readonly process: string;
}

export type Attached =
  | { readonly outcome: "attached" }
  | { readonly outcome: "not_registered" }
  /** Registered with another key, or other groups than asked for. */
  | { readonly outcome: "mismatch"; readonly reason: string }
  /** A live process holds the name; its last heartbeat, ms ago. */
  | { readonly outcome: "taken"; readonly heartbeatAgeMs: number };

/** The right to run one attempt; every write carries it and is refused once it is stale. */
export interface Lease {
  readonly id: string;
  readonly attempt: number;
  readonly token: string;
}

/** A claimed job as it stands in the store: nothing in it is trusted before the runner has verified it. */
export interface ClaimedJob {
  readonly lease: Lease;
  readonly document: string;
  readonly signatures: string;
  readonly ticket: string;
  readonly queue: string;
  readonly isCancelling: boolean;
}

export type Renewed = { readonly outcome: "renewed"; readonly isCancelling: boolean } | { readonly outcome: "lost" };

export interface Finish {
  readonly status: "completed" | "failed" | "timeout" | "cancelled";
  readonly code: number;
  readonly reason?: string;
  /** False: never retried, whatever max_attempts says (unknown executor, refused job, result too large). */
  readonly isRetryable: boolean;
  /** JSON text of a JobResult; absent where empty. */
  readonly result?: string;
  /** Absent only where the stored job was too broken to sign anything about. */
  readonly receipt?: SignedReceipt;
}

export type Finished =
  /** The state the job is in now: terminal, or pending again for a retry. */
  { readonly outcome: "accepted"; readonly state: string } | { readonly outcome: "lost" };

/** Appended: stored, now or before. Full: the store's cap is reached, nothing of this batch was stored. */
export type Appended = "appended" | "lost" | "full";

/** Prolongs leases for a runner from another thread of its process. */
export interface Renewer {
  /** As {@link JobSource.renew}; connects when it must. */
  renew(leases: readonly Lease[]): Promise<readonly Renewed[]>;
  /** Lets go of what `renew` opened; another `renew` opens it again. */
  stop(): Promise<void>;
}

/** How another thread comes by a renewer: the module it runs, which calls `serveStandIn`, and what is copied to it. */
export interface RenewerRecipe {
  readonly module: URL;
  readonly options: unknown;
}

export interface JobSource {
  /** Milliseconds a lease lasts without renewal; renew at a third of it. */
  readonly leaseMs: number;
  /** For the runner's stand-in; without it a busy event loop may lose its leases. Known from the start on. */
  readonly renewer?: RenewerRecipe;
  attach(hello: RunnerHello): Promise<Attached>;
  /** Evidence of life, several times a lease. `removed`: the registration is gone, or the name was taken over. */
  heartbeat(beat: { running: number; isDraining: boolean }): Promise<"ok" | "removed">;
  /** Takes up to `count` jobs. The same token again gives the same jobs, so a lost answer can be asked for again. */
  claim(count: number, token: string): Promise<readonly ClaimedJob[]>;
  /** In the order of the leases; an entry is missing where a part of the store did not answer. */
  renew(leases: readonly Lease[]): Promise<readonly Renewed[]>;
  /** Appends entries whose `seq` follow one another; those already stored are skipped. */
  append(lease: Lease, entries: readonly LogEntry[]): Promise<Appended>;
  finish(lease: Lease, finish: Finish): Promise<Finished>;
  /** Gives an unstarted or drained job back, counted neither as lost nor as failed. */
  release(lease: Lease): Promise<"released" | "lost">;
  /** Wakes the claim loop when something was queued or a running job is to be cancelled; hints may be lost. */
  onHint(
    callback: (hint: { readonly kind: "queue" } | { readonly kind: "cancel"; readonly id: string }) => void,
  ): () => void;
  detach(): Promise<void>;
}
