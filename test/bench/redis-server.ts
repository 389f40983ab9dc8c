/** A Redis of the bench's own: on a unix socket, nothing written to disk, gone with its directory. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Redis } from "ioredis";

/** A server that does not answer by then never will, in ms. */
const START_MS = 10_000;

export class RedisServer implements AsyncDisposable {
  /** Path of its socket. */
  readonly socket: string;
  /** For the bench's own looks at the data. */
  readonly client: Redis;
  readonly #directory: string;
  readonly #child: ChildProcess;

  private constructor(directory: string) {
    this.#directory = directory;
    this.socket = join(directory, "redis.sock");
    const settings = [
      "--port",
      "0",
      "--unixsocket",
      this.socket,
      "--dir",
      directory,
      "--save",
      "",
      "--appendonly",
      "no",
    ];
    this.#child = spawn("redis-server", settings, { stdio: "ignore" });
    this.client = new Redis({ path: this.socket, lazyConnect: true, retryStrategy: () => 20 });
    // ioredis prints errors nobody listens to; those that matter reject a command.
    this.client.on("error", () => undefined);
  }

  /** Resolves when it answers. @throws Error with the fix when there is no redis-server. */
  static async start(): Promise<RedisServer> {
    const server = new RedisServer(await mkdtemp(join(tmpdir(), "horus-bench-redis-")));
    const answers = server.#answers();
    // The client is closed when it does not start: the reason is what start() says.
    answers.catch(() => undefined);
    try {
      await Promise.race([answers, server.#fails()]);
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async version(): Promise<string> {
    const info = await this.client.info("server");
    return /(?:valkey|redis)_version:(\S+)/u.exec(info)?.[1] ?? "unknown";
  }

  /** Memory its data take, with what it needs to find them. */
  async usedBytes(): Promise<number> {
    return Number(/^used_memory:(\d+)/mu.exec(await this.client.info("memory"))?.[1] ?? Number.NaN);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.disconnect();
    if (this.#child.pid !== undefined && this.#child.exitCode === null) {
      const gone = once(this.#child, "exit");
      this.#child.kill("SIGKILL");
      await gone;
    }
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #answers(): Promise<void> {
    await this.client.connect().catch(() => undefined);
    await this.client.ping();
  }

  async #fails(): Promise<never> {
    const signal = AbortSignal.timeout(START_MS);
    const reason = await Promise.race([
      once(this.#child, "error", { signal }).then(([error]) => String(error)),
      once(this.#child, "exit", { signal }).then(([code]) => `exit code ${String(code)}`),
    ]).catch(() => `no answer within ${START_MS} ms`);
    throw new Error(`redis-server does not start (${reason}). Run: sudo apt-get install -y redis-server`);
  }
}
