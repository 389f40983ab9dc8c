/** The Redis users of supervisors and runners, as ACL rules: one table of commands, keys and channels. */
import { RedisKeys } from "./redis-keys.ts";
import { parseRedisUrl } from "./redis-url.ts";

export interface RedisUser {
  readonly name: string;
  /**
   * What ACL SETUSER takes after the name. Applied again they replace the rules before; password and on or off stay as
   * they are, and a new user is off and has no password.
   */
  readonly rules: readonly string[];
}

export interface AclScope {
  /** See {@link parseRedisUrl}; its user and password are not looked at. */
  readonly url: string;
  readonly prefix: string;
}

/** Every command that is sent, by scripts or past them. */
export const ACL_COMMANDS = {
  /** A client looks at INFO before it calls a server ready. */
  connection: ["info", "ping", "subscribe", "unsubscribe"],
  scripts: ["eval", "evalsha"],
  publish: ["publish"],
  both: [
    "exists",
    "get",
    "hdel",
    "hget",
    "hincrby",
    "hmget",
    "hset",
    "set",
    "sismember",
    "srem",
    "time",
    "zadd",
    "zrange",
    "zrem",
  ],
  runner: ["rpush"],
  supervisor: [
    "config|get",
    "del",
    "hexists",
    "hgetall",
    "hkeys",
    "hscan",
    "incr",
    "lrange",
    "pexpire",
    "pttl",
    "sadd",
    "smismember",
    "sscan",
    "unlink",
    "wait",
    "zcard",
    "zscan",
  ],
  /** A URL that names a database. */
  database: ["select"],
  /** A client names its connections, finds the nodes, and follows a slot that moves. */
  cluster: ["asking", "client|setname", "cluster|info", "cluster|slots", "readonly", "readwrite"],
} as const;

/** Nothing of what the user could do before; a selector begins like this as well. */
const NOTHING = ["resetchannels", "-@all"] as const;
const AFRESH = ["resetkeys", "clearselectors", ...NOTHING] as const;

/** What a supervisor sends, on the way to such an address as well. */
export function supervisorCommands(url: string): readonly string[] {
  const { connection, scripts, publish, both, supervisor } = ACL_COMMANDS;
  return [...connection, ...scripts, ...publish, ...both, ...supervisor, ...wayTo(url)];
}

/** All of the prefix, and no other command than those above. */
export function supervisorUser({ url, prefix }: AclScope): RedisUser {
  const keys = new RedisKeys({ prefix, shards: 1 });
  return {
    name: `${prefix}-supervisor`,
    rules: [
      ...AFRESH,
      ...allow(supervisorCommands(url)),
      `~${prefix}:*`,
      `&${keys.hintChannel("*")}`,
      `&${keys.eventsChannel}`,
      `&${keys.cancelChannel("*")}`,
    ],
  };
}

/**
 * What a runner of this name and these groups sends, on its own queues. Two selectors keep apart what one list of rules
 * would join: the keys of a script must be open both ways, and most of them are then only written to, so that nobody
 * learns from them which jobs there are; for the same reason events are published and not heard.
 */
export function runnerUser(
  { url, prefix }: AclScope,
  runner: { readonly name: string; readonly groups: readonly string[] },
): RedisUser {
  const { connection, scripts, publish, both, runner: own } = ACL_COMMANDS;
  const keys = new RedisKeys({ prefix, shards: 1 });
  const hints = queuesOf(runner).map((queue) => `&${keys.hintChannel(queue)}`);
  const table = runnerKeys(keys, runner);
  const declared = table.filter(({ isDeclared }) => isDeclared);
  return {
    name: `${prefix}-runner-${runner.name}`,
    rules: [
      ...AFRESH,
      ...allow([...connection, ...both, ...own, ...wayTo(url)]),
      ...table.map(({ pattern, access }) => (access === "RW" ? `~${pattern}` : `%${access}~${pattern}`)),
      ...hints,
      `&${keys.cancelChannel(runner.name)}`,
      selector([...allow(scripts), ...declared.map(({ pattern }) => `~${pattern}`)]),
      selector([...allow(publish), `&${keys.eventsChannel}`, ...hints]),
    ],
  };
}

/** As redis-cli reads it. */
export function toAclLine({ name, rules }: RedisUser): string {
  return `ACL SETUSER ${name} ${rules.join(" ")}`;
}

interface KeyRule {
  readonly pattern: string;
  /** What the commands in the scripts do with it. */
  readonly access: "R" | "W" | "RW";
  /** Handed to a script as one of its keys: Redis takes those as read and written. */
  readonly isDeclared: boolean;
}

function runnerKeys(keys: RedisKeys, runner: Parameters<typeof runnerUser>[1]): readonly KeyRule[] {
  const queues = queuesOf(runner);
  const rules = (access: KeyRule["access"], isDeclared: boolean, patterns: readonly string[]): readonly KeyRule[] =>
    patterns.map((pattern) => ({ pattern, access, isDeclared }));
  return [
    ...rules("RW", true, [
      ...inAnyShard(queues.flatMap((queue) => [keys.queue(0, queue), keys.delayed(0, queue)])),
      ...inAnyShard([keys.job("*"), keys.claim(0, "*"), keys.of(0, "bytes")]),
      keys.beat(runner.name),
    ]),
    ...rules("W", true, [
      ...inAnyShard([keys.log("*"), keys.of(0, "leases"), keys.of(0, "expiry")]),
      ...queues.map((queue) => keys.live(queue)),
    ]),
    ...rules("W", false, inAnyShard([keys.done(0, "*"), keys.signer(0, "*")])),
    ...rules("R", false, [
      RedisKeys.meta(keys.prefix),
      ...inAnyShard([keys.of(0, "names"), keys.of(0, "revoked")]),
      keys.of(0, "runners"),
    ]),
  ];
}

/** Keys of shard 0 as patterns for all shards: the rules need not know how many there are. */
function inAnyShard(names: readonly string[]): readonly string[] {
  return names.map((name) => name.replace("{s0}", "{s*}"));
}

function queuesOf({ name, groups }: { readonly name: string; readonly groups: readonly string[] }): readonly string[] {
  return [...new Set([name, ...groups])];
}

/** What the client itself sends on the way to such an address. */
function wayTo(url: string): readonly string[] {
  const target = parseRedisUrl(url);
  if (target.kind === "cluster") return ACL_COMMANDS.cluster;
  const hasDatabase = target.kind === "single" && "db" in target.options && target.options.db !== 0;
  return hasDatabase ? ACL_COMMANDS.database : [];
}

function allow(commands: readonly string[]): readonly string[] {
  return commands.toSorted().map((command) => `+${command}`);
}

function selector(rules: readonly string[]): string {
  return `(${[...NOTHING, ...rules].join(" ")})`;
}
