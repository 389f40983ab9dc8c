/** The Redis implementation of Store: connects, checks, claims the data, and hands out its parts. */
import { SupervisorError, errorText } from "../errors.ts";
import type { Log } from "../log.ts";
import type { RedisAccess } from "./redis-access.ts";
import { RedisConnection } from "./redis-connection.ts";
import { RedisJobs } from "./redis-jobs.ts";
import { RedisKeyrings } from "./redis-keyrings.ts";
import { RedisKeys } from "./redis-keys.ts";
import { RedisMaintenance } from "./redis-maintenance.ts";
import { type ClaimedMeta, claimMeta } from "./redis-meta.ts";
import { RedisReplay } from "./redis-replay.ts";
import { RedisRevocations } from "./redis-revocations.ts";
import { RedisRunners } from "./redis-runners.ts";
import { RedisScripts } from "./redis-scripts.ts";
import { RedisSubscriber } from "./redis-subscriber.ts";
import { type Findings, inspect } from "./redis-watch.ts";
import { type Durability, replicaCount } from "./server-facts.ts";
import type { Store, StoreHealth } from "./store.ts";

export interface RedisStoreOptions {
  /** See {@link parseRedisUrl}. */
  readonly url: string;
  /** First part of every key: `[A-Za-z0-9_.-]{1,32}`. */
  readonly prefix: string;
  /** `auto`: as stored; at the first start 1, on a Cluster 16. */
  readonly shards: number | "auto";
  readonly leaseMs: number;
  readonly backoff: { readonly baseMs: number; readonly maxMs: number };
  /** Log of one attempt; the store's hard cap lies 64 KiB above it, for markers. */
  readonly maxLogBytes: number;
  /** `auto`: what the server gives. */
  readonly durability: Durability | "auto";
  readonly commandTimeoutMs: number;
  /** Starts on a Redis that evicts or is too old; health says so. */
  readonly allowUnsafeRedis: boolean;
  readonly log: Log;
  /** UNIX ms. */
  readonly now: () => number;
  /** A clock that never jumps, in ms; `performance.now` unless told. */
  readonly monotonicMs?: () => number;
  /** Between two checks of the server, in ms; 30,000 unless told. */
  readonly checkIntervalMs?: number;
}

/** Makes an unconnected store. @throws Error when the URL is none. */
export function createRedisStore(options: RedisStoreOptions): Store {
  return new RedisStore(options);
}

const CHECK_INTERVAL_MS = 30_000;

class RedisStore implements Store {
  readonly jobs: RedisJobs;
  readonly maintenance: RedisMaintenance;
  readonly runners: RedisRunners;
  readonly replay: RedisReplay;
  readonly revocations: RedisRevocations;
  readonly keyrings: RedisKeyrings;
  readonly #options: RedisStoreOptions;
  readonly #connection: RedisConnection;
  readonly #replicated: RedisConnection | undefined;
  readonly #subscriber: RedisSubscriber;
  readonly #scripts: RedisScripts;
  #keys: RedisKeys | undefined;
  #meta: ClaimedMeta | undefined;
  #findings: Findings = { durability: "memory", warnings: [], problems: [], refusals: [] };
  readonly #incidents: string[] = [];
  #checks: NodeJS.Timeout | undefined;
  #isChecking = false;
  #isStopped = false;

  constructor(options: RedisStoreOptions) {
    this.#options = options;
    const monotonicMs = options.monotonicMs ?? (() => performance.now());
    const connection = { ...options, monotonicMs };
    this.#connection = new RedisConnection(connection);
    this.#subscriber = new RedisSubscriber(connection);
    this.#replicated = replicaCount(options.durability) > 0 ? new RedisConnection(connection) : undefined;
    this.#scripts = new RedisScripts(this.#connection, this.#replicated);
    const access = this.#access();
    this.jobs = new RedisJobs({
      access,
      subscriber: this.#subscriber,
      replicas: () => replicaCount(options.durability),
    });
    this.maintenance = new RedisMaintenance({
      access,
      leaseMs: options.leaseMs,
      maxDelayMs: options.backoff.maxMs,
      monotonicMs,
    });
    this.runners = new RedisRunners(access, options.leaseMs);
    this.replay = new RedisReplay(access);
    this.keyrings = new RedisKeyrings(access);
    this.revocations = new RedisRevocations(access, async (id, withRunning) =>
      this.jobs.cancelRevoked(id, withRunning),
    );
  }

  async start(identity: string): Promise<void> {
    try {
      await this.#connection.start();
      await this.#inspect();
      this.#refuseUnsafe();
      await this.#claim(identity);
      await this.#replicated?.start();
      await this.#subscriber.start();
      await this.runners.registry.sync();
    } catch (error) {
      await this.stop();
      throw error;
    }
    for (const warning of this.#findings.warnings) this.#options.log.warn({ event: "redis_warning" }, warning);
    const check = (): void => {
      void this.#check(identity);
    };
    this.#checks = setInterval(check, this.#options.checkIntervalMs ?? CHECK_INTERVAL_MS).unref();
    // A restarted Redis may have come back empty: not to be found out half a minute later.
    this.#connection.onReconnect(check);
    this.#tellOutages();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#checks);
    await Promise.all([this.#subscriber.stop(), this.#replicated?.stop(), this.#connection.stop()]);
  }

  /** One line when Redis is lost, and one when it is back. */
  #tellOutages(): void {
    const { log } = this.#options;
    const redis = this.#connection.shown;
    let isLost = false;
    this.#connection.onLost(() => {
      if (isLost || this.#isStopped) return;
      isLost = true;
      log.warn(
        { event: "redis_lost", redis },
        "Redis is lost: what needs it is refused until it is back; connecting again",
      );
    });
    this.#connection.onReconnect(() => {
      if (isLost) log.info({ event: "redis_back", redis }, "Redis is back");
      isLost = false;
    });
  }

  health(): StoreHealth {
    return {
      isUp: this.#connection.isUp,
      durability: this.#findings.durability,
      warnings: [...this.#findings.warnings, ...this.#incidents],
      problems: this.#findings.problems,
    };
  }

  #access(): RedisAccess {
    const keys = (): RedisKeys => {
      if (this.#keys !== undefined) return this.#keys;
      throw new SupervisorError("unavailable", { data: { applied: "no", reason: "not_started" } });
    };
    return {
      connection: this.#connection,
      scripts: this.#scripts,
      get keys() {
        return keys();
      },
    };
  }

  #refuseUnsafe(): void {
    const [problem] = this.#findings.refusals;
    if (problem === undefined || this.#options.allowUnsafeRedis) return;
    throw new SupervisorError("unavailable", {
      message: `${this.#connection.target.shown}: ${problem}`,
      data: { applied: "no", reason: "unsafe_redis" },
    });
  }

  async #inspect(): Promise<void> {
    this.#findings = await inspect(this.#connection, this.#options.durability);
  }

  async #claim(identity: string): Promise<void> {
    const { prefix, shards, leaseMs, backoff, maxLogBytes } = this.#options;
    const claimed = await claimMeta(this.#scripts, {
      prefix,
      identity,
      shards,
      autoShards: this.#connection.target.kind === "cluster" ? 16 : 1,
      settings: { leaseMs, backoffBaseMs: backoff.baseMs, backoffMaxMs: backoff.maxMs, maxLogBytes },
    });
    this.#noticeLoss(claimed);
    this.#meta = claimed;
    this.#keys ??= new RedisKeys({ prefix, shards: claimed.shards });
  }

  /** The generation marker is gone, or the epoch went back: this is not the Redis we wrote to. */
  #noticeLoss(claimed: ClaimedMeta): void {
    const before = this.#meta;
    if (before === undefined) return;
    const isEmptied = claimed.generation !== before.generation;
    if (!isEmptied && claimed.epoch > before.epoch) return;
    const incident =
      `Redis ${isEmptied ? "was emptied" : "went back to an older copy"} at ` +
      `${new Date(this.#options.now()).toISOString()}: jobs acknowledged before may be gone. Submit them again ` +
      "(the same id is safe), register runners again.";
    this.#incidents.push(incident);
    this.#options.log.error({ event: "redis_data_lost" }, incident);
  }

  /** One at a time: epochs answered out of order would look like an older copy. */
  async #check(identity: string): Promise<void> {
    if (this.#isChecking) return;
    this.#isChecking = true;
    try {
      await this.#inspect();
      await this.#claim(identity);
      await this.revocations.republish();
      await this.runners.registry.sync();
    } catch (error) {
      this.#options.log.warn({ event: "redis_check_failed", error: errorText(error) }, "the check of Redis failed");
      const isForeign = error instanceof SupervisorError && error.data?.["reason"] === "other_identity";
      if (isForeign) this.#findings = { ...this.#findings, problems: [...this.#findings.problems, error.message] };
    } finally {
      this.#isChecking = false;
    }
  }
}
