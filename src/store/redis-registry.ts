/** The registry's names in every shard: where admissions and claims read who serves what. */
import type { RedisAccess } from "./redis-access.ts";
import { type Registration, parseRegistration } from "./registration.ts";
import { asList, asNumber, asText } from "./reply.ts";

/** A removal that did not come to its end by then (its supervisor was killed) is put back, in ms. */
const ABANDONED_MS = 60_000;

/** The names of one runner as a shard's copy holds them. */
export interface ServedNames {
  readonly runner: string;
  readonly version: number;
  readonly key: string;
  /** Its own name and its groups; none when it is being removed. */
  readonly names: readonly string[];
}

export class RedisRegistry {
  readonly #access: RedisAccess;

  constructor(access: RedisAccess) {
    this.#access = access;
  }

  /** All registrations by name, those being removed included. */
  async all(): Promise<ReadonlyMap<string, Registration>> {
    const { connection, keys } = this.#access;
    const reply = asList(await connection.call("HGETALL", keys.of(0, "runners")));
    const found = new Map<string, Registration>();
    for (let at = 0; at + 1 < reply.length; at += 2) {
      const name = asText(reply[at]);
      // `@version` is the registry's own counter.
      if (!name.startsWith("@")) found.set(name, parseRegistration(asText(reply[at + 1])));
    }
    return found;
  }

  async get(name: string): Promise<Registration | undefined> {
    const { connection, keys } = this.#access;
    const text = await connection.call("HGET", keys.of(0, "runners"), name);
    return text === null || name.startsWith("@") ? undefined : parseRegistration(asText(text));
  }

  /** Copies one runner's names to every shard; once it resolved, all shards judge by them. An older copy loses. */
  async publish({ runner, version, key, names }: ServedNames): Promise<void> {
    const { keys, scripts } = this.#access;
    await Promise.all(
      keys.allShards.map(async (shard) =>
        scripts.run("names", [keys.of(shard, "names")], [runner, version, key, ...names]),
      ),
    );
  }

  /** Puts back an abandoned or refused removal; nothing when somebody else changed the entry. */
  async restore(name: string, entry: Pick<Registration, "version" | "key" | "groups">): Promise<void> {
    const { keys, scripts } = this.#access;
    const declared = [keys.of(0, "runners"), keys.of(0, "groups"), keys.beat(name)];
    const [outcome, version] = asList(await scripts.run("remove-runner", declared, ["abort", name, entry.version]));
    if (outcome !== "done") return;
    await this.publish({ runner: name, version: Number(version), key: entry.key, names: [name, ...entry.groups] });
  }

  /** Mends the copies: after a crash between registry and shards, or data that came back. */
  async sync(): Promise<void> {
    const [seconds] = asList(await this.#access.connection.call("TIME"));
    const nowMs = asNumber(seconds) * 1000;
    for (const [name, entry] of await this.all()) {
      if (entry.removingMs === undefined) {
        await this.publish({ runner: name, version: entry.version, key: entry.key, names: [name, ...entry.groups] });
      } else if (entry.removingMs < nowMs - ABANDONED_MS) {
        await this.restore(name, entry);
      }
    }
    await Promise.all(this.#access.keys.allShards.map(async (shard) => this.#sweep(shard)));
  }

  /** Versions of removed runners go once no copy of theirs can still be on its way. */
  async #sweep(shard: number): Promise<void> {
    const { keys, scripts } = this.#access;
    let cursor = "0";
    do {
      const reply = asList(await scripts.run("sweep-names", [keys.of(shard, "names")], [10 * ABANDONED_MS, cursor]));
      cursor = asText(reply[0]);
    } while (cursor !== "0");
  }
}
