/** The subscriber connection: channels survive a lost connection, messages do not (they are hints). */
import type { Cluster, Redis } from "ioredis";

import { errorText } from "../errors.ts";
import { type ConnectionOptions, connect, createClient, disconnect } from "./redis-connection.ts";
import { parseRedisUrl, type RedisTarget } from "./redis-url.ts";

/** Called with a message, or with undefined when messages may have been missed. */
export type ChannelCallback = (message: string | undefined) => void;

/** Between two signs of life on a connection that otherwise only listens, in ms. */
const PING_MS = 10_000;

/** One connection for all channels of a process (spec: jobs-and-redis, rule 7). */
export class RedisSubscriber {
  readonly #client: Redis | Cluster;
  readonly #target: RedisTarget;
  readonly #options: ConnectionOptions;
  readonly #channels = new Map<string, Set<ChannelCallback>>();
  #ping: NodeJS.Timeout | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#target = parseRedisUrl(options.url);
    this.#client = createClient(this.#target, options.commandTimeoutMs);
    this.#client.on("error", (error: unknown) => {
      options.log.debug({ event: "redis_subscriber", error: errorText(error) }, "redis subscriber error");
    });
    this.#client.on("message", (channel: string, message: string) => this.#deliver(channel, message));
    this.#client.on("ready", () => {
      void this.#resubscribe();
    });
  }

  async start(): Promise<void> {
    await connect(this.#client, this.#target.shown, this.#options.commandTimeoutMs + 5000);
    // A half-open connection stays silent for ever; a listener would never notice.
    this.#ping = setInterval(() => {
      if (this.#client.status === "ready") this.#client.ping().catch(() => this.#client.disconnect(true));
    }, PING_MS).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#ping);
    this.#channels.clear();
    await disconnect(this.#client);
  }

  /** Listens on a channel until the returned function is called. */
  on(channel: string, callback: ChannelCallback): () => void {
    const callbacks = this.#channels.get(channel) ?? new Set();
    this.#channels.set(channel, callbacks.add(callback));
    if (callbacks.size === 1 && this.#client.status === "ready") void this.#send("subscribe", [channel]);
    return () => {
      if (!callbacks.delete(callback) || callbacks.size > 0) return;
      this.#channels.delete(channel);
      if (this.#client.status === "ready") void this.#send("unsubscribe", [channel]);
    };
  }

  async #resubscribe(): Promise<void> {
    const channels = [...this.#channels.keys()];
    if (channels.length === 0) return;
    await this.#send("subscribe", channels);
    for (const channel of channels) this.#deliver(channel, undefined);
  }

  async #send(command: "subscribe" | "unsubscribe", channels: readonly string[]): Promise<void> {
    try {
      await this.#client[command](...channels);
    } catch (error) {
      // The connection went away: the next one subscribes again. Polls stand behind every hint.
      this.#options.log.debug({ event: "redis_subscriber", error: errorText(error) }, `${command} failed`);
    }
  }

  #deliver(channel: string, message: string | undefined): void {
    for (const callback of this.#channels.get(channel) ?? []) callback(message);
  }
}
