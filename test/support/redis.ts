/**
 * A real redis-server for tests: in a directory of its own, gone at the end of the test in any case. One without wishes may
 * have served earlier tests of this process, under other addresses (redis-pool.ts).
 */
import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";

import { Cluster, Redis } from "ioredis";
import { onTestFinished } from "vitest";

import { freePort } from "../../bin/demo/port.ts";
import { ourDirectory } from "./guard.ts";
import { keep, noteStart, takeKept } from "./redis-pool.ts";
import { RedisServer, type RedisSettings, type RedisSignal, type RestartOptions } from "./redis-server.ts";

export interface RedisOptions extends Omit<RedisSettings, "port"> {
  /** A TCP port beside the socket: a free one, or the one given. */
  readonly port?: true | number;
  /** Whoever starts it stops it: tests that run side by side are not told apart here. */
  readonly isOwned?: boolean;
}

export interface TestRedis {
  /** `unix:///…`, or `redis://127.0.0.1:port` where a port was asked for. */
  readonly url: string;
  readonly port?: number;
  readonly socket: string;
  /** Process id of the present server. */
  readonly pid: number;
  /** A plain client; closed with the server. */
  client(): Redis;
  /** Sends a signal; for SIGKILL and SIGTERM resolves once the server is gone. */
  kill(signal: RedisSignal): Promise<void>;
  /** Starts it again on the same address and the same data. */
  restart(options?: RestartOptions): Promise<void>;
  /** Stops it and removes its data; repeating it does nothing. */
  stop(): Promise<void>;
}

/**
 * Starts a server, or takes a kept one, and waits until it answers PING.
 * @throws Error with the fix when redis-server is not installed.
 */
export async function startRedis(options: RedisOptions = {}): Promise<TestRedis> {
  const { isOwned = false, port: wanted, ...settings } = options;
  const port = await portOf(wanted);
  const isPlain = Object.values(options).every((wish) => wish === undefined);
  const kept = isPlain ? takeKept() : undefined;
  const server = kept ?? (await newServer(settings, port));
  const handle = new Handle(server, port);
  // Registered before anything can fail: a test that throws half-way leaves no process behind.
  if (!isOwned) stopAtEnd(handle);
  if (kept !== undefined) return handle;
  try {
    await server.start();
    if (isPlain) await noteStart(server);
  } catch (error) {
    await handle.stop();
    throw error;
  }
  return handle;
}

async function newServer(settings: Omit<RedisSettings, "port">, port: number | undefined): Promise<RedisServer> {
  const directory = await mkdtemp(join(ourDirectory(), "redis-"));
  return new RedisServer(directory, port === undefined ? settings : { ...settings, port });
}

/** With the test that is running; a server shared by a file is stopped by its afterAll, or at the latest with the process. */
function stopAtEnd(handle: Handle): void {
  try {
    onTestFinished(async () => handle.stop());
  } catch {
    // No test is running: beforeAll.
  }
}

/** Every key of the database, of all masters of a Cluster, sorted: what leak checks compare. */
export async function allKeys(client: Redis | Cluster): Promise<readonly string[]> {
  const keys = new Set<string>();
  for (const node of client instanceof Cluster ? client.nodes("master") : [client]) {
    let cursor = "0";
    do {
      const [next, page] = await node.scan(cursor, "COUNT", 1000);
      for (const key of page) keys.add(key);
      cursor = next;
    } while (cursor !== "0");
  }
  return [...keys].toSorted();
}

/** What a test holds: of no use once it is stopped, also where the server itself goes on for another test. */
class Handle implements TestRedis {
  readonly url: string;
  readonly port?: number;
  readonly socket: string;
  readonly #clients: Redis[] = [];
  /** None once it is stopped. */
  #server: RedisServer | undefined;
  #stopped: Promise<void> | undefined;

  constructor(server: RedisServer, port: number | undefined) {
    this.#server = server;
    this.socket = server.socket;
    if (port !== undefined) this.port = port;
    this.url = port === undefined ? `unix://${this.socket}` : `redis://127.0.0.1:${port}`;
  }

  get pid(): number {
    return this.#server?.pid ?? 0;
  }

  client(): Redis {
    const client = new Redis({ path: this.socket, maxRetriesPerRequest: 1, disableClientInfo: true });
    // A killed server is the test's own doing.
    client.on("error", () => undefined);
    this.#clients.push(client);
    return client;
  }

  async kill(signal: RedisSignal): Promise<void> {
    await this.#server?.kill(signal);
  }

  async restart(options?: RestartOptions): Promise<void> {
    if (this.#server === undefined) throw new Error("This server was stopped.");
    await this.#server.kill("SIGTERM");
    await this.#server.start(options);
  }

  async stop(): Promise<void> {
    this.#stopped ??= this.#end();
    return this.#stopped;
  }

  async #end(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.disconnect();
    const server = this.#server;
    this.#server = undefined;
    if (server !== undefined && !(await keep(server))) await server.remove();
  }
}

async function portOf(wanted: true | number | undefined): Promise<number | undefined> {
  return wanted === true ? freePort() : wanted;
}
