/** A real redis-server for tests: in a directory of its own, gone at the end of the test in any case. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { Cluster, Redis } from "ioredis";
import { onTestFinished } from "vitest";

import { freePort } from "../../bin/demo/port.ts";

export interface RedisOptions {
  /** A TCP port beside the socket: a free one, or the one given. */
  readonly port?: true | number;
  /** Append-only file with this fsync policy; none unless told. */
  readonly aof?: "everysec" | "always";
  /** Further settings, as on the command line: `["--maxmemory", "8mb"]`. */
  readonly settings?: readonly string[];
  /** Of the server, beside what this process has. */
  readonly env?: Readonly<Record<string, string>>;
  /** Whoever starts it stops it: tests that run side by side are not told apart here. */
  readonly isOwned?: boolean;
}

export interface RestartOptions {
  /** Beside those of the first start. */
  readonly settings?: readonly string[];
  /** Does not wait until it answers: it will be reading its data for long. */
  readonly isLoading?: boolean;
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
  kill(signal: "SIGKILL" | "SIGTERM" | "SIGSTOP" | "SIGCONT"): Promise<void>;
  /** Starts it again on the same address and the same data. */
  restart(options?: RestartOptions): Promise<void>;
  /** Stops it and removes its data; repeating it does nothing. */
  stop(): Promise<void>;
}

/** Longest wait for a server to answer, in ms. */
const START_MS = 15_000;

/**
 * Starts a server and waits until it answers PING.
 * @throws Error with the fix when redis-server is not installed.
 */
export async function startRedis(options: RedisOptions = {}): Promise<TestRedis> {
  const server = new Server(options, await mkdtemp(join(tmpdir(), "horus-redis-")), await portOf(options.port));
  // Registered before anything can fail: a test that throws half-way leaves no process behind.
  if (options.isOwned !== true) stopAtEnd(server);
  try {
    await server.restart();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/** With the test that is running; a server shared by a file is stopped by its afterAll, or at the latest with the process. */
function stopAtEnd(server: Server): void {
  try {
    onTestFinished(async () => server.stop());
  } catch {
    // No test is running: beforeAll.
    server.stopWithProcess();
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

class Server implements TestRedis {
  readonly url: string;
  readonly port?: number;
  readonly socket: string;
  readonly #directory: string;
  readonly #arguments: readonly string[];
  readonly #env: NodeJS.ProcessEnv;
  readonly #clients: Redis[] = [];
  #child: ChildProcess | undefined;

  constructor(options: RedisOptions, directory: string, port: number | undefined) {
    this.#directory = directory;
    this.socket = join(directory, "redis.sock");
    this.#env = { ...process.env, ...options.env };
    if (port !== undefined) this.port = port;
    this.url = port === undefined ? `unix://${this.socket}` : `redis://127.0.0.1:${port}`;
    this.#arguments = [
      ...settings({ port: String(port ?? 0), bind: "127.0.0.1", unixsocket: this.socket, dir: directory, save: "" }),
      ...settings({ appendonly: options.aof === undefined ? "no" : "yes", loglevel: "warning", daemonize: "no" }),
      ...(options.aof === undefined ? [] : settings({ appendfsync: options.aof })),
      ...(options.settings ?? []),
    ];
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  client(): Redis {
    const client = new Redis({ path: this.socket, maxRetriesPerRequest: 1, disableClientInfo: true });
    // A killed server is the test's own doing.
    client.on("error", () => undefined);
    this.#clients.push(client);
    return client;
  }

  async kill(signal: "SIGKILL" | "SIGTERM" | "SIGSTOP" | "SIGCONT"): Promise<void> {
    const child = this.#child;
    // No pid: it was never started.
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ends = signal === "SIGKILL" || signal === "SIGTERM";
    const gone = ends ? once(child, "exit") : undefined;
    child.kill(signal);
    await gone;
  }

  async restart({ settings: further = [], isLoading = false }: RestartOptions = {}): Promise<void> {
    await this.kill("SIGTERM");
    const child = spawn("redis-server", [...this.#arguments, ...further], {
      env: this.#env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    if (child.pid !== undefined) endWithUs(child, child.pid);
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        output += chunk.toString();
      });
    }
    const failed = new Promise<never>((_, reject) => {
      child.once("error", (cause) => {
        reject(new Error("redis-server: apt-get install redis-server, or set REDIS_URL", { cause }));
      });
      child.once("exit", () => reject(new Error(`redis-server ended: ${output}`)));
    });
    await Promise.race([failed, answersPing(this.socket, isLoading)]);
    // From here on its end is the test's doing.
    failed.catch(() => undefined);
  }

  stopWithProcess(): void {
    process.once("exit", this.#killNow);
  }

  readonly #killNow = (): void => void this.#child?.kill("SIGKILL");

  async stop(): Promise<void> {
    process.off("exit", this.#killNow);
    for (const client of this.#clients.splice(0)) client.disconnect();
    // A stopped process takes SIGKILL all the same.
    await this.kill("SIGKILL");
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/**
 * A test process that is killed runs no cleanup: a shell that notices its end (of its standard input) takes the server
 * along, and goes when the server does.
 */
export function endWithUs(child: ChildProcess, pid: number): void {
  const guard = spawn("sh", ["-c", `cat; kill -9 ${pid}`], { stdio: ["pipe", "ignore", "ignore"] });
  child.once("exit", () => guard.kill("SIGKILL"));
}

function settings(wanted: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(wanted).flatMap(([name, value]) => [`--${name}`, value]);
}

/** The socket file is there before the server accepts, so connections are tried until one is answered. */
async function answersPing(socket: string, isLoading: boolean): Promise<void> {
  const deadline = Date.now() + START_MS;
  let last: unknown;
  while (Date.now() < deadline) {
    const client = new Redis({
      path: socket,
      lazyConnect: true,
      retryStrategy: null,
      disableClientInfo: true,
      enableReadyCheck: !isLoading,
    });
    client.on("error", (error) => {
      last = error;
    });
    try {
      await client.connect();
      await client.ping();
      return;
    } catch (error) {
      if (isLoading && error instanceof Error && error.message.startsWith("LOADING")) return;
      await sleep(5);
    } finally {
      client.disconnect();
    }
  }
  throw new Error(`redis-server did not answer within ${START_MS} ms`, { cause: last });
}

async function portOf(wanted: true | number | undefined): Promise<number | undefined> {
  return wanted === true ? freePort() : wanted;
}
