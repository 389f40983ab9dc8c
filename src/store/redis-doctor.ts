/** A look at a Redis without touching its data: for people who ask what is wrong. */
import type { Log } from "../log.ts";
import { RedisConnection, type RedisNode } from "./redis-connection.ts";
import { unavailableText } from "./redis-errors.ts";
import { readMeta } from "./redis-meta.ts";
import { lackingRights } from "./redis-rights.ts";
import { inspect, readFacts } from "./redis-watch.ts";
import { asList, asNumber, asText } from "./reply.ts";
import {
  clockCheck,
  latencyCheck,
  memoryCheck,
  type RedisCheck,
  rightsCheck,
  serverCheck,
  slotsCheck,
} from "./server-checks.ts";
import { type Durability, parseInfo } from "./server-facts.ts";

export interface RedisReport {
  /** The URL without its secrets. */
  readonly redis: string;
  /** What an acknowledgement would stand for. */
  readonly durability: string;
  /** The identity of the supervisor whose data they are; undefined where none has started on them, or nobody says. */
  readonly owner: string | undefined;
  readonly warnings: readonly string[];
  readonly problems: readonly string[];
  /** Everything else that was looked at. */
  readonly checks: readonly RedisCheck[];
}

/** Round trips that are measured. */
const ROUND_TRIPS = 20;

/** Connects, asks, and lets go. @throws SupervisorError when it can not be reached, naming the URL and the fix. */
export async function examineRedis(options: {
  readonly url: string;
  readonly prefix: string;
  readonly durability: Durability | "auto";
  readonly commandTimeoutMs: number;
  readonly log: Log;
}): Promise<RedisReport> {
  const connection = new RedisConnection({ ...options, monotonicMs: () => performance.now() });
  try {
    await connection.start();
    const masters = connection.masters();
    const { alive, checks } = await roundOf(masters);
    const findings = await inspect({ masters: () => alive }, options.durability);
    const isCluster = connection.target.kind === "cluster";
    return {
      redis: connection.shown,
      ...findings,
      owner: await ownerOf(connection, options.prefix),
      checks: [...checks, ...(await look(alive, options)), ...(isCluster ? [await lookAtSlots(masters, alive)] : [])],
    };
  } finally {
    await connection.stop();
  }
}

/** What keeps it from being told is told by other checks. */
async function ownerOf(connection: RedisConnection, prefix: string): Promise<string | undefined> {
  try {
    return (await readMeta(connection, prefix))?.identity;
  } catch {
    return undefined;
  }
}

/** Which servers answer, and a fault for each that does not. @throws what the last of them said, when none does */
async function roundOf(
  masters: readonly RedisNode[],
): Promise<{ readonly alive: readonly RedisNode[]; readonly checks: readonly RedisCheck[] }> {
  const answers = await Promise.allSettled(masters.map(async (node) => node.call("PING")));
  const alive = masters.filter((_, index) => answers[index]?.status === "fulfilled");
  const checks = masters.flatMap((node, index): RedisCheck[] => {
    const answer = answers[index];
    if (answer?.status !== "rejected") return [];
    if (alive.length === 0) throw answer.reason;
    return [
      { what: `Redis ${node.shown}`, verdict: "fault", says: `does not answer (${unavailableText(answer.reason)})` },
    ];
  });
  return { alive, checks };
}

async function look(
  servers: readonly RedisNode[],
  scope: { readonly url: string; readonly prefix: string },
): Promise<readonly RedisCheck[]> {
  const facts = await Promise.all(servers.map(readFacts));
  const [node] = servers;
  if (node === undefined) throw new Error("The connection has no server behind it.");
  const lacking = await Promise.all(servers.map(async (server) => lackingRights(server, scope)));
  return [
    serverCheck(facts),
    memoryCheck(facts.map(({ info }) => info)),
    ...(await measure(node)),
    rightsCheck(scope.prefix, [...new Set(lacking.flat())]),
  ];
}

/** Latency and clock by the same calls: the quickest tells the time best, half of it is the way back. */
async function measure(node: RedisNode): Promise<readonly RedisCheck[]> {
  const trips: { readonly ms: number; readonly differenceMs: number }[] = [];
  for (let trip = 0; trip < ROUND_TRIPS; trip += 1) {
    const startedMs = performance.now();
    const [seconds, micros] = asList(await node.call("TIME"));
    const ms = performance.now() - startedMs;
    const redisMs = asNumber(seconds) * 1000 + asNumber(micros) / 1000;
    trips.push({ ms, differenceMs: Math.round(redisMs - (Date.now() - ms / 2)) });
  }
  const [quickest] = trips.toSorted((a, b) => a.ms - b.ms);
  return [latencyCheck(trips.map(({ ms }) => ms)), clockCheck(quickest?.differenceMs ?? 0)];
}

async function lookAtSlots(masters: readonly RedisNode[], alive: readonly RedisNode[]): Promise<RedisCheck> {
  const infos = await Promise.all(alive.map(async (node) => parseInfo(asText(await node.call("CLUSTER", "INFO")))));
  const silent = new Set(masters.filter((node) => !alive.includes(node)).map(({ shown }) => shown));
  const ranges = asList(await alive[0]?.call("CLUSTER", "SLOTS")).map((range) => asList(range));
  const slots = ranges.map(([first, last, owner]) => {
    const [host, port] = asList(owner);
    return silent.has(`${asText(host)}:${asNumber(port)}`) ? asNumber(last) - asNumber(first) + 1 : 0;
  });
  return slotsCheck(
    infos,
    slots.reduce((all, count) => all + count, 0),
  );
}
