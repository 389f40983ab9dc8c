/**
 * Keeps the leases of all running attempts. A hold is *held* while renewals are answered; *lapsed* once a whole lease
 * has passed by this machine's monotonic clock since the last good renewal was sent (somebody else may have the job
 * now); *lost* when the source says so. Lapsed ones are still asked about: a lease is lost when it was reaped, not before.
 * The stand-in, where there is one, is told of every change, and what it did in this thread's place is taken over.
 */
import { setImmediate } from "node:timers/promises";

import { errorText } from "../errors.ts";
import type { Log } from "../log.ts";
import { Backoff } from "./backoff.ts";
import type { Deed, Word } from "./lease-watch.ts";
import type { JobSource, Lease, Renewed } from "./source.ts";
import { machineMs, type StandIn } from "./stand-in.ts";
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
  /** Has a whole lease passed by the clock since the last good renewal, whether or not a timer has said so? */
  readonly isOver: boolean;
  /** What the stand-in ended the process for, while this thread was busy. */
  readonly endedFor: "cancel" | "kill" | undefined;
  /** The process group that runs under this lease, which the stand-in may have to end; undefined once it is gone. */
  runs(group: number | undefined, killGraceMs: number): void;
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
  /** Where there is one, it renews while this thread is busy. Called at the start. */
  startStandIn?(onDeed: (deed: Deed) => void): StandIn | undefined;
}

export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #holds = new Map<number, KeptLease>();
  readonly #wake = new Wake();
  readonly #backoff: Backoff;
  #standIn: StandIn | undefined;
  #lastNumber = 0;
  #isStopping = false;
  #loop: Promise<void> | undefined;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.random);
  }

  start(): void {
    if (this.#loop !== undefined) return;
    this.#standIn = this.#options.startStandIn?.((deed) => this.#heard(deed));
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#wake.ring();
    await this.#loop;
    for (const hold of this.#holds.values()) hold.release();
    await this.#standIn?.stop();
  }

  /** Takes over a lease that was given or renewed at `sinceMs` (monotonic, before the call was sent) or later. */
  hold(lease: Lease, sinceMs: number): Hold {
    this.#lastNumber += 1;
    const number = this.#lastNumber;
    const hold = new KeptLease(number, lease, {
      ...this.#options,
      tell: (word) => this.#standIn?.tell(word),
      onRelease: () => this.#holds.delete(number),
    });
    hold.begin(sinceMs);
    this.#holds.set(number, hold);
    return hold;
  }

  /** A hint says this job is to be cancelled: asks the source at once, which alone decides. */
  hint(id: string): void {
    if ([...this.#holds.values()].some((hold) => hold.lease.id === id)) this.#wake.ring();
  }

  async #run(): Promise<void> {
    const intervalMs = this.#options.source.leaseMs / RENEWALS;
    let waitMs = intervalMs;
    for (;;) {
      await this.#wake.wait(waitMs);
      if (this.#isStopping) return;
      // Before and after: a source that hangs is no reason to stand in.
      this.#standIn?.tell({ kind: "alive" });
      const isDone = await this.#renewAll();
      this.#standIn?.tell({ kind: "alive" });
      if (isDone) this.#backoff.reset();
      waitMs = isDone ? intervalMs : Math.min(intervalMs, this.#backoff.next());
    }
  }

  async #renewAll(): Promise<boolean> {
    const holds = [...this.#holds.values()];
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

  /** What the stand-in did while this thread was busy, as if this thread had done it. */
  #heard(deed: Deed): void {
    if (deed.kind === "stood_in") {
      const { log } = this.#options;
      const { forMs, error } = deed;
      log.warn({ event: "loop_blocked", forMs, ...(error === undefined ? {} : { error }) }, "the event loop was busy");
      return;
    }
    if (deed.kind === "ended") {
      this.#holds.get(deed.hold)?.ended(deed.why);
      return;
    }
    const sentMs = this.#options.monotonic() - (machineMs() - deed.sentMs);
    for (const hold of deed.holds) this.#holds.get(hold)?.renewed(sentMs);
  }
}

interface KeptLeaseParts extends Pick<LeaseKeeperOptions, "source" | "monotonic"> {
  tell(word: Word): void;
  onRelease(): void;
}

/** One lease and its three signals. */
class KeptLease implements Hold {
  readonly lease: Lease;
  endedFor: "cancel" | "kill" | undefined;
  readonly #number: number;
  readonly #leaseMs: number;
  readonly #parts: KeptLeaseParts;
  readonly #lost = new AbortController();
  readonly #lapsed = new AbortController();
  readonly #cancelled = new AbortController();
  #deadlineMs = 0;
  #isReleased = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(number: number, lease: Lease, parts: KeptLeaseParts) {
    this.lease = lease;
    this.#number = number;
    this.#leaseMs = parts.source.leaseMs;
    this.#parts = parts;
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

  get isOver(): boolean {
    return this.#parts.monotonic() >= this.#deadlineMs;
  }

  begin(sinceMs: number): void {
    this.#extend(sinceMs);
    this.#parts.tell({ kind: "hold", hold: this.#number, lease: this.lease, deadlineMs: this.#machineDeadlineMs });
  }

  runs(group: number | undefined, killGraceMs: number): void {
    this.#parts.tell({ kind: "group", hold: this.#number, group, killGraceMs });
  }

  renewed(sentMs: number): void {
    this.#extend(sentMs);
    this.#parts.tell({ kind: "renewed", hold: this.#number, deadlineMs: this.#machineDeadlineMs });
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

  /** By the stand-in. */
  ended(why: "lost" | "lapsed" | "cancelled"): void {
    this.endedFor ??= why === "cancelled" ? "cancel" : "kill";
    if (why === "cancelled") this.#cancelled.abort();
    else if (why === "lost") this.lose();
    else this.#lapsed.abort();
  }

  lose(): void {
    this.release();
    this.#lost.abort();
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    clearTimeout(this.#timer);
    this.#parts.onRelease();
    this.#parts.tell({ kind: "release", hold: this.#number });
  }

  /** Good until a lease after the moment the renewal was sent: the source counts from later, never from earlier. */
  #extend(sentMs: number): void {
    const { monotonic } = this.#parts;
    this.#deadlineMs = Math.max(this.#deadlineMs, sentMs + this.#leaseMs);
    this.#timer ??= setTimeout(() => void this.#expire(), this.#deadlineMs - monotonic());
  }

  get #machineDeadlineMs(): number {
    return machineMs() + this.#deadlineMs - this.#parts.monotonic();
  }

  async #expire(): Promise<void> {
    // Thawed after a freeze, timers come first. What arrived meanwhile (an exit, an answer, what the stand-in did) is heard
    // before it is judged.
    await setImmediate();
    if (this.#isReleased) return;
    const leftMs = this.#deadlineMs - this.#parts.monotonic();
    if (leftMs > 0) this.#timer = setTimeout(() => void this.#expire(), leftMs);
    else this.#lapsed.abort();
  }
}
