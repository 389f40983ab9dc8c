/**
 * A JobSource in memory with the store's rules in small (fencing, idempotent claims and finishes, leases by the real
 * clock, retries) and switches for its faults: for tests of the runner library alone.
 */
import { SupervisorError } from "../../src/errors.ts";
import type { LogEntry } from "../../src/rpc/schema.ts";
import type {
  Appended,
  Attached,
  ClaimedJob,
  Finish,
  Finished,
  JobSource,
  Lease,
  Renewed,
  RunnerHello,
} from "../../src/runner/source.ts";

/** A job as it is put into the source; what stands in it is the test's business. */
export interface QueuedJob {
  readonly id: string;
  readonly document: string;
  readonly signatures: string;
  readonly ticket: string;
  readonly queue: string;
  /** Attempts that may end failed or timeout. */
  readonly maxAttempts?: number;
  /** The number the first attempt gets. */
  readonly firstAttempt?: number;
  readonly isCancelling?: boolean;
}

/** A job's state in the source. */
export interface StoredJob {
  readonly queued: QueuedJob;
  state: "pending" | "running" | Finish["status"];
  attempt: number;
  failures: number;
  token: string | undefined;
  leasedUntil: number;
  isCancelling: boolean;
  readonly logs: LogEntry[];
  readonly finishes: Finish[];
  /** The attempt whose finish was accepted last. */
  settled: string | undefined;
  /** Writes that were refused because they were stale. */
  refused: number;
  released: number;
}

/** Calls of the interface that can be made to fail. */
type Call = "attach" | "heartbeat" | "claim" | "renew" | "append" | "finish" | "release" | "detach";

export class MemorySource implements JobSource {
  readonly leaseMs: number;
  readonly jobs = new Map<string, StoredJob>();
  readonly beats: { running: number; isDraining: boolean }[] = [];
  hello: RunnerHello | undefined;
  isAttached = false;
  attached: Attached = { outcome: "attached" };
  heartbeatAnswer: "ok" | "removed" = "ok";
  /** How appends are answered beside the lease: `full` stores nothing. */
  appendAnswer: "appended" | "full" = "appended";
  /** Hints are lost. */
  isMute = false;
  /** How often each call was made, failed ones included. */
  readonly calls = new Map<Call, number>();
  /** Calls that fail before anything happens. */
  readonly down = new Set<Call>();
  /** Calls whose answer is lost after they were carried out, this many times. */
  readonly lostAnswers = new Map<Call, number>();
  /** Calls that never answer while they are here. */
  readonly hanging = new Set<Call>();
  readonly #claims = new Map<string, readonly ClaimedJob[]>();
  readonly #listeners = new Set<Parameters<JobSource["onHint"]>[0]>();
  readonly #waiting: { isTrue: () => boolean; resolve: () => void }[] = [];

  constructor(leaseMs = 3000) {
    this.leaseMs = leaseMs;
  }

  add(queued: QueuedJob): StoredJob {
    const job: StoredJob = {
      queued,
      state: "pending",
      attempt: (queued.firstAttempt ?? 1) - 1,
      failures: 0,
      token: undefined,
      leasedUntil: 0,
      isCancelling: queued.isCancelling ?? false,
      logs: [],
      finishes: [],
      settled: undefined,
      refused: 0,
      released: 0,
    };
    this.jobs.set(queued.id, job);
    this.hint();
    return job;
  }

  /** Every listener hears that something was queued. */
  hint(): void {
    if (this.isMute) return;
    for (const listener of this.#listeners) listener({ kind: "queue" });
  }

  /** Sets the flag; with a hint unless told otherwise. */
  cancel(id: string, withHint = true): void {
    this.#job(id).isCancelling = true;
    if (withHint) this.hintCancel(id);
  }

  /** Every listener hears that this job is to be cancelled, true or not. */
  hintCancel(id: string): void {
    for (const listener of this.#listeners) listener({ kind: "cancel", id });
  }

  /** The lease is reaped: the job goes back to its queue. */
  loseLease(id: string): void {
    const job = this.#job(id);
    job.token = undefined;
    job.state = "pending";
  }

  /** Every call fails until {@link goUp}. */
  goDown(): void {
    for (const call of ["attach", "heartbeat", "claim", "renew", "append", "finish", "release", "detach"] as const) {
      this.down.add(call);
    }
  }

  goUp(): void {
    this.down.clear();
    this.#changed();
  }

  /** Resolves as soon as the condition holds; it is looked at after every call. */
  async until(isTrue: () => boolean): Promise<void> {
    if (isTrue()) return;
    await new Promise<void>((resolve) => this.#waiting.push({ isTrue, resolve }));
  }

  /** The text of one stream's entries, in lines. */
  text(id: string, stream: LogEntry["stream"] = "stdout"): string {
    const lines = this.#job(id).logs.filter((entry) => entry.stream === stream);
    return lines.map((entry) => entry.text ?? `base64:${entry.base64 ?? ""}`).join("\n");
  }

  async attach(hello: RunnerHello): Promise<Attached> {
    return this.#call("attach", () => {
      this.hello = hello;
      this.isAttached = this.attached.outcome === "attached";
      return this.attached;
    });
  }

  async heartbeat(beat: { running: number; isDraining: boolean }): Promise<"ok" | "removed"> {
    return this.#call("heartbeat", () => {
      this.beats.push(beat);
      return this.heartbeatAnswer;
    });
  }

  async claim(count: number, token: string): Promise<readonly ClaimedJob[]> {
    return this.#call("claim", () => {
      const known = this.#claims.get(token);
      if (known !== undefined) return known.filter((job) => this.#holder(job.lease) !== undefined);
      const pending = [...this.jobs.values()].filter((job) => job.state === "pending").slice(0, count);
      const claimed = pending.map((job) => this.#give(job, token));
      this.#claims.set(token, claimed);
      return claimed;
    });
  }

  async renew(leases: readonly Lease[]): Promise<readonly Renewed[]> {
    return this.#call("renew", () =>
      leases.map((lease): Renewed => {
        const job = this.#holder(lease);
        if (job === undefined) return { outcome: "lost" };
        job.leasedUntil = Date.now() + this.leaseMs;
        return { outcome: "renewed", isCancelling: job.isCancelling };
      }),
    );
  }

  async append(lease: Lease, entries: readonly LogEntry[]): Promise<Appended> {
    return this.#call("append", () => {
      const job = this.#holder(lease);
      if (job === undefined) return this.#refuse(lease, "lost");
      if (this.appendAnswer === "full") return "full";
      const present = job.logs.filter((entry) => entry.attempt === lease.attempt).length;
      const [first] = entries;
      if (first === undefined || first.seq > present + 1) throw new Error(`seq ${first?.seq ?? 0} after ${present}`);
      job.logs.push(...entries.filter((entry) => entry.seq > present));
      return "appended";
    });
  }

  async finish(lease: Lease, finish: Finish): Promise<Finished> {
    return this.#call("finish", (): Finished => {
      const job = this.#holder(lease);
      if (job === undefined) {
        const again = this.jobs.get(lease.id);
        const isSame = again !== undefined && again.settled === `${lease.attempt} ${lease.token}`;
        return again !== undefined && isSame
          ? { outcome: "accepted", state: again.state }
          : this.#refuse(lease, { outcome: "lost" });
      }
      const isFailure = finish.status === "failed" || finish.status === "timeout";
      if (isFailure) job.failures += 1;
      const isRetried = isFailure && finish.isRetryable && job.failures < (job.queued.maxAttempts ?? 1);
      job.state = isRetried ? "pending" : finish.status;
      job.token = undefined;
      job.settled = `${lease.attempt} ${lease.token}`;
      job.finishes.push(finish);
      return { outcome: "accepted", state: job.state };
    });
  }

  async release(lease: Lease): Promise<"released" | "lost"> {
    return this.#call("release", () => {
      const job = this.#holder(lease);
      if (job === undefined) return "lost";
      job.state = "pending";
      job.token = undefined;
      job.released += 1;
      return "released";
    });
  }

  onHint(callback: Parameters<JobSource["onHint"]>[0]): () => void {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  }

  /** Listeners that were not taken away. */
  get listeners(): number {
    return this.#listeners.size;
  }

  async detach(): Promise<void> {
    await this.#call("detach", () => {
      this.isAttached = false;
    });
  }

  #give(job: StoredJob, token: string): ClaimedJob {
    const { id, document, signatures, ticket, queue } = job.queued;
    job.state = "running";
    job.attempt += 1;
    job.token = token;
    job.leasedUntil = Date.now() + this.leaseMs;
    const lease = { id, attempt: job.attempt, token };
    return { lease, document, signatures, ticket, queue, isCancelling: job.isCancelling };
  }

  /** The job this lease still holds. */
  #holder({ id, attempt, token }: Lease): StoredJob | undefined {
    const job = this.jobs.get(id);
    return job !== undefined && job.state === "running" && job.attempt === attempt && job.token === token
      ? job
      : undefined;
  }

  #refuse<Answer>({ id }: Lease, answer: Answer): Answer {
    this.#job(id).refused += 1;
    return answer;
  }

  #job(id: string): StoredJob {
    const job = this.jobs.get(id);
    if (job === undefined) throw new Error(`no job ${id}`);
    return job;
  }

  async #call<Answer>(call: Call, carryOut: () => Answer): Promise<Answer> {
    this.calls.set(call, (this.calls.get(call) ?? 0) + 1);
    await Promise.resolve();
    this.#changed();
    if (this.hanging.has(call)) await this.until(() => !this.hanging.has(call));
    if (this.down.has(call)) {
      this.#changed();
      const message = `${call}: the source is down`;
      throw new SupervisorError("unavailable", { message, data: { applied: "no" } });
    }
    const answer = carryOut();
    this.#changed();
    const lost = this.lostAnswers.get(call) ?? 0;
    if (lost > 0) {
      this.lostAnswers.set(call, lost - 1);
      throw new Error(`${call}: the answer was lost`);
    }
    return answer;
  }

  #changed(): void {
    for (const waiting of this.#waiting.filter(({ isTrue }) => isTrue())) {
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
      waiting.resolve();
    }
  }
}
