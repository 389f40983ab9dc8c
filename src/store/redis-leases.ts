/** What a runner writes while it holds a lease: renewals, log entries, the outcome. Every write carries its fence. */
import type { LogEntry } from "../rpc/schema.ts";
import type { Appended, Finish, Finished, Lease, Renewed } from "../runner/source.ts";
import { logText } from "./log-text.ts";
import type { RedisAccess } from "./redis-access.ts";
import type { RunnerSettings } from "./redis-meta.ts";
import { asList, asOneOf, asText } from "./reply.ts";

/** Leases or log entries one script takes. */
const BATCH = 100;
/** Room above the runner's own log limit, for markers of gaps and truncation. */
const LOG_SLACK_BYTES = 64 * 1024;

export class RedisLeases {
  readonly #access: Pick<RedisAccess, "keys" | "scripts">;
  readonly #settings: RunnerSettings;

  constructor(access: Pick<RedisAccess, "keys" | "scripts">, settings: RunnerSettings) {
    this.#access = access;
    this.#settings = settings;
  }

  /**
   * Answers in the order of the leases; one script for each shard and hundred. Where a shard did not answer, its leases
   * have no entry: those of the other shards were renewed all the same.
   * @throws SupervisorError("unavailable") when no shard answered.
   */
  async renew(leases: readonly Lease[]): Promise<readonly Renewed[]> {
    const answers: Renewed[] = [];
    const byShard = new Map<number, number[]>();
    for (const [index, { id }] of leases.entries()) {
      const shard = this.#access.keys.shardOf(id);
      byShard.set(shard, [...(byShard.get(shard) ?? []), index]);
    }
    const renewals = [...byShard].flatMap(([shard, indexes]) =>
      inBatches(indexes).map(async (batch) => {
        const replies = await this.#renewBatch(
          shard,
          batch.flatMap((index) => leases[index] ?? []),
        );
        for (const [at, index] of batch.entries()) answers[index] = parseRenewed(replies[at]);
      }),
    );
    const failures = (await Promise.allSettled(renewals)).filter((settled) => settled.status === "rejected");
    if (failures.length > 0 && failures.length === renewals.length) throw failures[0]?.reason;
    return answers;
  }

  async append(lease: Lease, entries: readonly LogEntry[]): Promise<Appended> {
    const { keys, scripts } = this.#access;
    const texts = entries.map(logText);
    const sizes = texts.map((text) => Buffer.byteLength(text));
    const cap = this.#settings.maxLogBytes + LOG_SLACK_BYTES;
    let left = sizes.reduce((all, size) => all + size, 0);
    for (let at = 0; at < texts.length; at += BATCH) {
      const part = texts.slice(at, at + BATCH);
      const args = [lease.id, lease.attempt, lease.token, entries[at]?.seq ?? 1, cap, left, ...part];
      const reply = await scripts.run("append", [keys.job(lease.id), keys.log(lease.id)], args);
      const appended = asOneOf(reply, ["appended", "lost", "full", "gap"]);
      if (appended === "gap")
        throw new Error(`Log entries before seq ${entries[at]?.seq ?? 1} of job ${lease.id} are missing`);
      // Only the first part can answer `full`: it is charged with the whole batch.
      if (appended !== "appended") return appended;
      left -= sizes.slice(at, at + BATCH).reduce((all, size) => all + size, 0);
    }
    return "appended";
  }

  async finish(lease: Lease, finish: Finish): Promise<Finished> {
    const { scripts } = this.#access;
    const args = [
      lease.id,
      lease.attempt,
      lease.token,
      finish.status,
      finish.code,
      finish.reason ?? "",
      finish.isRetryable ? "1" : "0",
      this.#settings.backoffBaseMs,
      this.#settings.backoffMaxMs,
      Math.random(),
      finish.result ?? "",
      finish.receipt === undefined ? "" : JSON.stringify(finish.receipt),
    ];
    const [word, state] = asList(await scripts.run("finish", this.#jobAndLeases(lease.id), args));
    const outcome = asOneOf(word, ["accepted", "lost"]);
    return outcome === "accepted" ? { outcome, state: asText(state) } : { outcome };
  }

  async release(lease: Lease): Promise<"released" | "lost"> {
    const args = [lease.id, lease.attempt, lease.token];
    const reply = await this.#access.scripts.run("release", this.#jobAndLeases(lease.id), args);
    return asOneOf(reply, ["released", "lost"]);
  }

  async #renewBatch(shard: number, leases: readonly Lease[]): Promise<readonly unknown[]> {
    const { keys, scripts } = this.#access;
    const declared = [keys.of(shard, "leases"), ...leases.map(({ id }) => keys.job(id))];
    const fences = leases.flatMap(({ id, attempt, token }) => [id, attempt, token]);
    return asList(await scripts.run("renew", declared, [this.#settings.leaseMs, ...fences]));
  }

  #jobAndLeases(id: string): readonly string[] {
    const { keys } = this.#access;
    return [keys.job(id), keys.of(keys.shardOf(id), "leases")];
  }
}

function parseRenewed(reply: unknown): Renewed {
  const word = asOneOf(reply, ["renewed", "cancelling", "lost"]);
  return word === "lost" ? { outcome: "lost" } : { outcome: "renewed", isCancelling: word === "cancelling" };
}

function inBatches<Item>(items: readonly Item[]): readonly (readonly Item[])[] {
  return Array.from({ length: Math.ceil(items.length / BATCH) }, (_, at) => items.slice(at * BATCH, (at + 1) * BATCH));
}
