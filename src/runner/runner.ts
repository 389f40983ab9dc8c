/**
 * The runner: *running* from start, claims while slots are free; *draining* takes nothing new and lets what runs end, or
 * gives it back; *stopped* holds nothing any more. Claims wake by hint, with a poll behind it.
 */
import { homedir, tmpdir } from "node:os";
import { performance } from "node:perf_hooks";

import type { Signer } from "../auth/signature.ts";
import { errorText } from "../errors.ts";
import type { Log } from "../log.ts";
import { Attempt, type AttemptEnd, type AttemptParts } from "./attempt.ts";
import { BoundedSource } from "./bounded-source.ts";
import { ClaimLoop } from "./claim-loop.ts";
import { Claimer } from "./claimer.ts";
import type { Executor } from "./executor.ts";
import { Heartbeat } from "./heartbeat.ts";
import type { HostEnvironment } from "./job-environment.ts";
import type { JobVerifier } from "./job-verifier.ts";
import { LeaseKeeper } from "./lease-keeper.ts";
import { DEFAULT_LIMITS, type RunnerLimits } from "./limits.ts";
import { PipePool } from "./output-pipes.ts";
import { attach, toHello } from "./registration.ts";
import { dismissGuard } from "./running-groups.ts";
import { clearScratch } from "./scratch.ts";
import type { SeenJobs } from "./seen-jobs.ts";
import type { ClaimedJob, JobSource, Lease, RunnerHello } from "./source.ts";
import { startStandIn } from "./stand-in.ts";
import { pause, withDeadline } from "./wake.ts";

export interface RunnerOptions {
  readonly name: string;
  readonly groups: readonly string[];
  /** Jobs at a time, 1..1024. */
  readonly slots: number;
  readonly version: string;
  readonly source: JobSource;
  /** The runner's own key: signs receipts. */
  readonly signer: Signer;
  /** Pinned identity of the supervisor, `ed25519:…`. */
  readonly supervisor: string;
  readonly executors: ReadonlyMap<string, Executor>;
  readonly verifyJob: JobVerifier;
  /** Closed by who opened it, after the stop. */
  readonly seen: SeenJobs;
  /** Those left out are {@link DEFAULT_LIMITS}. */
  readonly limits?: Partial<RunnerLimits>;
  readonly log: Log;
  /** UNIX ms. */
  readonly now: () => number;
  /** Milliseconds that only go forward; `performance.now` unless told. */
  readonly monotonic?: () => number;
  /** For jitter alone; `Math.random` unless told. */
  readonly random?: () => number;
  /** What may pass of the host's environment; a plain PATH, the user's home and C.UTF-8 where it says nothing. */
  readonly host?: HostEnvironment;
  /** Random mark of this process, by which two of one name are told apart; made here unless given. */
  readonly process?: string;
  /**
   * Where the directories of attempts are made: a directory of this runner's alone, since what an earlier process of it
   * left there is killed and removed at the start. The system's temporary directory, untouched, unless told.
   */
  readonly scratchDirectory?: string;
  /** What a person may want to see; never a payload, an environment or a result. */
  onEvent?(event: RunnerEvent): void;
}

export type RunnerEvent =
  | { readonly kind: "started"; readonly id: string; readonly attempt: number }
  | { readonly kind: "ended"; readonly id: string; readonly attempt: number; readonly end: AttemptEnd }
  | { readonly kind: "source_down"; readonly reason: string }
  | { readonly kind: "source_up" }
  | { readonly kind: "draining"; readonly reason: string }
  /** The registration is gone or the name was taken over: the runner drains by itself, and is to be stopped. */
  | { readonly kind: "removed"; readonly reason: string };

export interface Runner {
  /** Jobs in flight. */
  readonly running: number;
  /** Attaches and begins to claim. @throws RunnerError naming the fix when it is refused, or what the source throws. */
  start(): Promise<void>;
  /** Takes nothing new; running jobs may end for `graceMs`, then they are ended and given back. Resolves when none is left. */
  drain(reason: string): Promise<void>;
  /** Drains without grace and lets go of everything. Resolves within killGraceMs + settleMs and a little. */
  stop(): Promise<void>;
}

/** @throws RangeError naming the option and the fix. */
export function createRunner(options: RunnerOptions): Runner {
  if (!Number.isInteger(options.slots) || options.slots < 1 || options.slots > 1024) {
    throw new RangeError(`slots is ${options.slots}. Give a whole number from 1 to 1024.`);
  }
  if (options.executors.size === 0) {
    throw new RangeError('The runner has no executor. Give --exec "bash -s", or an [executor.NAME] in its settings.');
  }
  return new ClaimingRunner(options);
}

class ClaimingRunner implements Runner {
  readonly #options: RunnerOptions;
  readonly #parts: AttemptParts;
  readonly #hello: RunnerHello;
  readonly #keeper: LeaseKeeper;
  readonly #heartbeat: Heartbeat;
  readonly #claims: ClaimLoop;
  readonly #attempts = new Map<Attempt, Promise<void>>();
  /** Aborts when nothing new is to be taken. */
  readonly #draining = new AbortController();
  /** Aborts when running jobs get no more time. */
  readonly #hurried = new AbortController();
  #stopHints: (() => void) | undefined;
  #isAttached = false;
  #drained: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;

  constructor(options: RunnerOptions) {
    const { log } = options;
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    const source = new BoundedSource(options.source, limits.callMs);
    const monotonic = options.monotonic ?? (() => performance.now());
    const random = options.random ?? Math.random;
    const scratchParent = options.scratchDirectory ?? tmpdir();
    this.#options = { ...options, source };
    this.#parts = {
      ...options,
      source,
      limits,
      host: { HOME: homedir(), ...options.host },
      scratchParent,
      pipes: new PipePool(scratchParent, log),
      monotonic,
      random,
    };
    this.#hello = toHello(options);
    this.#keeper = new LeaseKeeper({
      source,
      log,
      monotonic,
      random,
      startStandIn: (onDeed) => {
        const { renewer, leaseMs } = options.source;
        return renewer === undefined ? undefined : startStandIn({ leaseMs, renewer, log, onDeed });
      },
    });
    this.#heartbeat = new Heartbeat({
      source,
      log,
      state: () => ({ running: this.running, isDraining: this.#draining.signal.aborted }),
      onRemoved: async () => this.#reattach(),
    });
    this.#claims = new ClaimLoop({
      claimer: new Claimer({ source, monotonic }),
      pollMs: limits.pollMs,
      random,
      free: () => options.slots - this.running,
      begin: (job, sinceMs) => this.#begin(job, sinceMs),
      onSourceDown: (reason) => this.#sourceChanged({ kind: "source_down", reason }),
      onSourceUp: () => this.#sourceChanged({ kind: "source_up" }),
    });
  }

  get running(): number {
    return this.#attempts.size;
  }

  async start(): Promise<void> {
    const { source, scratchDirectory, seen, log } = this.#options;
    await attach(source, this.#hello);
    this.#isAttached = true;
    await seen.reload();
    if (scratchDirectory !== undefined) await clearScratch(scratchDirectory, log);
    this.#stopHints = source.onHint((hint) => {
      if (hint.kind === "cancel") this.#keeper.hint(hint.id);
      else this.#claims.wake();
    });
    this.#keeper.start();
    this.#heartbeat.start();
    this.#claims.start();
  }

  async drain(reason: string): Promise<void> {
    this.#drained ??= this.#drain(reason);
    await this.#drained;
  }

  async stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    await this.#stopped;
  }

  #begin(claimed: ClaimedJob, sinceMs: number): void {
    const { id } = claimed.lease;
    const earlier = [...this.#attempts].filter(([attempt]) => attempt.id === id).map(([, seen]) => seen);
    const attempt = new Attempt(claimed, this.#keeper.hold(claimed.lease, sinceMs), this.#parts, Promise.all(earlier));
    // Whoever gave this one out has taken the lease from the others: asking the source ends them.
    if (earlier.length > 0) this.#keeper.hint(id);
    // Claimed while the drain began: it runs to its first look at that, and is given back.
    if (this.#draining.signal.aborted) attempt.drain();
    this.#emit({ kind: "started", id: claimed.lease.id, attempt: claimed.lease.attempt });
    this.#attempts.set(attempt, this.#see(attempt, claimed.lease));
  }

  async #see(attempt: Attempt, lease: Lease): Promise<void> {
    const end = await attempt.run();
    this.#attempts.delete(attempt);
    this.#claims.freed(end.kind === "unfit");
    this.#emit({ kind: "ended", id: lease.id, attempt: lease.attempt, end });
  }

  #sourceChanged(event: Extract<RunnerEvent, { kind: "source_up" | "source_down" }>): void {
    const { log } = this.#options;
    if (event.kind === "source_up") log.info({ event: "source_up" }, "the source of jobs answers again");
    else log.warn({ event: "source_down", error: event.reason }, "the source of jobs does not answer; trying on");
    this.#emit(event);
  }

  /** The store forgot this process (an outage longer than its memory) or somebody else has the name: attaching tells which. */
  async #reattach(): Promise<void> {
    if (this.#draining.signal.aborted) return;
    try {
      await attach(this.#options.source, this.#hello);
    } catch (error) {
      const reason = errorText(error);
      this.#options.log.error({ event: "removed", reason }, "the runner lost its name and drains");
      this.#emit({ kind: "removed", reason });
      void this.drain(reason);
    }
  }

  async #drain(reason: string): Promise<void> {
    const { graceMs, killGraceMs, settleMs } = this.#parts.limits;
    // One that was refused took nothing.
    if (this.#isAttached) this.#sayDraining(reason);
    this.#draining.abort();
    this.#heartbeat.beat();
    await this.#claims.stop();
    await Promise.all([this.#claims.closeClaim(settleMs), this.#idle(graceMs, this.#hurried.signal)]);
    for (const attempt of this.#attempts.keys()) attempt.drain();
    await this.#idle(killGraceMs + settleMs);
    for (const attempt of this.#attempts.keys()) attempt.abandon();
    await Promise.all(this.#attempts.values());
  }

  #sayDraining(reason: string): void {
    const deadlineMs = this.#hurried.signal.aborted ? 0 : this.#parts.limits.graceMs;
    this.#options.log.info(
      { event: "runner_draining", running: this.running, deadline_ms: deadlineMs, reason },
      "draining: takes nothing new; what runs at the deadline is ended and given back",
    );
    this.#emit({ kind: "draining", reason });
  }

  /** Resolves when nothing runs, after `ms`, or when the signal aborts. */
  async #idle(ms: number, signal?: AbortSignal): Promise<void> {
    const over = new AbortController();
    const either = signal === undefined ? over.signal : AbortSignal.any([over.signal, signal]);
    await Promise.race([Promise.all(this.#attempts.values()), pause(ms, either)]);
    over.abort();
  }

  async #stop(): Promise<void> {
    const { source, log } = this.#options;
    this.#hurried.abort();
    await this.drain("stop");
    await this.#heartbeat.stop();
    await this.#keeper.stop();
    this.#stopHints?.();
    this.#parts.pipes.close();
    dismissGuard();
    if (!this.#isAttached) return;
    try {
      await withDeadline(source.detach(), this.#parts.limits.settleMs, "detach");
    } catch (error) {
      log.warn({ event: "detach_failed", error: errorText(error) }, "left without saying so; it shows as offline soon");
    }
  }

  /** A listener that throws must not take a slot with it. */
  #emit(event: RunnerEvent): void {
    try {
      this.#options.onEvent?.(event);
    } catch (error) {
      this.#options.log.error({ event: "listener_broke", error }, "a listener to the runner's events threw");
    }
  }
}
