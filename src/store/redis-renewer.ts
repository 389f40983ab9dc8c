/** The renewer of Redis' job source: its leases, prolonged from another thread over a connection of that thread's own. */
import type { Lease, Renewed, Renewer } from "../runner/source.ts";
import type { RedisConnection } from "./redis-connection.ts";
import { RedisKeys } from "./redis-keys.ts";
import type { RedisLeases } from "./redis-leases.ts";
import type { RunnerSettings } from "./redis-meta.ts";

export interface RedisRenewerOptions {
  readonly url: string;
  readonly commandTimeoutMs: number;
  readonly keys: { readonly prefix: string; readonly shards: number };
  readonly settings: RunnerSettings;
}

/** Unconnected until the first renewal: most runners never need it. @throws Error when the options are none */
export function createRenewer(options: unknown): Renewer {
  if (!isOptions(options)) throw new Error("Not the options of a Redis renewer.");
  return new RedisRenewer(options);
}

function isOptions(value: unknown): value is RedisRenewerOptions {
  return typeof value === "object" && value !== null && "url" in value && "keys" in value && "settings" in value;
}

interface Connected {
  readonly connection: RedisConnection;
  readonly leases: RedisLeases;
}

class RedisRenewer implements Renewer {
  readonly #options: RedisRenewerOptions;
  readonly #keys: RedisKeys;
  #connected: Promise<Connected> | undefined;

  constructor(options: RedisRenewerOptions) {
    this.#options = options;
    this.#keys = new RedisKeys(options.keys);
  }

  async renew(leases: readonly Lease[]): Promise<readonly Renewed[]> {
    this.#connected ??= this.#connect();
    try {
      const connected = await this.#connected;
      return await connected.leases.renew(leases);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    const connected = this.#connected;
    this.#connected = undefined;
    await connected?.then(
      async ({ connection }) => connection.stop(),
      // It let go of its sockets when it failed.
      () => undefined,
    );
  }

  async #connect(): Promise<Connected> {
    const { url, commandTimeoutMs, settings } = this.#options;
    // Loaded when they are needed: as long as it only watches, the thread is small.
    const [{ RedisConnection }, { RedisLeases }, { RedisScripts }] = await Promise.all([
      import("./redis-connection.ts"),
      import("./redis-leases.ts"),
      import("./redis-scripts.ts"),
    ]);
    const connection = new RedisConnection({
      url,
      commandTimeoutMs,
      log: SILENT,
      monotonicMs: () => performance.now(),
    });
    await connection.start();
    const access = { keys: this.#keys, scripts: new RedisScripts(connection) };
    return { connection, leases: new RedisLeases(access, settings) };
  }
}

/** What fails is told with the renewal, by the thread that has the log. */
const unsaid = (): undefined => undefined;
const SILENT = { debug: unsaid, info: unsaid, warn: unsaid, error: unsaid };
