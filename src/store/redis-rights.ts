/** What a supervisor's Redis user lacks of the rights it needs: asked of the server, with nothing carried out. */
import { SupervisorError } from "../errors.ts";
import { supervisorCommands } from "./redis-acl.ts";
import type { RedisNode } from "./redis-connection.ts";
import { RedisKeys } from "./redis-keys.ts";
import { scriptText } from "./redis-scripts.ts";
import { asList, asNumber } from "./reply.ts";

/** What stands behind a command's name; the server judges whole commands alone. `key` and `channel` are ours. */
const WORDS: Readonly<Record<string, readonly string[]>> = {
  "client|setname": ["name"],
  "config|get": ["appendfsync"],
  eval: ["return 1", "1", "key"],
  evalsha: ["0000000000000000000000000000000000000000", "1", "key"],
  get: ["key"],
  hdel: ["key", "field"],
  hexists: ["key", "field"],
  hget: ["key", "field"],
  hgetall: ["key"],
  hincrby: ["key", "field", "1"],
  hkeys: ["key"],
  hmget: ["key", "field"],
  hscan: ["key", "0"],
  hset: ["key", "field", "value"],
  incr: ["key"],
  lrange: ["key", "0", "1"],
  pexpire: ["key", "1"],
  pttl: ["key"],
  publish: ["channel", "message"],
  sadd: ["key", "member"],
  select: ["1"],
  set: ["key", "value"],
  sismember: ["key", "member"],
  smismember: ["key", "member"],
  srem: ["key", "member"],
  sscan: ["key", "0"],
  subscribe: ["channel"],
  wait: ["1", "1"],
  zadd: ["key", "1", "member"],
  zcard: ["key"],
  zrange: ["key", "0", "1"],
  zrem: ["key", "member"],
  zscan: ["key", "0"],
  del: ["key"],
  exists: ["key"],
  unlink: ["key"],
};

/**
 * Commands of a supervisor that our user may not send to this server, on keys and channels of the prefix, by their names.
 * @throws SupervisorError("unavailable") when the server can not be reached.
 */
export async function lackingRights(
  node: RedisNode,
  { url, prefix }: { readonly url: string; readonly prefix: string },
): Promise<readonly string[]> {
  const keys = new RedisKeys({ prefix, shards: 1 });
  const key = keys.of(0, "jobs");
  const stands = new Map([
    ["key", key],
    ["channel", keys.eventsChannel],
  ]);
  const names = supervisorCommands(url);
  const commands = names.map((name) => [
    ...name.split("|"),
    ...(WORDS[name] ?? []).map((word) => stands.get(word) ?? word),
  ]);
  try {
    const args = commands.flatMap((words) => [String(words.length)].concat(words));
    const refused = asList(await node.call("EVAL", scriptText("rights"), 0, ...args)).map(asNumber);
    return refused.map((position) => names[position - 1] ?? "");
  } catch (error) {
    if (error instanceof SupervisorError && error.data?.["reason"] === "not_permitted") return ["eval"];
    throw error;
  }
}
