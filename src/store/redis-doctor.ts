/** A look at a Redis without touching its data: for people who ask what is wrong. */
import type { Log } from "../log.ts";
import { RedisConnection } from "./redis-connection.ts";
import { inspect } from "./redis-watch.ts";
import { asList, asNumber } from "./reply.ts";
import type { Durability } from "./server-facts.ts";

export interface RedisReport {
  /** The URL without its secrets. */
  readonly redis: string;
  /** What an acknowledgement would stand for. */
  readonly durability: string;
  readonly warnings: readonly string[];
  readonly problems: readonly string[];
  /** Redis' clock minus ours, in ms; half the round trip is allowed for. */
  readonly clockDifferenceMs: number;
  readonly roundTripMs: number;
}

/** Connects, asks, and lets go. @throws SupervisorError when it can not be reached, naming the URL and the fix. */
export async function examineRedis(options: {
  readonly url: string;
  readonly durability: Durability | "auto";
  readonly commandTimeoutMs: number;
  readonly log: Log;
}): Promise<RedisReport> {
  const connection = new RedisConnection({ ...options, monotonicMs: () => performance.now() });
  try {
    await connection.start();
    const findings = await inspect(connection, options.durability);
    const [node] = connection.masters();
    if (node === undefined) throw new Error("The connection has no server behind it.");
    const startedMs = performance.now();
    const [seconds, micros] = asList(await node.call("TIME"));
    const roundTripMs = performance.now() - startedMs;
    const redisMs = asNumber(seconds) * 1000 + asNumber(micros) / 1000;
    return {
      redis: connection.target.shown,
      ...findings,
      clockDifferenceMs: Math.round(redisMs - (Date.now() - roundTripMs / 2)),
      roundTripMs: Math.round(roundTripMs * 10) / 10,
    };
  } finally {
    await connection.stop();
  }
}
