/**
 * The command connection: one ioredis client that never sends a command twice, never queues, and gives every call a
 * deadline. States: `wait` → connecting → ready ⇄ reconnecting → end; a call outside `ready` fails at once, not applied.
 */

import { Cluster, type CommonRedisOptions, Redis } from "ioredis";

import { errorText, SupervisorError } from "../errors.ts";
import type { Log } from "../log.ts";
import { Deadlines } from "./deadlines.ts";
import { RedisCommand } from "./redis-command.ts";
import { DeadlineError, isReached, toUnavailable } from "./redis-errors.ts";
import { parseRedisUrl, type RedisTarget } from "./redis-url.ts";

export interface ConnectionOptions {
  readonly url: string;
  readonly commandTimeoutMs: number;
  readonly log: Log;
  /** Never jumps, in ms. */
  readonly monotonicMs: () => number;
}

type Argument = string | number;

/** What may be asked of one server. */
export interface RedisNode {
  /** Its address, without secrets. */
  readonly shown: string;
  call(command: string, ...args: readonly Argument[]): Promise<unknown>;
}

/** Longest pause between two attempts to reconnect, in ms. */
const RECONNECT_MAX_MS = 2000;

/**
 * What every client of ours is made with (spec: jobs-and-redis, after rule 11). By default ioredis sends a command again
 * when the connection is cut after execution, and waits over a minute to report a dead server.
 */
function clientOptions(commandTimeoutMs: number) {
  return {
    lazyConnect: true,
    // Replies have one shape for every server and proxy.
    protocol: 2 as const,
    disableClientInfo: true,
    // 0 ends every command in flight with the connection; more would queue it for the next one.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    enableOfflineQueue: false,
    commandTimeout: commandTimeoutMs,
    connectTimeout: commandTimeoutMs,
    // A peer that vanished without a word: nothing came for longer than any command may take.
    socketTimeout: commandTimeoutMs + 1000,
    retryStrategy: reconnectDelay,
    // After a failover this address is a replica: look the master up again.
    reconnectOnError: (error) => error.message.startsWith("READONLY"),
  } satisfies CommonRedisOptions;
}

/** Exponential from 25 ms, capped, with jitter: many clients do not come back together. */
function reconnectDelay(times: number): number {
  const cap = Math.min(RECONNECT_MAX_MS, 25 * 2 ** Math.min(times, 10));
  return Math.ceil(cap * (0.5 + Math.random() / 2));
}

/** Makes an unconnected client for a target. */
export function createClient(target: RedisTarget, commandTimeoutMs: number): Redis | Cluster {
  const common = clientOptions(commandTimeoutMs);
  if (target.kind !== "cluster") return new Redis({ ...common, ...target.options });
  return new Cluster([...target.nodes], {
    lazyConnect: true,
    enableOfflineQueue: false,
    clusterRetryStrategy: reconnectDelay,
    clusterNodeRetryStrategy: reconnectDelay,
    // Off: it would send a command again whose connection was cut after execution.
    retryDelayOnFailover: 0,
    redisOptions: { ...common, ...target.options },
  });
}

/** Starts a client, and says why when it can not. */
export async function connect(client: Redis | Cluster, shown: string, timeoutMs: number): Promise<void> {
  let last: unknown;
  const keep = (error: unknown): void => {
    last = error;
  };
  // connect() itself rejects without a cause; ECONNREFUSED comes as an event alone.
  client.on("error", keep);
  client.on("node error", keep);
  try {
    // A Cluster asks any one of its nodes whether it is ready. When that node is away it connects again, and forgets the promise.
    const ready = new Promise<void>((resolve) => client.once("ready", resolve));
    await withDeadline(Promise.race([client.connect(), ready]), timeoutMs);
  } catch (error) {
    // Connected, and not ready: the server answers the ready check with `loading:1`.
    const isLoading = last === undefined && client.status === "connect";
    client.disconnect();
    const detail = describe(last ?? error, isLoading);
    throw new SupervisorError("unavailable", {
      message: `${shown}: cannot connect to Redis (${detail}). ${fixOf(detail)}`,
      data: { applied: "no", reason: "not_connected" },
      cause: new Error(detail),
    });
  } finally {
    client.off("error", keep);
    client.off("node error", keep);
  }
}

/** A server that answers so runs already. */
function fixOf(detail: string): string {
  return /^(?:WRONGPASS|NOAUTH)\b/u.test(detail)
    ? "Give user and password in --redis-url: redis://USER:PASSWORD@HOST:PORT."
    : "Start Redis, or pass --redis-url.";
}

/** Lets go of the sockets; a ready client is waited for, so that it says it is not ready when this has resolved. */
export async function disconnect(client: Redis | Cluster): Promise<void> {
  // Not events.once: a server that hangs makes an error on the way to the end, and is let go of all the same.
  const ended = client.status === "ready" ? new Promise((resolve) => client.once("end", resolve)) : undefined;
  client.disconnect();
  await ended;
}

function describe(cause: unknown, isLoading: boolean): string {
  if (isLoading) return "it is still loading its data";
  // localhost may stand for several addresses, each with an error of its own.
  return cause instanceof AggregateError ? cause.errors.map(errorText).join(", ") : errorText(cause);
}

/** Rejects with {@link DeadlineError} when the promise takes longer; the promise itself goes on, unheard. */
export async function withDeadline<Value>(promise: Promise<Value>, ms: number): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DeadlineError(ms)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function send(client: Redis | Cluster, command: string, args: readonly Argument[]): Promise<unknown> {
  return client.sendCommand(new RedisCommand(command, args));
}

/** One command connection, or one to each node of a Cluster. */
export class RedisConnection implements RedisNode {
  readonly target: RedisTarget;
  readonly #options: ConnectionOptions;
  readonly #client: Redis | Cluster;
  readonly #deadlines: Deadlines;
  #downSinceMs: number | undefined;
  #outageMs = 0;

  /** @throws Error when the URL is none. */
  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.target = parseRedisUrl(options.url);
    this.#client = createClient(this.target, options.commandTimeoutMs);
    // ioredis' own timeout first: it knows the command. These also hold when ioredis never answers.
    this.#deadlines = new Deadlines(options.commandTimeoutMs + 500);
    // Without a listener ioredis prints to the console. What matters comes back from the calls.
    this.#client.on("error", (error: unknown) => {
      options.log.debug(
        { event: "redis_connection", redis: this.target.shown, error: errorText(error) },
        "redis error",
      );
    });
  }

  /** Connects; waits for a server that is still loading as long as a command may take, and 5 s more. */
  async start(): Promise<void> {
    await connect(this.#client, this.target.shown, this.#options.commandTimeoutMs + 5000);
  }

  async stop(): Promise<void> {
    await disconnect(this.#client);
  }

  /** Calls back whenever the connection was lost and is there again. */
  onReconnect(callback: () => void): void {
    this.#client.on("ready", callback);
  }

  /** Calls back when the connection is lost, and again for each attempt to connect that fails. */
  onLost(callback: () => void): void {
    this.#client.on("close", callback);
  }

  get shown(): string {
    return this.target.shown;
  }

  get commandTimeoutMs(): number {
    return this.#options.commandTimeoutMs;
  }

  get isUp(): boolean {
    return this.#client.status === "ready";
  }

  /** The longest time Redis was out of reach since this was last asked, in ms by the monotonic clock. */
  takeOutageMs(): number {
    const outageMs = this.#outageMs;
    this.#outageMs = 0;
    return outageMs;
  }

  /**
   * Sends one command, once.
   * @throws SupervisorError("unavailable") whose data say whether it was applied.
   */
  async call(command: string, ...args: readonly Argument[]): Promise<unknown> {
    return this.#guard(send(this.#client, command, args));
  }

  /** Sends commands in one write, in order; each answer is a value or an Error. Keys must lie in one shard. */
  async pipeline(commands: readonly (readonly [string, ...Argument[]])[]): Promise<readonly unknown[]> {
    const pipeline = this.#client.pipeline();
    for (const [command, ...args] of commands) pipeline.call(command, ...args);
    const answers = (await this.#guard(pipeline.exec())) ?? [];
    return answers.map(([error, value]) => error ?? value);
  }

  /** Every master, for questions about the server itself. */
  masters(): readonly RedisNode[] {
    if (!(this.#client instanceof Cluster)) return [this];
    return this.#client.nodes("master").map((node) => ({
      shown: `${node.options.host}:${node.options.port}`,
      call: async (command, ...args) => this.#guard(send(node, command, args)),
    }));
  }

  async #guard<Value>(sent: Promise<Value>): Promise<Value> {
    const startedMs = this.#options.monotonicMs();
    try {
      const answer = await this.#deadlines.hold(sent);
      this.#reached();
      return answer;
    } catch (error) {
      if (isReached(error)) this.#reached();
      else this.#downSinceMs = Math.min(this.#downSinceMs ?? startedMs, startedMs);
      throw toUnavailable(error);
    }
  }

  #reached(): void {
    if (this.#downSinceMs === undefined) return;
    this.#outageMs = Math.max(this.#outageMs, this.#options.monotonicMs() - this.#downSinceMs);
    this.#downSinceMs = undefined;
  }
}
