/** Puts a deadline on every call of a source, so that one that never answers becomes one that fails. */
import type { LogEntry } from "../rpc/schema.ts";
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
} from "./source.ts";
import { withDeadline } from "./wake.ts";

/** Calls may fail and be repeated: all of them are idempotent by the contract of {@link JobSource}. */
export class BoundedSource implements JobSource {
  readonly #source: JobSource;
  readonly #callMs: number;

  constructor(source: JobSource, callMs: number) {
    this.#source = source;
    this.#callMs = callMs;
  }

  get leaseMs(): number {
    return this.#source.leaseMs;
  }

  async attach(hello: RunnerHello): Promise<Attached> {
    return withDeadline(this.#source.attach(hello), this.#callMs, "attach");
  }

  async heartbeat(beat: { running: number; isDraining: boolean }): Promise<"ok" | "removed"> {
    return withDeadline(this.#source.heartbeat(beat), this.#callMs, "heartbeat");
  }

  async claim(count: number, token: string): Promise<readonly ClaimedJob[]> {
    return withDeadline(this.#source.claim(count, token), this.#callMs, "claim");
  }

  /** A third of a lease at most: it must not take the next chance to renew with it. */
  async renew(leases: readonly Lease[]): Promise<readonly Renewed[]> {
    return withDeadline(this.#source.renew(leases), Math.min(this.#callMs, this.leaseMs / 3), "renew");
  }

  async append(lease: Lease, entries: readonly LogEntry[]): Promise<Appended> {
    return withDeadline(this.#source.append(lease, entries), this.#callMs, "append");
  }

  async finish(lease: Lease, finish: Finish): Promise<Finished> {
    return withDeadline(this.#source.finish(lease, finish), this.#callMs, "finish");
  }

  async release(lease: Lease): Promise<"released" | "lost"> {
    return withDeadline(this.#source.release(lease), this.#callMs, "release");
  }

  onHint(callback: Parameters<JobSource["onHint"]>[0]): () => void {
    return this.#source.onHint(callback);
  }

  async detach(): Promise<void> {
    await withDeadline(this.#source.detach(), this.#callMs, "detach");
  }
}
