/** What a person is told about a Redis, one line a subject, each fault with its fix: pure. */

import { counted } from "../counted.ts";

/** One thing that was looked at. */
export interface RedisCheck {
  readonly what: string;
  readonly verdict: "good" | "warning" | "fault";
  /** What was found, and the fix where it is not good. */
  readonly says: string;
}

type Info = ReadonlyMap<string, string>;

/** Beyond this, windows of signed calls and tickets get short. */
const CLOCK_LIMIT_MS = 5000;
/** Every job takes several round trips. */
const SLOW_MS = 50;
/** From this part of the room on it is time to do something. */
const NEARLY_FULL = 0.8;
const SLOTS = 16_384;
const MIB = 1024 * 1024;

const MORE_ROOM =
  "Raise it (redis-cli -u URL CONFIG SET maxmemory …, then CONFIG REWRITE), or keep less: jobs.retention_seconds, _jobs and _bytes";

/** Versions, policy and append-only file, as they are. What is wrong with them is told by the store's own judgement. */
export function serverCheck(servers: readonly { readonly info: Info; readonly appendFsync?: string }[]): RedisCheck {
  const says = servers.map(({ info, appendFsync }) => {
    const valkey = info.get("valkey_version");
    const version = valkey === undefined ? `Redis ${info.get("redis_version") ?? "unknown"}` : `Valkey ${valkey}`;
    const aof = info.get("aof_enabled") === "1" ? `on, ${appendFsync ?? "flushed nobody knows how"}` : "off";
    return `${version}, maxmemory-policy ${info.get("maxmemory_policy") ?? "unknown"}, append-only file ${aof}`;
  });
  return { what: "Redis server", verdict: "good", says: [...new Set(says)].join("; ") };
}

/** Room on the server that has the least left. */
export function memoryCheck(servers: readonly Info[]): RedisCheck {
  const what = "Redis memory";
  const rooms = servers.map(roomOf).toSorted((a, b) => b.part - a.part);
  const [{ used, bound, part, isSet } = roomOf(new Map())] = rooms;
  const found = `${mib(used)} of ${mib(bound)}${isSet ? " (maxmemory)" : " in the machine, no maxmemory"}`;
  if (isSet && part >= 1) return { what, verdict: "fault", says: `${found}: full, new jobs are refused. ${MORE_ROOM}` };
  if (part >= NEARLY_FULL) return { what, verdict: "warning", says: `${found}: nearly full. ${MORE_ROOM}` };
  return { what, verdict: "good", says: found };
}

function roomOf(info: Info): { readonly used: number; readonly bound: number; part: number; isSet: boolean } {
  const [used, maxmemory, machine] = ["used_memory", "maxmemory", "total_system_memory"].map((name) =>
    Number(info.get(name) ?? 0),
  );
  const isSet = (maxmemory ?? 0) > 0;
  const bound = (isSet ? maxmemory : machine) ?? 0;
  return { used: used ?? 0, bound, part: bound === 0 ? 0 : (used ?? 0) / bound, isSet };
}

function mib(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`;
}

/** Round trips one after the other, in ms; at least one. */
export function latencyCheck(roundTripsMs: readonly number[]): RedisCheck {
  const sorted = roundTripsMs.toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const isSlow = median > SLOW_MS;
  const fix = isSlow
    ? ". Every job takes several: move Redis nearer, or find what holds it up: redis-cli --latency, redis-cli SLOWLOG GET"
    : "";
  const says = `${tenths(median)} ms in the median of ${sorted.length}, ${tenths(sorted.at(-1) ?? 0)} ms at most${fix}`;
  return { what: "Redis round trip", verdict: isSlow ? "warning" : "good", says };
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/** Redis' clock minus ours, in ms. */
export function clockCheck(differenceMs: number): RedisCheck {
  const isOff = Math.abs(differenceMs) > CLOCK_LIMIT_MS;
  const fix = isOff ? ". Set the clocks, with NTP on both machines" : "";
  const direction = differenceMs < 0 ? "behind" : "ahead of";
  const says = `Redis' is ${Math.abs(differenceMs)} ms ${direction} ours${fix}`;
  return { what: "clock", verdict: isOff ? "fault" : "good", says };
}

/** `lacking`: the names of commands. */
export function rightsCheck(prefix: string, lacking: readonly string[]): RedisCheck {
  const what = "Redis user";
  if (lacking.length === 0) return { what, verdict: "good", says: "has every right of a supervisor" };
  // Without CONFIG GET a supervisor works, and can not tell how the append-only file is flushed.
  const isBearable = lacking.every((name) => name === "config|get");
  const says =
    `may not ${lacking.join(", ")} on ${prefix}:*, as a supervisor must. ` +
    "Give it the rules of: supervisor doctor --acl";
  return { what, verdict: isBearable ? "warning" : "fault", says };
}

/** CLUSTER INFO as each master answers it, and the slots of those that did not answer us: the others notice it later. */
export function slotsCheck(masters: readonly Info[], silentSlots: number): RedisCheck {
  const what = "Redis Cluster";
  const count = (info: Info, name: string): number => Number(info.get(name) ?? 0);
  const assigned = Math.min(...masters.map((info) => count(info, "cluster_slots_assigned")));
  const failing = Math.max(
    silentSlots,
    ...masters.map((info) => count(info, "cluster_slots_fail") + count(info, "cluster_slots_pfail")),
  );
  if (assigned < SLOTS) {
    const says = `${assigned} of ${SLOTS} slots are given to a master: jobs of the others are refused`;
    return { what, verdict: "fault", says: `${says}. Run: redis-cli --cluster fix HOST:PORT` };
  }
  if (failing > 0) {
    const says = `the master of ${counted(failing, "slot")} does not answer: their jobs stand still`;
    return {
      what,
      verdict: "fault",
      says: `${says}. Start it again, or on a replica of it: redis-cli CLUSTER FAILOVER FORCE`,
    };
  }
  if (masters.some((info) => info.get("cluster_state") !== "ok")) {
    return { what, verdict: "fault", says: "its state is not ok. See: redis-cli --cluster check HOST:PORT" };
  }
  return { what, verdict: "good", says: `all ${SLOTS} slots on ${counted(masters.length, "master")}` };
}
