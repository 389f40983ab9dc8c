/** JobSource over Redis: what the runner library claims from. It needs a URL and a prefix; the rest stands in Redis. */
import { SupervisorError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { LogEntry } from "../rpc/schema.ts";
import type {
  Appended,
  Attached,
  ClaimedJob,
  Finish,
  Finished,
  JobSource,
  Lease,
  Renewed,
  RenewerRecipe,
  RunnerHello,
} from "../runner/source.ts";
import { moduleBeside } from "../runner/stand-in.ts";
import { RedisClaims } from "./redis-claims.ts";
import { RedisConnection } from "./redis-connection.ts";
import { RedisKeys } from "./redis-keys.ts";
import { RedisLeases } from "./redis-leases.ts";
import { type Meta, readMeta, type RunnerSettings } from "./redis-meta.ts";
import type { RedisRenewerOptions } from "./redis-renewer.ts";
import { RedisScripts } from "./redis-scripts.ts";
import { RedisSubscriber } from "./redis-subscriber.ts";
import { asList, asNumber, asOneOf, asText } from "./reply.ts";

export interface RedisJobSourceOptions {
  readonly url: string;
  readonly prefix: string;
  /** The supervisor whose data they have to be; anybody's unless told. Nothing rests on it but a plain word in time. */
  readonly supervisor?: string;
  /** The name it is registered by, and the groups. */
  readonly runner: { readonly name: string; readonly groups: readonly string[] };
  /** As the supervisors wrote it into Redis, unless told; never longer than that. */
  readonly leaseMs?: number;
  /** As the supervisors wrote it into Redis, unless told. */
  readonly backoff?: { readonly baseMs: number; readonly maxMs: number };
  /** 5,000 unless told. */
  readonly commandTimeoutMs?: number;
  readonly log: Log;
  /** UNIX ms. */
  readonly now: () => number;
}

export type RedisJobSource = JobSource & {
  /** Connects and reads what the supervisors wrote. @throws SupervisorError naming the fix. */
  start(): Promise<void>;
  stop(): Promise<void>;
};

/** Makes an unconnected source. @throws Error when the URL is none. */
export function createRedisJobSource(options: RedisJobSourceOptions): RedisJobSource {
  return new Source(options);
}

/** What start() found. */
interface Started {
  readonly keys: RedisKeys;
  readonly settings: RunnerSettings;
  readonly claims: RedisClaims;
  readonly leases: RedisLeases;
}

class Source implements RedisJobSource {
  readonly #options: RedisJobSourceOptions;
  readonly #commandTimeoutMs: number;
  readonly #connection: RedisConnection;
  readonly #subscriber: RedisSubscriber;
  readonly #scripts: RedisScripts;
  #begun: Started | undefined;
  #hello: RunnerHello | undefined;
  #claimedAtMs: number | undefined;
  #finishedAtMs: number | undefined;

  constructor(options: RedisJobSourceOptions) {
    this.#options = options;
    this.#commandTimeoutMs = options.commandTimeoutMs ?? 5000;
    const connection = {
      ...options,
      commandTimeoutMs: this.#commandTimeoutMs,
      monotonicMs: () => performance.now(),
    };
    this.#connection = new RedisConnection(connection);
    this.#subscriber = new RedisSubscriber(connection);
    this.#scripts = new RedisScripts(this.#connection);
  }

  async start(): Promise<void> {
    try {
      await this.#connection.start();
      this.#begun = await this.#begin();
      await this.#subscriber.start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await Promise.all([this.#subscriber.stop(), this.#connection.stop()]);
  }

  get leaseMs(): number {
    return this.#started.settings.leaseMs;
  }

  get renewer(): RenewerRecipe {
    const { keys, settings } = this.#started;
    const { prefix, shards } = keys;
    const { url } = this.#options;
    const options: RedisRenewerOptions = {
      url,
      commandTimeoutMs: this.#commandTimeoutMs,
      keys: { prefix, shards },
      settings,
    };
    return { module: moduleBeside(import.meta.url, "redis-stand-in"), options };
  }

  async attach(hello: RunnerHello): Promise<Attached> {
    this.#hello = hello;
    const groups = hello.groups.toSorted();
    const args = [hello.name, hello.key, hello.process, hello.version, this.leaseMs, ...groups];
    const [word, detail] = asList(await this.#scripts.run("attach", this.#evidenceKeys(hello), args));
    const outcome = asOneOf(word, ["attached", "not_registered", "mismatch", "taken"]);
    if (outcome === "mismatch") return { outcome, reason: asText(detail) };
    if (outcome === "taken") return { outcome, heartbeatAgeMs: asNumber(detail) };
    return { outcome };
  }

  async heartbeat(beat: { running: number; isDraining: boolean }): Promise<"ok" | "removed"> {
    return this.#beat(beat.isDraining ? "draining" : "live", beat.running);
  }

  async detach(): Promise<void> {
    if (this.#hello !== undefined) await this.#beat("detached", 0);
  }

  async claim(count: number, token: string): Promise<readonly ClaimedJob[]> {
    const jobs = await this.#started.claims.claim(count, token);
    if (jobs.length > 0) this.#claimedAtMs = this.#options.now();
    return jobs;
  }

  async renew(leases: readonly Lease[]): Promise<readonly Renewed[]> {
    return this.#started.leases.renew(leases);
  }

  async append(lease: Lease, entries: readonly LogEntry[]): Promise<Appended> {
    return this.#started.leases.append(lease, entries);
  }

  async finish(lease: Lease, finish: Finish): Promise<Finished> {
    const finished = await this.#started.leases.finish(lease, finish);
    if (finished.outcome === "accepted") this.#finishedAtMs = this.#options.now();
    return finished;
  }

  async release(lease: Lease): Promise<"released" | "lost"> {
    return this.#started.leases.release(lease);
  }

  onHint(
    callback: (hint: { readonly kind: "queue" } | { readonly kind: "cancel"; readonly id: string }) => void,
  ): () => void {
    const { keys } = this.#started;
    const { name, groups } = this.#options.runner;
    const stops = [name, ...groups].map((queue) =>
      this.#subscriber.on(keys.hintChannel(queue), () => callback({ kind: "queue" })),
    );
    stops.push(
      // Missed messages need no look here: the next renewal tells of a cancel.
      this.#subscriber.on(keys.cancelChannel(name), (id) => {
        if (id !== undefined) callback({ kind: "cancel", id });
      }),
    );
    return () => {
      for (const stop of stops) stop();
    };
  }

  get #started(): Started {
    if (this.#begun !== undefined) return this.#begun;
    throw new SupervisorError("unavailable", { data: { applied: "no", reason: "not_started" } });
  }

  async #begin(): Promise<Started> {
    const { prefix, runner, leaseMs, backoff } = this.#options;
    const meta = await this.#readMeta();
    const keys = new RedisKeys({ prefix, shards: meta.shards });
    const settings = {
      leaseMs: Math.min(leaseMs ?? meta.leaseMs, meta.leaseMs),
      backoffBaseMs: backoff?.baseMs ?? meta.backoffBaseMs,
      backoffMaxMs: backoff?.maxMs ?? meta.backoffMaxMs,
      maxLogBytes: meta.maxLogBytes,
    };
    const access = { keys, scripts: this.#scripts };
    const leases = new RedisLeases(access, settings);
    const claims = new RedisClaims({
      access,
      runner: runner.name,
      queues: [runner.name, ...runner.groups],
      leaseMs: settings.leaseMs,
      release: async (lease) => leases.release(lease),
    });
    return { keys, settings, claims, leases };
  }

  async #readMeta(): Promise<Meta> {
    const { prefix, supervisor } = this.#options;
    const { shown } = this.#connection.target;
    const meta = await readMeta(this.#connection, prefix);
    if (meta === undefined) {
      throw new SupervisorError("unavailable", {
        message:
          `No supervisor has started on ${shown} under the prefix "${prefix}". ` +
          "Start one, or name its Redis with --redis-url (and redis.prefix).",
        data: { applied: "no", reason: "no_supervisor" },
      });
    }
    if (supervisor !== undefined && meta.identity !== supervisor) {
      throw new SupervisorError("unavailable", {
        message:
          `The data under "${prefix}" on ${shown} belong to the supervisor ${meta.identity}, not to ${supervisor}, whose jobs ` +
          "are wanted. Name that one's Redis with --redis-url (and redis.prefix), or pin the other one with --supervisor.",
        data: { applied: "no", reason: "other_identity" },
      });
    }
    return meta;
  }

  /** Times by Redis' clock: the runner only says how long ago it claimed and finished. */
  async #beat(mode: "live" | "draining" | "detached", running: number): Promise<"ok" | "removed"> {
    const hello = this.#hello;
    if (hello === undefined) throw new Error("heartbeat before attach");
    const age = (atMs: number | undefined): number | "" =>
      atMs === undefined ? "" : Math.max(0, Math.round(this.#options.now() - atMs));
    const args = [
      hello.name,
      hello.process,
      mode,
      running,
      hello.version,
      age(this.#claimedAtMs),
      age(this.#finishedAtMs),
      ...hello.groups.toSorted(),
    ];
    const reply = await this.#scripts.run("heartbeat", this.#evidenceKeys(hello), args);
    return asOneOf(reply, ["ok", "removed"]);
  }

  #evidenceKeys(hello: RunnerHello): readonly string[] {
    const { keys } = this.#started;
    return [keys.beat(hello.name), ...[hello.name, ...hello.groups].map((name) => keys.live(name))];
  }
}
