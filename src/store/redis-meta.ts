/** What the data say of themselves: identity, shard count, generation, and the settings runners read. */
import { randomBytes } from "node:crypto";

import { SupervisorError } from "../errors.ts";
import type { RedisNode } from "./redis-connection.ts";
import { RedisKeys } from "./redis-keys.ts";
import type { RedisScripts } from "./redis-scripts.ts";
import { asList, asNumber, asOptional, asText } from "./reply.ts";

/** Settings of the supervisors that runners go by. */
export interface RunnerSettings {
  readonly leaseMs: number;
  readonly backoffBaseMs: number;
  readonly backoffMaxMs: number;
  readonly maxLogBytes: number;
}

export interface Meta extends RunnerSettings {
  readonly shards: number;
  /** Whose data they are. */
  readonly identity: string | undefined;
}

export interface ClaimedMeta {
  readonly shards: number;
  readonly generation: string;
  /** Rises with every claim: lower than before means that Redis went back to an older copy. */
  readonly epoch: number;
}

export interface MetaClaim {
  readonly prefix: string;
  readonly identity: string;
  /** `auto`: what is stored, and where nothing is, `autoShards`. */
  readonly shards: number | "auto";
  readonly autoShards: number;
  readonly settings: RunnerSettings;
}

/**
 * Claims the data for an identity, or joins those who share it.
 * @throws SupervisorError naming the way out when identity or shard count differ.
 */
export async function claimMeta(scripts: RedisScripts, claim: MetaClaim): Promise<ClaimedMeta> {
  const { prefix, identity, settings } = claim;
  const wanted = claim.shards === "auto" ? "" : claim.shards;
  const stored = [
    "lease_ms",
    settings.leaseMs,
    "max_log_bytes",
    settings.maxLogBytes,
    "backoff_base_ms",
    settings.backoffBaseMs,
    "backoff_max_ms",
    settings.backoffMaxMs,
  ];
  const args = [identity, wanted, claim.autoShards, randomBytes(16).toString("hex"), ...stored];
  const reply = asList(await scripts.run("meta", [RedisKeys.meta(prefix)], args));
  const [owner, shards, generation, epoch] = [
    asText(reply[0]),
    asNumber(reply[1]),
    asText(reply[2]),
    asNumber(reply[3]),
  ];
  if (owner !== identity) {
    throw new SupervisorError("unavailable", {
      message:
        `The data under "${prefix}" in this Redis belong to the supervisor ${owner}, not to ${identity}. ` +
        "Copy that supervisor's identity key into this data directory, or choose another --redis-url or redis.prefix.",
      data: { applied: "no", reason: "other_identity" },
    });
  }
  if (wanted !== "" && shards !== wanted) {
    throw new SupervisorError("unavailable", {
      message:
        `redis.shards is ${wanted}, but the data under "${prefix}" have ${shards} shards since their first start. ` +
        `Set redis.shards to ${shards} or 0, or choose another redis.prefix.`,
      data: { applied: "no", reason: "other_shards" },
    });
  }
  return { shards, generation, epoch };
}

const FIELDS = ["shards", "lease_ms", "backoff_base_ms", "backoff_max_ms", "max_log_bytes"] as const;

/** What a runner must know; undefined while no supervisor has started on these data. */
export async function readMeta(connection: RedisNode, prefix: string): Promise<Meta | undefined> {
  const [identity, ...values] = asList(await connection.call("HMGET", RedisKeys.meta(prefix), "identity", ...FIELDS));
  const [shards, leaseMs, backoffBaseMs, backoffMaxMs, maxLogBytes] = values.map((value) =>
    asOptional(value, asNumber),
  );
  if (shards === undefined || leaseMs === undefined || backoffBaseMs === undefined) return undefined;
  if (backoffMaxMs === undefined || maxLogBytes === undefined) return undefined;
  return { identity: asOptional(identity, asText), shards, leaseMs, backoffBaseMs, backoffMaxMs, maxLogBytes };
}
