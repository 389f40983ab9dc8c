/** MaintenanceStore over Redis: lost leases, jobs past their time, retention; shard by shard, in bounded steps. */
import { TERMINAL_STATES } from "../rpc/schema.ts";
import type { RedisAccess } from "./redis-access.ts";
import { asList, asNumber, asText } from "./reply.ts";
import type { Maintained, MaintenanceStore, RetentionLimits } from "./store.ts";

/** Items one script touches at most, and scripts of a kind one tick runs for a shard: other work goes on between. */
const BATCH = 100;
const ROUNDS = 20;

export interface RedisMaintenanceOptions {
  readonly access: RedisAccess;
  readonly leaseMs: number;
  /** No retry waits longer, in ms. */
  readonly maxDelayMs: number;
  /** Never jumps, in ms. */
  readonly monotonicMs: () => number;
}

/** Redis' clock and the monotonic one at the same moment. */
interface ClockPair {
  readonly redisMs: number;
  readonly monotonicMs: number;
}

export class RedisMaintenance implements MaintenanceStore {
  readonly #options: RedisMaintenanceOptions;
  readonly #clocks = new Map<number, ClockPair>();

  constructor(options: RedisMaintenanceOptions) {
    this.#options = options;
  }

  async maintain(retention: RetentionLimits): Promise<Maintained> {
    const { connection, keys } = this.#options.access;
    // Out of reach for long: runners could not renew either, so their leases are no evidence (rule 8).
    const hadOutage = connection.takeOutageMs() > this.#options.leaseMs / 3;
    const shards = await Promise.all(
      keys.allShards.map(async (shard) => ({
        reaped: await this.#reap(shard, hadOutage),
        expired: await rounds(async () => this.#expire(shard)),
        retired: await this.#retire(shard, retention),
      })),
    );
    const sum = (count: (done: Maintained) => number): number => shards.reduce((all, done) => all + count(done), 0);
    return { reaped: sum((d) => d.reaped), expired: sum((d) => d.expired), retired: sum((d) => d.retired) };
  }

  async #reap(shard: number, hadOutage: boolean): Promise<number> {
    let isFirst = true;
    return rounds(async () => {
      const reaped = await this.#reapBatch(shard, hadOutage && isFirst);
      isFirst = false;
      return reaped;
    });
  }

  /** The script itself judges the clock: between a look at it and the reaping it could jump. */
  async #reapBatch(shard: number, hadOutage: boolean): Promise<number> {
    const { access, leaseMs, monotonicMs } = this.#options;
    const known = this.#clocks.get(shard);
    const sinceMs = known === undefined ? 0 : Math.round(monotonicMs() - known.monotonicMs);
    const expectedMs = known === undefined ? "" : known.redisMs + sinceMs;
    const args = [BATCH, leaseMs, expectedMs, Math.ceil(leaseMs / 3), hadOutage ? "1" : "0", sinceMs];
    const declared = [access.keys.of(shard, "leases"), access.keys.of(shard, "reap")];
    const [redisMs, reaped, wentBack] = asList(await access.scripts.run("reap", declared, args));
    this.#clocks.set(shard, { redisMs: asNumber(redisMs), monotonicMs: monotonicMs() });
    if (wentBack === "1") await this.#settle(shard);
    return asNumber(reaped);
  }

  /** The clock was put back: leases, delays of retries and heartbeats would last for the difference. */
  async #settle(shard: number): Promise<void> {
    const { access, leaseMs, maxDelayMs } = this.#options;
    await this.#settleSet(access.keys.of(shard, "leases"), "leases", leaseMs);
    // Queues in which something waits; the other members are owners'.
    for (const queue of await this.#names(access.keys.of(shard, "bytes")))
      await this.#settleSet(access.keys.delayed(shard, queue), "delayed", maxDelayMs);
    if (shard !== 0) return;
    for (const name of await this.#names(access.keys.of(0, "names"))) {
      await this.#settleSet(access.keys.live(name), "heartbeats", 0);
    }
  }

  /** Of runners and groups among the members of a hash: the others begin with a sign. */
  async #names(key: string): Promise<readonly string[]> {
    const members = asList(await this.#options.access.connection.call("HKEYS", key)).map(asText);
    return members.filter((member) => /^[a-z0-9]/u.test(member));
  }

  async #settleSet(key: string, kind: "leases" | "delayed" | "heartbeats", longestMs: number): Promise<void> {
    let cursor = "0";
    do {
      cursor = asText(await this.#options.access.scripts.run("settle", [key], [kind, longestMs, cursor]));
    } while (cursor !== "0");
  }

  async #expire(shard: number): Promise<number> {
    const { keys, scripts } = this.#options.access;
    return asNumber(await scripts.run("expire", [keys.of(shard, "expiry")], [BATCH]));
  }

  async #retire(shard: number, retention: RetentionLimits): Promise<number> {
    const { keys, scripts } = this.#options.access;
    const share = (limit: number): number => Math.ceil(limit / keys.shards);
    let retired = 0;
    for (const state of TERMINAL_STATES) {
      const declared = [keys.done(shard, state), keys.of(shard, "bytes")];
      const args = [state, retention.maxAgeSeconds * 1000, share(retention.maxJobs), share(retention.maxBytes), BATCH];
      retired += await rounds(async () => asNumber(await scripts.run("retire", declared, args)));
    }
    return retired;
  }
}

/** Repeats a batch while it comes back full; what is left then waits for the next tick. */
async function rounds(batch: () => Promise<number>): Promise<number> {
  let all = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const count = await batch();
    all += count;
    if (count < BATCH) break;
  }
  return all;
}
