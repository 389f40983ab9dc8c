/**
 * One attempt from claim to finish: verify → seen before? → execute → store the log → finish with a receipt. It ends
 * *finished* (the outcome was accepted), *lost* (the lease was another's, or nobody answered), or *released* (given
 * back, to be run again).
 */
import { LogChain } from "../auth/log-chain.ts";
import type { Signer } from "../auth/signature.ts";
import { errorText, wasRefused } from "../errors.ts";
import { type Log, withMembers } from "../log.ts";
import type { JobDocument, SignedReceipt } from "../rpc/schema.ts";
import { Backoff } from "./backoff.ts";
import { CANCELLED, execute, type Outcome, unstarted } from "./execution.ts";
import { type Executor, pickExecutor } from "./executor.ts";
import type { HostEnvironment } from "./job-environment.ts";
import type { JobVerifier, ReadJob } from "./job-verifier.ts";
import type { Hold } from "./lease-keeper.ts";
import type { RunnerLimits } from "./limits.ts";
import { LogWriter } from "./log-writer.ts";
import type { PipePool } from "./output-pipes.ts";
import { signReceipt } from "./receipt.ts";
import { toJobResult } from "./result-file.ts";
import type { SeenJobs } from "./seen-jobs.ts";
import type { ClaimedJob, Finish, Finished, JobSource } from "./source.ts";
import { pause } from "./wake.ts";

/** What all attempts of a runner share. */
export interface AttemptParts {
  readonly source: Pick<JobSource, "leaseMs" | "append" | "finish" | "release">;
  readonly signer: Signer;
  /** Pinned identity of the supervisor. */
  readonly supervisor: string;
  readonly verifyJob: JobVerifier;
  readonly seen: Pick<SeenJobs, "recall" | "started" | "accepted">;
  readonly executors: ReadonlyMap<string, Executor>;
  readonly pipes: PipePool;
  readonly host: HostEnvironment;
  /** Where the directories of attempts are made. */
  readonly scratchParent: string;
  readonly limits: RunnerLimits;
  readonly log: Log;
  readonly now: () => number;
  readonly monotonic: () => number;
  readonly random: () => number;
}

export type AttemptEnd =
  | { readonly kind: "finished"; readonly status: Finish["status"]; readonly state: string; readonly reason?: string }
  | { readonly kind: "lost" | "released" }
  /** A fault of the runner's own kept it from running the job, which was given back, or from handing in what came of it. */
  | { readonly kind: "unfit"; readonly reason: string };

/** An outcome and what the receipt says beside it; without `read` none is signed. */
interface Report {
  readonly outcome: Outcome;
  readonly read: ReadJob | undefined;
  readonly finishedMs: number;
}

/** So often a log of which nobody knows how much is stored is waited for: a log never keeps a job from ending. */
const UNKNOWN_ROUNDS = 12;

export class Attempt {
  readonly #claimed: ClaimedJob;
  readonly #hold: Hold;
  readonly #parts: AttemptParts;
  readonly #earlier: Promise<unknown>;
  readonly #drained = new AbortController();
  readonly #abandoned = new AbortController();
  readonly #startedMs: number;
  readonly #startedAt: number;
  #logs: LogWriter | undefined;
  /** A process of it was started: its effects may be there. */
  #hasBegun = false;
  /** Its lines carry the job's trace context as soon as it is known, so that whoever traces the job finds them. */
  #log: Log;

  /** `earlier`: attempts of the same job that have not ended in this process; this one begins after them. */
  constructor(claimed: ClaimedJob, hold: Hold, parts: AttemptParts, earlier: Promise<unknown>) {
    this.#claimed = claimed;
    this.#earlier = earlier;
    this.#hold = hold;
    this.#parts = parts;
    this.#log = parts.log;
    this.#startedMs = Math.floor(parts.now());
    this.#startedAt = parts.monotonic();
  }

  get id(): string {
    return this.#claimed.lease.id;
  }

  /** Ends the process and gives the job back; an outcome that is there already is still handed in. */
  drain(): void {
    this.#drained.abort();
  }

  /** Waits no longer for a source that does not answer. */
  abandon(): void {
    this.#abandoned.abort();
    this.#logs?.end();
  }

  /** Runs it. Never rejects: whatever happens is an end. Releases the hold. */
  async run(): Promise<AttemptEnd> {
    const end = await this.#runSafely();
    const { id: jobId, attempt } = this.#claimed.lease;
    this.#log.info({ event: "attempt_ended", jobId, attempt, ...end }, "attempt ended");
    return end;
  }

  async #runSafely(): Promise<AttemptEnd> {
    try {
      return await this.#run();
    } catch (error) {
      // Once begun, it is left to be reaped and counted: what breaks each time would begin for ever otherwise, and a job
      // that must not begin twice would.
      const fate = this.#hasBegun ? "its lease is left to run out" : "its job is given back";
      this.#log.error({ event: "attempt_broke", jobId: this.id, error }, `an attempt broke; ${fate}`);
      if (!this.#hasBegun) await this.#release();
      return { kind: "unfit", reason: errorText(error) };
    } finally {
      this.#logs?.end();
      this.#hold.release();
    }
  }

  async #run(): Promise<AttemptEnd> {
    const { lease } = this.#claimed;
    await this.#earlier;
    const verdict = await this.#parts.verifyJob.verify(this.#claimed);
    this.#traceBy(verdict.ok ? verdict : "read" in verdict ? verdict.read : undefined);
    if (!verdict.ok && !("isUntimely" in verdict)) return this.#refuse(verdict.reason, verdict.read);
    const remembered = this.#parts.seen.recall(lease.id, lease.attempt);
    // No receipt: it would contradict the one signed for the attempt that did run.
    if (remembered === "finished") return this.#refuse("this runner has finished it already", undefined);
    if (!verdict.ok) return this.#decline(verdict.reason);
    if (remembered === "begun") return this.#leave(verdict);
    const outcome = await this.#execute(verdict.job);
    if (outcome === "interrupted") return this.#giveBack(verdict);
    return this.#finish(outcome, verdict);
  }

  /** A job that was refused is found by its trace as well. */
  #traceBy(read: ReadJob | undefined): void {
    const traceparent = read?.job.traceparent;
    if (traceparent !== undefined) this.#log = withMembers(this.#parts.log, { traceparent });
  }

  async #refuse(reason: string, read: ReadJob | undefined): Promise<AttemptEnd> {
    const { id, attempt } = this.#claimed.lease;
    this.#log.warn({ event: "job_refused", jobId: id, attempt, reason }, "job refused");
    return this.#finish(unstarted(`refused: ${reason}`, false), read);
  }

  /**
   * Redis forgot that this attempt began (a power cut, a failover), or somebody put it back. It must not run a second time
   * under its number, and nobody has its outcome: given back it comes again under the next number, if it may begin twice.
   */
  async #leave({ job }: ReadJob): Promise<AttemptEnd> {
    const reason = "an attempt of this number began here before";
    return job.on_loss === "fail" ? this.#refuse(reason, undefined) : this.#decline(reason);
  }

  /** Not for this runner to judge: another may take it, or Redis ends it when its time has come. */
  async #decline(reason: string): Promise<AttemptEnd> {
    const { id, attempt } = this.#claimed.lease;
    this.#log.warn({ event: "job_declined", jobId: id, attempt, reason }, "job given back");
    await this.#release();
    return { kind: "unfit", reason };
  }

  async #execute(job: JobDocument): Promise<Outcome | "interrupted"> {
    const parts = this.#parts;
    const hold = this.#hold;
    if (this.#claimed.isCancelling || hold.cancelled.aborted) return CANCELLED;
    const picked = pickExecutor(parts.executors, job.executor);
    if (!picked.ok) return unstarted(picked.reason, false);
    const { id, attempt } = this.#claimed.lease;
    await parts.seen.started({ id, attempt, expiresAt: job.expires_at });
    const { name } = picked.executor;
    const log = this.#log;
    log.info({ event: "attempt_started", jobId: id, attempt, executor: name }, "attempt started");
    const kill = AbortSignal.any([hold.lost, hold.lapsed]);
    if (kill.aborted || this.#drained.signal.aborted) return "interrupted";
    const { executor } = picked;
    const limits = { ...parts.limits, ...executor.limits };
    const logs = new LogWriter({ ...parts, log, hold, limits });
    this.#logs = logs;
    const elsewhere = (): "cancel" | "kill" | undefined => hold.endedFor;
    const isTooLate = (): boolean => hold.isOver;
    const endings = { kill, cancel: hold.cancelled, drain: this.#drained.signal, elsewhere, isTooLate };
    const onGroup = (group: number | undefined): void => {
      this.#hasBegun = true;
      hold.runs(group, limits.killGraceMs);
    };
    return execute({ ...parts, log, job, attempt, executor, limits, logs, endings, onGroup });
  }

  /** Interrupted: back to the queue, unless the job says that once begun it must not begin again. */
  async #giveBack(read: ReadJob): Promise<AttemptEnd> {
    const { lost, lapsed } = this.#hold;
    if (lost.aborted) return { kind: "lost" };
    if (this.#hasBegun) {
      // Left to be reaped and counted: a job that starves its runner of renewals would come back for ever otherwise.
      if (lapsed.aborted) return { kind: "lost" };
      if (read.job.on_loss === "fail") {
        const stopped = unstarted("the runner stopped while it ran", false);
        return this.#finish(this.#hold.cancelled.aborted ? CANCELLED : stopped, read);
      }
      this.#logs?.note("the runner stops: the job is given back and will run again");
      await this.#logs?.flush(this.#parts.limits.logFlushMs);
    }
    return (await this.#release()) ? { kind: "released" } : { kind: "lost" };
  }

  /** What is not released within a lease is noticed as lost: nothing hangs on this but time and a count. */
  async #release(): Promise<boolean> {
    const { source, random, monotonic } = this.#parts;
    const backoff = new Backoff(random);
    const untilMs = monotonic() + source.leaseMs;
    const isOver = AbortSignal.any([this.#abandoned.signal, this.#hold.lost]);
    while (!isOver.aborted && monotonic() < untilMs) {
      try {
        return (await source.release(this.#claimed.lease)) === "released";
      } catch (error) {
        this.#log.debug({ event: "release_failed", jobId: this.id, error: errorText(error) }, "not given back yet");
        await pause(backoff.next(), isOver);
      }
    }
    return false;
  }

  /**
   * Hands the outcome in until it is answered, even beyond the lease: only the store knows whether the lease was reaped,
   * and the same finish again gets the same answer.
   */
  async #finish(outcome: Outcome, read: ReadJob | undefined): Promise<AttemptEnd> {
    const { random, monotonic } = this.#parts;
    const report = { outcome, read, finishedMs: this.#startedMs + Math.round(monotonic() - this.#startedAt) };
    const backoff = new Backoff(random);
    // Perhaps accepted: from then on it alone is handed in, and no line is stored that it does not count.
    let sent: Finish | undefined;
    for (let round = 0; ; round += 1) {
      const finish = sent ?? (await this.#readyToFinish(report, round));
      if (finish === "lost") return { kind: "lost" };
      if (finish !== "not yet") {
        const answer = await this.#handIn(finish, read);
        if (typeof answer === "object") return answer;
        sent = answer === "refused" ? undefined : finish;
      }
      await pause(backoff.next(), this.#abandoned.signal);
      if (this.#abandoned.signal.aborted) return { kind: "lost" };
    }
  }

  /** One try; `refused` where it is sure that it was not carried out. */
  async #handIn(finish: Finish, read: ReadJob | undefined): Promise<AttemptEnd | "refused" | "unanswered"> {
    try {
      return await this.#settle(await this.#parts.source.finish(this.#claimed.lease, finish), finish, read);
    } catch (error) {
      this.#log.debug({ event: "finish_failed", jobId: this.id, error: errorText(error) }, "outcome not stored yet");
      return wasRefused(error) ? "refused" : "unanswered";
    }
  }

  /**
   * The finish, with all of the log stored or what is missing said. Not yet where an append may still be carried out: the
   * receipt would count without it, and an honest outcome look forged.
   */
  async #readyToFinish(report: Report, round: number): Promise<Finish | "lost" | "not yet"> {
    await this.#logs?.flush(this.#parts.limits.logFlushMs);
    if (this.#hold.lost.aborted) return "lost";
    if (this.#logs?.isUnknown === true && round < UNKNOWN_ROUNDS) return "not yet";
    const missing = this.#logs?.unstored ?? 0;
    if (missing > 0) {
      this.#log.warn({ event: "log_incomplete", jobId: this.id, missing }, "a job ends without the last of its log");
    }
    return this.#toFinish(report, missing);
  }

  async #settle(answer: Finished, finish: Finish, read: ReadJob | undefined): Promise<AttemptEnd> {
    if (answer.outcome === "lost") return { kind: "lost" };
    const { id, attempt } = this.#claimed.lease;
    // Not over: accepted, and to be retried, or tried again by now, where the first answer was lost. What refuses this
    // attempt again is its number, remembered before it began.
    if (answer.state !== "pending" && answer.state !== "running" && read !== undefined) {
      await this.#remember({ id, attempt, expiresAt: read.job.expires_at });
    }
    const { status, reason } = finish;
    return { kind: "finished", status, state: answer.state, ...(reason === undefined ? {} : { reason }) };
  }

  async #remember(attempt: Parameters<SeenJobs["accepted"]>[0]): Promise<void> {
    try {
      await this.#parts.seen.accepted(attempt);
    } catch (error) {
      // The outcome stands, and this process remembers; only a restart would forget.
      const line = { event: "seen_failed", jobId: this.id, error: errorText(error) } as const;
      this.#log.error(line, "a finished job is not on disk");
    }
  }

  async #toFinish(report: Report, missing: number): Promise<Finish> {
    const { status, code, isRetryable, result } = report.outcome;
    const reason = reasonOf(report.outcome, missing);
    const stored = toJobResult(result);
    const receipt = await this.#receipt(report);
    return {
      status,
      code,
      isRetryable,
      ...(reason === undefined ? {} : { reason }),
      ...(stored === undefined ? {} : { result: JSON.stringify(stored) }),
      ...(receipt === undefined ? {} : { receipt }),
    };
  }

  async #receipt({ outcome, read, finishedMs }: Report): Promise<SignedReceipt | undefined> {
    if (read === undefined) return undefined;
    const { signer, supervisor } = this.#parts;
    const { status, code, result } = outcome;
    return signReceipt(signer, {
      ...read,
      supervisor,
      queue: this.#claimed.queue,
      attempt: this.#claimed.lease.attempt,
      status,
      code,
      result,
      startedMs: this.#startedMs,
      finishedMs,
      logs: this.#logs?.stored ?? { head: new LogChain().head, count: 0 },
    });
  }
}

/** Truncation shows (faults, I8): a log that could not be stored can not say so itself. Of a cancel the store knows why. */
function reasonOf({ status, reason }: Outcome, missing: number): string | undefined {
  if (missing === 0 || status === "cancelled") return reason;
  const says = `log incomplete: the last ${missing === 1 ? "line" : `${missing} lines`} could not be stored`;
  return reason === undefined ? says : `${reason}; ${says}`;
}
