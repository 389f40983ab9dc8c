/**
 * The log of one attempt on its way to the source: one batch at a time, repeated until it is answered, chained once it
 * is stored. A slow source first holds the job's output back, then lines are dropped; the job itself never fails by it.
 */
import { LogChain } from "../auth/log-chain.ts";
import { errorText, wasRefused } from "../errors.ts";
import type { Log } from "../log.ts";
import type { LogStream } from "../rpc/schema.ts";
import { Backoff } from "./backoff.ts";
import type { Hold } from "./lease-keeper.ts";
import type { RunnerLimits } from "./limits.ts";
import { type LogBatch, LogQueue } from "./log-queue.ts";
import type { JobSource } from "./source.ts";
import { Pulse, Wake } from "./wake.ts";

/** How long a line waits for company. */
const BATCH_MS = 50;

export interface LogWriterOptions {
  readonly hold: Pick<Hold, "lease" | "lost" | "lose">;
  readonly source: Pick<JobSource, "append">;
  readonly limits: Pick<RunnerLimits, "maxLogBytes" | "logBufferBytes" | "logStallMs">;
  readonly log: Log;
  readonly now: () => number;
  readonly random: () => number;
}

export class LogWriter {
  readonly #options: LogWriterOptions;
  readonly #chain = new LogChain();
  readonly #queue: LogQueue;
  readonly #backoff: Backoff;
  /** Rung when there is something to send, or reason to send it now. */
  readonly #work = new Wake();
  /** Beats with every batch that is done with. */
  readonly #progress = new Pulse();
  /** Sent, perhaps more than once, and not yet answered. */
  #batch: LogBatch | undefined;
  /** Whether some of it may be stored, now or later: an append was sent, and nobody said what came of it. */
  #isUnknown = false;
  /** `collecting` lines while the job runs; `flushing` without delay; `quiet`: nothing is sent. */
  #mode: "collecting" | "flushing" | "quiet" | "ended" = "collecting";
  /** Whether the job is held back for a slow source; not once that brought nothing, until the source moves again. */
  #mayStall = true;
  #isCutOff = false;

  constructor(options: LogWriterOptions) {
    const { hold, limits, now, random } = options;
    this.#options = options;
    this.#queue = new LogQueue({
      attempt: hold.lease.attempt,
      maxLogBytes: limits.maxLogBytes,
      maxQueuedBytes: limits.logBufferBytes,
      now,
    });
    this.#backoff = new Backoff(random);
    void this.#run();
    hold.lost.addEventListener("abort", () => this.end(), { once: true });
  }

  /** Head and count of the chain over the entries the source has stored. */
  get stored(): { readonly head: string; readonly count: number } {
    return { head: this.#chain.head, count: this.#chain.count };
  }

  /** Entries that wait, or were sent without an answer. */
  get unstored(): number {
    return this.#mode === "ended" ? 0 : (this.#batch?.entries.length ?? 0) + this.#queue.length;
  }

  /** Nobody knows whether {@link stored} is all that is stored, or will be. */
  get isUnknown(): boolean {
    return this.#mode !== "ended" && this.#isUnknown;
  }

  /** Takes one line without its end. */
  write(stream: LogStream, bytes: Uint8Array): void {
    if (this.#mode === "ended") return;
    const wasRipe = this.#queue.isRipe;
    this.#queue.push(stream, bytes);
    if (this.#queue.length === 1 || this.#queue.isRipe !== wasRipe) this.#work.ring();
  }

  /** A line of the runner's own. */
  note(text: string): void {
    this.write("system", Buffer.from(text));
  }

  /** Is it time to wait for {@link room}? */
  get isCrowded(): boolean {
    return this.#queue.isCrowded;
  }

  /** Resolves when there is room for more. A source that makes no progress is waited for once, then lines are dropped. */
  async room(): Promise<void> {
    while (this.#mayStall && !this.#isCutOff && this.#mode !== "ended" && this.#queue.isCrowded) {
      this.#mayStall = await this.#progress.next(this.#options.limits.logStallMs);
    }
  }

  /** No more output comes: what is being written now is taken or dropped without waiting. */
  stopStalling(): void {
    this.#isCutOff = true;
    this.#progress.beat();
  }

  /**
   * No line follows: waits until all is stored, `boundMs` at most, and sends nothing afterwards until it is called again,
   * so that a receipt can say what is stored. False: something is not, or nobody knows.
   */
  async flush(boundMs: number): Promise<boolean> {
    if (this.#mode === "ended") return true;
    this.#queue.end();
    this.#mode = "flushing";
    this.#work.ring();
    const bound = new AbortController();
    const timer = setTimeout(() => bound.abort(), boundMs);
    while (!bound.signal.aborted && !this.#isDone()) await this.#progress.next(boundMs);
    clearTimeout(timer);
    if (!this.#isDone()) this.#mode = "quiet";
    return this.#isDone();
  }

  /** Drops what is not stored; what is under way is not repeated. */
  end(): void {
    this.#mode = "ended";
    this.#work.ring();
    this.#progress.beat();
  }

  #isDone(): boolean {
    return this.#mode === "ended" || (this.#batch === undefined && this.#queue.length === 0);
  }

  async #run(): Promise<void> {
    for (;;) {
      if (this.#isIdle()) await this.#work.wait();
      if (this.#mode === "collecting" && this.#batch === undefined && !this.#queue.isRipe) {
        await this.#work.wait(BATCH_MS);
      }
      if (this.#mode === "ended") return;
      if (this.#mode !== "quiet") await this.#send();
    }
  }

  #isIdle(): boolean {
    if (this.#mode === "ended") return false;
    return this.#mode === "quiet" || (this.#batch === undefined && this.#queue.length === 0);
  }

  async #send(): Promise<void> {
    const { source, hold, log } = this.#options;
    this.#batch ??= this.#queue.take(this.#chain.count + 1);
    if (this.#batch.entries.length === 0) {
      this.#batch = undefined;
      return;
    }
    const wasUnknown = this.#isUnknown;
    this.#isUnknown = true;
    try {
      const outcome = await source.append(hold.lease, this.#batch.entries);
      this.#isUnknown = false;
      this.#answered(outcome, this.#batch);
    } catch (error) {
      // A refusal of this call says nothing of one before it.
      this.#isUnknown = wasUnknown || !wasRefused(error);
      // Nobody knows whether it was stored: the same entries again, never others under their numbers.
      log.debug({ event: "append_failed", jobId: hold.lease.id, error: errorText(error) }, "log not stored yet");
      await this.#work.wait(this.#backoff.next());
    }
  }

  #answered(outcome: "appended" | "lost" | "full", batch: LogBatch): void {
    this.#backoff.reset();
    this.#batch = undefined;
    if (outcome === "appended") {
      for (const text of batch.texts) this.#chain.append(text);
      this.#mayStall = true;
    } else if (outcome === "lost") {
      this.#options.hold.lose();
    } else if (!this.#queue.refuse(batch)) {
      this.end();
    }
    this.#progress.beat();
  }
}
