/** RevocationStore over Redis: every shard has its copy of the revoked keys, and an index of the jobs each key signed. */
import type { RedisAccess } from "./redis-access.ts";
import { asList, asNumber, asText } from "./reply.ts";
import type { Cancelled, RevocationStore } from "./store.ts";

/** Keys or jobs handled by one call. */
const BATCH = 100;

export class RedisRevocations implements RevocationStore {
  readonly #access: RedisAccess;
  /** What this process revoked: Redis may lose its copy. */
  readonly #revoked = new Set<string>();
  readonly #cancel: (id: string, withRunning: boolean) => Promise<Cancelled>;

  constructor(access: RedisAccess, cancel: (id: string, withRunning: boolean) => Promise<Cancelled>) {
    this.#access = access;
    this.#cancel = cancel;
  }

  async revoke(revoked: readonly string[]): Promise<void> {
    for (const key of revoked) this.#revoked.add(key);
    const { keys, scripts } = this.#access;
    for (let at = 0; at < revoked.length; at += BATCH) {
      const batch = revoked.slice(at, at + BATCH);
      await Promise.all(keys.allShards.map(async (shard) => scripts.run("revoke", [keys.of(shard, "revoked")], batch)));
    }
  }

  /** Writes the copies again, after Redis lost data. */
  async republish(): Promise<void> {
    await this.revoke([...this.#revoked]);
  }

  async cancelJobsOf(key: string, withRunning: boolean): Promise<number> {
    const counts = await Promise.all(
      this.#access.keys.allShards.map(async (shard) =>
        this.#cancelInShard(this.#access.keys.signer(shard, key), withRunning),
      ),
    );
    return counts.reduce((all, count) => all + count, 0);
  }

  /** Usually none: one command for a hundred keys of a shard says so. */
  async findWithJobs(asked: readonly string[]): Promise<readonly string[]> {
    const found = new Set<string>();
    for (let at = 0; at < asked.length; at += BATCH) {
      const batch = asked.slice(at, at + BATCH);
      await Promise.all(
        this.#access.keys.allShards.map(async (shard) => {
          if ((await this.#countIndexes(shard, batch)) === 0) return;
          for (const key of batch) if ((await this.#countIndexes(shard, [key])) > 0) found.add(key);
        }),
      );
    }
    return [...found];
  }

  /** One shard is enough: who revokes waits for the copies in all of them. */
  async isRevoked(key: string): Promise<boolean> {
    const { keys, connection } = this.#access;
    return (await connection.call("SISMEMBER", keys.of(0, "revoked"), key)) === 1;
  }

  /** An index without jobs does not exist. */
  async #countIndexes(shard: number, batch: readonly string[]): Promise<number> {
    const { connection, keys } = this.#access;
    return asNumber(await connection.call("EXISTS", ...batch.map((key) => keys.signer(shard, key))));
  }

  /** Once the key is revoked nothing joins its index, and SSCAN sees every member that was there throughout. */
  async #cancelInShard(index: string, withRunning: boolean): Promise<number> {
    let cancelled = 0;
    let cursor = "0";
    do {
      const reply = asList(await this.#access.connection.call("SSCAN", index, cursor, "COUNT", BATCH));
      cursor = asText(reply[0]);
      const ids = new Set(asList(reply[1]).map(asText));
      const outcomes = await Promise.all([...ids].map(async (id) => this.#cancel(id, withRunning)));
      cancelled += outcomes.filter(({ outcome }) => outcome === "cancelled" || outcome === "cancelling").length;
    } while (cursor !== "0");
    return cancelled;
  }
}
