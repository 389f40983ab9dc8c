/**
 * Keeps the leases of all running attempts. A hold is *held* while renewals are answered; *lapsed* once a whole lease
 * has passed by this machine's monotonic clock since the last good renewal was sent (somebody else may have the job
 * now); *lost* when the source says so. Lapsed ones are still asked about: a lease is lost when it was reaped, not before.
 */
import { setImmediate } from "node:timers/promises";

import { errorText } from "../errors.ts";
import type { Log } from "../log.ts";
import { Backoff } from "./backoff.ts";
import type { JobSource, Lease, Renewed } from "./source.ts";
import { Wake } from "./wake.ts";

/** Renewals come this often in a lease, so that two may fail. */
const RENEWALS = 3;
/** Leases in one call: a script touches at most 100 items (spec: jobs-and-redis, rule 2). */
const BATCH = 100;

/** What an attempt sees of its lease. */
export interface Hold {
  readonly lease: Lease;
  /** Aborts when the source said that the lease is gone: nothing may be written any more. */
  readonly lost: AbortSignal;
  /** Aborts when no renewal was answered for a whole lease: the process must not go on. */
  readonly lapsed: AbortSignal;
  /** Aborts when the job is to be cancelled. */
  readonly cancelled: AbortSignal;
  /** Another call was told that the lease is gone. */
  lose(): void;
  /** Ends the hold: it is renewed no longer. */
  release(): void;
}

export interface LeaseKeeperOptions {
  /** Answers or fails within a third of a lease. */
  readonly source: Pick<JobSource, "leaseMs" | "renew">;
  readonly log: Log;
  /** Milliseconds that only go forward. */
  readonly monotonic: () => number;
  readonly random: () => number;
}

export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #holds = new Set<KeptLease>();
  readonly #wake = new Wake();
  readonly #backoff: Backoff;
  #isStopping = false;
  #loop: Promise<void> | undefined;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.random);
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#wake.ring();
    await this.#loop;
    for (const hold of this.#holds) hold.release();
  }

  /** Takes over a lease that was given or renewed at `sinceMs` (monotonic, before the call was sent) or later. */
  hold(lease: Lease, sinceMs: number): Hold {
    const hold = new KeptLease(lease, this.#options, () => this.#holds.delete(hold));
    hold.renewed(sinceMs);
    this.#holds.add(hold);
    return hold;
  }

  /** A hint says this job is to be cancelled: asks the source at once, which alone decides. */
  hint(id: string): void {
    if ([...this.#holds].some((hold) => hold.lease.id === id)) this.#wake.ring();
  }

  async #run(): Promise<void> {
    const intervalMs = this.#options.source.leaseMs / RENEWALS;
    let waitMs = intervalMs;
    for (;;) {
      await this.#wake.wait(waitMs);
      if (this.#isStopping) return;
      const isDone = await this.#renewAll();
      if (isDone) this.#backoff.reset();
      waitMs = isDone ? intervalMs : Math.min(intervalMs, this.#backoff.next());
    }
  }

  async #renewAll(): Promise<boolean> {
    const holds = [...this.#holds];
    // All at once: a source that hangs costs one deadline, however many leases there are.
    const batches = Array.from({ length: Math.ceil(holds.length / BATCH) }, (_, index) => index * BATCH);
    const isDone = await Promise.all(batches.map(async (at) => this.#renew(holds.slice(at, at + BATCH))));
    return isDone.every(Boolean);
  }

  async #renew(holds: readonly KeptLease[]): Promise<boolean> {
    const { source, monotonic, log } = this.#options;
    const sentMs = monotonic();
    try {
      const leases = holds.map((hold) => hold.lease);
      const answers = await source.renew(leases);
      for (const [index, hold] of holds.entries()) hold.answered(answers[index], sentMs);
      return true;
    } catch (error) {
      log.warn({ event: "renew_failed", leases: holds.length, error: errorText(error) }, "leases could not be renewed");
      return false;
    }
  }
}

/** One lease and its three signals. */
class KeptLease implements Hold {
  readonly lease: Lease;
  readonly #leaseMs: number;
  readonly #monotonic: () => number;
  readonly #onRelease: () => void;
  readonly #lost = new AbortController();
  readonly #lapsed = new AbortController();
  readonly #cancelled = new AbortController();
  #deadlineMs = 0;
  #isReleased = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(lease: Lease, { source, monotonic }: LeaseKeeperOptions, onRelease: () => void) {
    this.lease = lease;
    this.#leaseMs = source.leaseMs;
    this.#monotonic = monotonic;
    this.#onRelease = onRelease;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  get lapsed(): AbortSignal {
    return this.#lapsed.signal;
  }

  get cancelled(): AbortSignal {
    return this.#cancelled.signal;
  }

  /** Good until a lease after the moment the renewal was sent: the source counts from later, never from earlier. */
  renewed(sentMs: number): void {
    this.#deadlineMs = sentMs + this.#leaseMs;
    this.#timer ??= setTimeout(() => void this.#expire(), this.#deadlineMs - this.#monotonic());
  }

  /** No answer for this one stands for a failed renewal: its deadline stays. */
  answered(answer: Renewed | undefined, sentMs: number): void {
    if (answer === undefined || this.#isReleased) return;
    if (answer.outcome === "lost") {
      this.lose();
      return;
    }
    this.renewed(sentMs);
    if (answer.isCancelling) this.#cancelled.abort();
  }

  lose(): void {
    this.release();
    this.#lost.abort();
  }

  release(): void {
    this.#isReleased = true;
    clearTimeout(this.#timer);
    this.#onRelease();
  }

  async #expire(): Promise<void> {
    // Thawed after a freeze, timers come first. What arrived meanwhile (an exit, an answer) is heard before it is judged.
    await setImmediate();
    if (this.#isReleased) return;
    const leftMs = this.#deadlineMs - this.#monotonic();
    if (leftMs > 0) this.#timer = setTimeout(() => void this.#expire(), leftMs);
    else this.#lapsed.abort();
  }
}
