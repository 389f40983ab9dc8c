/** What the parts of the Redis store share. */
import type { RedisConnection } from "./redis-connection.ts";
import type { RedisKeys } from "./redis-keys.ts";
import type { RedisScripts } from "./redis-scripts.ts";

export interface RedisAccess {
  readonly connection: RedisConnection;
  readonly scripts: RedisScripts;
  /** Known once the data said how many shards they have; throws before. */
  readonly keys: RedisKeys;
}
