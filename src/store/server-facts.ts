/** What a Redis server says of itself, and what follows from it (spec: jobs-and-redis, rules 10 and 11): pure. */

/** The durability classes, from weak to strong on one server; `replicated(n)` counts servers. */
export type Durability = "memory" | "everysec" | "always" | `replicated(${number})`;

/** INFO as a flat map, and the two settings it lacks where CONFIG GET is allowed. */
export interface ServerFacts {
  readonly info: ReadonlyMap<string, string>;
  readonly appendFsync?: string;
}

export interface Verdict {
  /** What an acknowledgement stands for on this server. */
  readonly durability: "memory" | "everysec" | "always";
  /** The append-only file is on and nobody may ask how it is flushed: a stated durability is taken at its word. */
  readonly isFlushUnknown: boolean;
  readonly warnings: readonly string[];
  /** Turn health red. */
  readonly problems: readonly string[];
  /** Those of the problems that refuse the start, unless a flag overrides. */
  readonly refusals: readonly string[];
}

/** `name:value` lines of INFO. */
export function parseInfo(text: string): ReadonlyMap<string, string> {
  const lines = text.split(/\r?\n/u).filter((line) => line.includes(":"));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]));
}

const MIN_REDIS = [7, 0] as const;
const MIN_VALKEY = [7, 2] as const;

function isOlder(version: string, [major, minor]: readonly [number, number]): boolean {
  const [haveMajor = 0, haveMinor = 0] = version.split(".").map(Number);
  return haveMajor < major || (haveMajor === major && haveMinor < minor);
}

/** Judges one server; each sentence names its fix. */
export function judgeServer({ info, appendFsync }: ServerFacts): Verdict {
  const refusals = [...versionProblems(info)];
  const policy = info.get("maxmemory_policy") ?? "unknown";
  if (policy !== "noeviction") {
    refusals.push(
      `maxmemory-policy is ${policy}: Redis may delete jobs. Run: redis-cli -u URL CONFIG SET maxmemory-policy noeviction`,
    );
  }
  const warnings: string[] = [];
  const hasAof = info.get("aof_enabled") === "1";
  if (!hasAof) {
    warnings.push(
      "The append-only file is off: a crash of Redis loses the jobs since its last snapshot. " +
        "Run: redis-cli -u URL CONFIG SET appendonly yes (and CONFIG REWRITE)",
    );
  } else if (appendFsync === undefined) {
    warnings.push(
      "CONFIG GET appendfsync is not permitted, so durability is stated as memory. Permit it, or set redis.durability.",
    );
  }
  const isFlushed = hasAof && (appendFsync === "everysec" || appendFsync === "always");
  return {
    durability: isFlushed ? appendFsync : "memory",
    isFlushUnknown: hasAof && appendFsync === undefined,
    warnings,
    problems: [...refusals, ...persistenceProblems(info)],
    refusals,
  };
}

function versionProblems(info: ReadonlyMap<string, string>): readonly string[] {
  const valkey = info.get("valkey_version");
  if (valkey !== undefined) {
    return isOlder(valkey, MIN_VALKEY) ? [`Valkey ${valkey} is too old. Install Valkey 7.2 or newer.`] : [];
  }
  const redis = info.get("redis_version") ?? "unknown";
  return isOlder(redis, MIN_REDIS) ? [`Redis ${redis} is too old. Install Redis 7.0 or newer.`] : [];
}

function persistenceProblems(info: ReadonlyMap<string, string>): string[] {
  const failing = ["aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"].filter(
    (name) => (info.get(name) ?? "ok") !== "ok",
  );
  return failing.map((name) => `Redis can not write its data to disk (${name} is err). Free disk space, see its log.`);
}

const STRENGTH = { memory: 0, everysec: 1, always: 2 } as const;

/** Why a configured durability is more than the servers give; undefined where it is not. */
export function durabilityProblem(wanted: Durability, verdict: Verdict, replicas: number): string | undefined {
  const count = replicaCount(wanted);
  if (count > 0) {
    return replicas >= count
      ? undefined
      : `redis.durability is ${wanted}, but ${replicas} replicas are connected. Add replicas, or lower redis.durability.`;
  }
  const needed = wanted === "everysec" || wanted === "always" ? wanted : "memory";
  if (verdict.isFlushUnknown || STRENGTH[verdict.durability] >= STRENGTH[needed]) return undefined;
  return (
    `redis.durability is ${wanted}, but Redis gives ${verdict.durability}. ` +
    `Run: redis-cli -u URL CONFIG SET appendonly yes; redis-cli -u URL CONFIG SET appendfsync ${needed} (or lower redis.durability)`
  );
}

/** n of `replicated(n)`, else 0. */
export function replicaCount(durability: string): number {
  return Number(/^replicated\((\d+)\)$/u.exec(durability)?.[1] ?? 0);
}
