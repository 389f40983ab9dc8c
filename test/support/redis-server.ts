/** A redis-server as a process: started, signalled, moved to another address, ended with its data. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rename, rm } from "node:fs/promises";
import { Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { Redis } from "ioredis";

import { endWithUs } from "./guard.ts";

export type RedisSignal = "SIGKILL" | "SIGTERM" | "SIGSTOP" | "SIGCONT";

export interface RedisSettings {
  readonly port?: number;
  /** Append-only file with this fsync policy; none unless told. */
  readonly aof?: "everysec" | "always";
  /** Further settings, as on the command line: `["--maxmemory", "8mb"]`. */
  readonly settings?: readonly string[];
  /** Of the server, beside what this process has. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface RestartOptions {
  /** Beside those of the first start. */
  readonly settings?: readonly string[];
  /** Does not wait until it answers: it will be reading its data for long. */
  readonly isLoading?: boolean;
}

/** Longest wait for a server to answer, in ms. */
const START_MS = 15_000;

export class RedisServer {
  /** Of its data and its socket; empty before its first start. */
  readonly directory: string;
  readonly #settings: RedisSettings;
  #child: ChildProcess | undefined;
  #moves = 0;
  #isSignalled = false;

  constructor(directory: string, settings: RedisSettings = {}) {
    this.directory = directory;
    this.#settings = settings;
  }

  get socket(): string {
    return join(this.directory, `redis-${this.#moves}.sock`);
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get isUp(): boolean {
    // No pid: it could not be started.
    return this.#child?.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Was it sent a signal, or started again? */
  get isSignalled(): boolean {
    return this.#isSignalled;
  }

  /** Starts it and waits until it answers PING. @throws Error with the fix when redis-server is not installed */
  async start({ settings: further = [], isLoading = false }: RestartOptions = {}): Promise<void> {
    const child = spawn("redis-server", [...this.#arguments(), ...further], {
      env: { ...process.env, ...this.#settings.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    endWithUs(child);
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        output += chunk.toString();
      });
      if (stream instanceof Socket) stream.unref();
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

  /** Sends a signal; for SIGKILL and SIGTERM resolves once the server is gone. */
  async kill(signal: RedisSignal): Promise<void> {
    this.#isSignalled = true;
    const child = this.#child;
    if (child === undefined || !this.isUp) return;
    const ends = signal === "SIGKILL" || signal === "SIGTERM";
    const gone = ends ? once(child, "exit") : undefined;
    child.kill(signal);
    await gone;
    // Which it knows by its first name alone.
    if (signal === "SIGTERM") await rm(this.socket, { force: true });
  }

  /** Gives its socket another name: from now on nobody gets to it who knows the old one alone. */
  async move(): Promise<void> {
    const old = this.socket;
    this.#moves += 1;
    await rename(old, this.socket);
  }

  /** Does this process wait for its end before it ends itself? It does from the start on. */
  setAwaited(isAwaited: boolean): void {
    if (isAwaited) this.#child?.ref();
    else this.#child?.unref();
  }

  /** Ends it, also when it is stopped, and removes its data. */
  async remove(): Promise<void> {
    await this.kill("SIGKILL");
    await rm(this.directory, { recursive: true, force: true });
  }

  #arguments(): readonly string[] {
    const { port = 0, aof, settings = [] } = this.#settings;
    return [
      ...words({ port: String(port), bind: "127.0.0.1", unixsocket: this.socket, dir: this.directory, save: "" }),
      ...words({ appendonly: aof === undefined ? "no" : "yes", loglevel: "warning", daemonize: "no" }),
      ...(aof === undefined ? [] : words({ appendfsync: aof })),
      ...settings,
    ];
  }
}

function words(settings: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
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
