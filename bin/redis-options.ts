/** The settings as the Redis store takes them. */
import type { Config } from "../src/config.ts";
import type { Log } from "../src/log.ts";
import type { createRedisStore } from "../src/store/redis-store.ts";

type RedisStoreOptions = Parameters<typeof createRedisStore>[0];

export function redisStoreOptions({ redis, jobs }: Config, log: Log): RedisStoreOptions {
  return {
    url: redis.url,
    prefix: redis.prefix,
    shards: redis.shards === 0 ? "auto" : redis.shards,
    leaseMs: jobs.lease_ms,
    backoff: { baseMs: jobs.retry_base_ms, maxMs: jobs.retry_max_ms },
    maxLogBytes: jobs.max_log_bytes,
    durability: toDurability(redis.durability),
    commandTimeoutMs: redis.command_timeout_ms,
    allowUnsafeRedis: redis.allow_unsafe,
    log,
    now: Date.now,
  };
}

/** The setting's pattern allows these and no others. */
function toDurability(text: string): RedisStoreOptions["durability"] {
  if (text === "memory" || text === "everysec" || text === "always") return text;
  const replicas = /^replicated\(([1-9])\)$/u.exec(text)?.[1];
  return replicas === undefined ? "auto" : `replicated(${Number(replicas)})`;
}
