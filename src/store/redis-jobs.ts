/** JobStore over Redis: one script for each transition, plain reads beside them. */
import type { JobCount } from "../jobs/end-reasons.ts";
import type { JobHead, JobRecord } from "../jobs/job.ts";
import { JOB_STATES, type LogEntry } from "../rpc/schema.ts";
import { HEAD_FIELDS, parseHead, parseRecord, RECORD_FIELDS } from "./job-fields.ts";
import { parseLogEntry } from "./log-text.ts";
import type { RedisAccess } from "./redis-access.ts";
import { admit } from "./redis-admission.ts";
import { countJobs } from "./redis-job-count.ts";
import { listJobs } from "./redis-job-list.ts";
import type { RedisSubscriber } from "./redis-subscriber.ts";
import { asList, asOneOf } from "./reply.ts";
import type { Actor, Admission, Admitted, Cancelled, Deleted, JobPage, JobQuery, JobStore, LogPage } from "./store.ts";

export interface RedisJobsOptions {
  readonly access: RedisAccess;
  readonly subscriber: RedisSubscriber;
  /** Replicas an acknowledgement waits for; 0 for none. */
  readonly replicas: () => number;
}

export class RedisJobs implements JobStore {
  readonly #access: RedisAccess;
  readonly #options: RedisJobsOptions;
  readonly #watched = new Map<string, Set<() => void>>();
  #stopListening: (() => void) | undefined;

  constructor(options: RedisJobsOptions) {
    this.#access = options.access;
    this.#options = options;
  }

  async admit(job: Admission): Promise<Admitted> {
    return admit(this.#access, job, this.#options.replicas());
  }

  async get(id: string): Promise<JobRecord | undefined> {
    return parseRecord(id, await this.#read(id, RECORD_FIELDS));
  }

  async head(id: string): Promise<JobHead | undefined> {
    return parseHead(id, await this.#read(id, HEAD_FIELDS));
  }

  async list(query: JobQuery): Promise<JobPage> {
    return listJobs(this.#access, query);
  }

  async count(): Promise<readonly JobCount[]> {
    return countJobs(this.#access);
  }

  async logs(id: string, from: number, limit: number): Promise<LogPage> {
    const { connection, keys } = this.#access;
    const texts = asList(await connection.call("LRANGE", keys.log(id), from, from + limit - 1));
    const entries: LogEntry[] = texts.map(parseLogEntry);
    return { entries, next: from + entries.length };
  }

  async cancel(id: string, actor: Actor, reason: string): Promise<Cancelled> {
    return this.#cancel(id, actor.principal ?? "", { reason, withRunning: true });
  }

  /** Cancels because a signing key was revoked; running jobs only when asked. */
  async cancelRevoked(id: string, withRunning: boolean): Promise<Cancelled> {
    return this.#cancel(id, "", { reason: "revoked", withRunning });
  }

  async delete(id: string, actor: Actor): Promise<Deleted> {
    const { keys, scripts } = this.#access;
    const reply = await scripts.run("delete", [keys.job(id), keys.tomb(id)], [id, actor.principal ?? ""]);
    const [word, state] = asList(reply);
    const outcome = asOneOf(word, ["deleted", "missing", "wrong_state"]);
    return outcome === "wrong_state" ? { outcome, state: asOneOf(state, JOB_STATES) } : { outcome };
  }

  onChange(id: string, callback: () => void): () => void {
    const callbacks = this.#watched.get(id) ?? new Set();
    this.#watched.set(id, callbacks.add(callback));
    // One channel for all jobs: a supervisor with many waiting callers subscribes once.
    this.#stopListening ??= this.#options.subscriber.on(this.#access.keys.eventsChannel, (changed) =>
      this.#notify(changed),
    );
    return () => {
      if (!callbacks.delete(callback) || callbacks.size > 0) return;
      this.#watched.delete(id);
      if (this.#watched.size > 0) return;
      this.#stopListening?.();
      this.#stopListening = undefined;
    };
  }

  /** Undefined: messages may have been missed, so everybody looks. */
  #notify(changed: string | undefined): void {
    const ids = changed === undefined ? [...this.#watched.keys()] : [changed];
    for (const id of ids) for (const callback of this.#watched.get(id) ?? []) callback();
  }

  async #cancel(
    id: string,
    principal: string,
    { reason, withRunning }: { readonly reason: string; readonly withRunning: boolean },
  ): Promise<Cancelled> {
    const { keys, scripts } = this.#access;
    const declared = [keys.job(id), keys.of(keys.shardOf(id), "leases")];
    const [word, state] = asList(
      await scripts.run("cancel", declared, [id, principal, reason, withRunning ? "0" : "1"]),
    );
    const outcome = asOneOf(word, ["cancelled", "cancelling", "missing", "wrong_state"]);
    return outcome === "wrong_state" ? { outcome, state: asOneOf(state, JOB_STATES) } : { outcome };
  }

  async #read(id: string, fields: readonly string[]): Promise<readonly unknown[]> {
    return asList(await this.#access.connection.call("HMGET", this.#access.keys.job(id), ...fields));
  }
}
