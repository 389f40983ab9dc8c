/**
 * Servers that nobody uses, kept for who asks next: a start costs some fifty times as much processor time as to empty one.
 * Kept is what cannot be told from a server just started: never signalled, settings, users and files as at its start, and
 * nobody connected. It is moved first, so whoever was connected before and tries again finds nobody.
 */
import { readdir } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { Redis } from "ioredis";

import type { RedisServer } from "./redis-server.ts";

/** A server that does not answer for so long is none to keep, in ms. */
const ANSWER_MS = 1000;
/** Who has hung up is gone from Redis' list by then, in ms. */
const HANG_UP_MS = 100;
/** Above it, the end of the process is the faster way to empty it. */
const MAX_KEYS = 20_000;
/** All that outlives connections, data apart, and that a client can bring about. */
const EMPTYING = [
  ["FLUSHALL", "SYNC"],
  ["SCRIPT", "FLUSH", "SYNC"],
  ["FUNCTION", "FLUSH", "SYNC"],
  ["CONFIG", "RESETSTAT"],
  ["SLOWLOG", "RESET"],
  ["LATENCY", "RESET"],
  ["ACL", "LOG", "RESET"],
] as const;

const kept: RedisServer[] = [];
const looks = new WeakMap<RedisServer, string>();

/** A kept server, which is no longer kept. */
export function takeKept(): RedisServer | undefined {
  let server = kept.pop();
  // Something else may have ended it.
  while (server !== undefined && !server.isUp) server = kept.pop();
  server?.setAwaited(true);
  return server;
}

/** Notes how it is at its start. What was not noted is never kept. */
export async function noteStart(server: RedisServer): Promise<void> {
  await asking(server, async (client) => looks.set(server, await lookOf(client)));
}

/** Empties and keeps it. @returns false when it is none to keep; whoever asks ends it then */
export async function keep(server: RedisServer): Promise<boolean> {
  if (!looks.has(server) || server.isSignalled || !server.isUp) return false;
  try {
    await server.move();
    // Connections are accepted in their order: who came by the old name is on the list by the time we are.
    const isAsNew = await asking(server, async (client) => (await isUntouched(server, client)) && emptied(client));
    if (isAsNew) {
      server.setAwaited(false);
      kept.push(server);
    }
    return isAsNew;
  } catch {
    // It does not answer, or not to us: none to keep.
    return false;
  }
}

async function isUntouched(server: RedisServer, client: Redis): Promise<boolean> {
  return (
    (await isAlone(client)) &&
    (await client.dbsize()) <= MAX_KEYS &&
    (await lookOf(client)) === looks.get(server) &&
    (await readdir(server.directory)).join() === basename(server.socket)
  );
}

async function isAlone(client: Redis): Promise<boolean> {
  const startMs = performance.now();
  for (;;) {
    const clients = String(await client.client("LIST"))
      .trim()
      .split("\n");
    if (clients.length === 1) return true;
    if (performance.now() - startMs > HANG_UP_MS) return false;
    await sleep(2);
  }
}

/** Settings and users. */
async function lookOf(client: Redis): Promise<string> {
  return JSON.stringify([await client.config("GET", "*"), await client.call("ACL", "LIST")]);
}

async function emptied(client: Redis): Promise<true> {
  await Promise.all(EMPTYING.map(async ([command, ...words]) => client.call(command, ...words)));
  return true;
}

async function asking<T>(server: RedisServer, ask: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis({
    path: server.socket,
    lazyConnect: true,
    retryStrategy: null,
    maxRetriesPerRequest: 0,
    connectTimeout: ANSWER_MS,
    commandTimeout: ANSWER_MS,
    disableClientInfo: true,
    enableReadyCheck: false,
  });
  // What fails rejects a command.
  client.on("error", () => undefined);
  try {
    await client.connect();
    return await ask(client);
  } finally {
    client.disconnect();
  }
}
