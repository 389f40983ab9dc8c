/** A Redis store with a registered runner, on a server of its own; checked for leaks and contradictions at the end. */
import { randomBytes, randomUUID } from "node:crypto";

import type { Redis } from "ioredis";
import { expect, onTestFinished } from "vitest";

import { createLog } from "../../src/log.ts";
import { SIGNED_RUNNER } from "../../src/rpc/examples.ts";
import type { JobState, RunnerDocument, SignedRunner } from "../../src/rpc/schema.ts";
import type { Lease, RunnerHello } from "../../src/runner/source.ts";
import { RedisKeys } from "../../src/store/redis-keys.ts";
import { createRedisJobSource, type RedisJobSource, type RedisJobSourceOptions } from "../../src/store/redis-source.ts";
import { createRedisStore, type RedisStoreOptions } from "../../src/store/redis-store.ts";
import type { Admission, Maintained, RetentionLimits, Store } from "../../src/store/store.ts";
import { allKeys, startRedis, type RedisOptions, type TestRedis } from "./redis.ts";
import { findFaults } from "./store-faults.ts";
import { waitUntil } from "./wait.ts";

/** Any number, typed so that it can stand where a value is expected. */
export const A_NUMBER: unknown = expect.any(Number);
export const IDENTITY = `ed25519:${"a".repeat(64)}`;
export const QUIET = createLog({ level: "silent", pretty: false });
export const KEEP: RetentionLimits = { maxAgeSeconds: 86_400, maxJobs: 1_000_000, maxBytes: 1e12 };

/** A registration of any name, groups and key, made now; the store does not look at signatures. */
export function aRegistration(wanted: Partial<RunnerDocument> = {}): SignedRunner {
  const body = { ...SIGNED_RUNNER.body, iat: nowSeconds(), exp: nowSeconds() + 300, ...wanted };
  return { ...SIGNED_RUNNER, body, public_key: body.key };
}

/** Seconds by this machine's clock, which is the test server's as well. */
export function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

/** A job of the owner alice for the queue `build`; a new id unless one is given. */
export function anAdmission(wanted: Partial<Admission> = {}): Admission {
  const id = wanted.id ?? randomUUID();
  return {
    id,
    document: `{"id":"${id}"}`,
    signatures: "[]",
    ticket: '{"ticket":true}',
    digest: "d".repeat(64),
    principal: "alice",
    callerId: "ed25519:caller",
    signers: ["ed25519:caller"],
    queue: "build",
    priority: 5,
    createdAt: nowSeconds(),
    expiresAt: nowSeconds() + 3600,
    maxAttempts: 1,
    onLoss: "retry",
    timeoutSeconds: 60,
    isFair: false,
    ...wanted,
    limits: {
      maxQueueJobs: 10_000,
      maxQueueBytes: 10_000_000,
      maxPrincipalJobs: 10_000,
      maxPrincipalBytes: 10_000_000,
      maxLifetimeSeconds: 7 * 86_400,
      ...wanted.limits,
    },
  };
}

export function aToken(): string {
  return randomBytes(16).toString("hex");
}

export function storeOptions(redis: TestRedis, wanted: Partial<RedisStoreOptions> = {}): RedisStoreOptions {
  return {
    url: redis.url,
    prefix: "horus",
    shards: 1,
    leaseMs: 10_000,
    backoff: { baseMs: 1, maxMs: 4 },
    maxLogBytes: 1_000_000,
    durability: "auto",
    commandTimeoutMs: 5000,
    allowUnsafeRedis: false,
    log: QUIET,
    now: Date.now,
    ...wanted,
  };
}

export interface Fixture {
  readonly redis: TestRedis;
  readonly client: Redis;
  readonly store: Store;
  readonly keys: RedisKeys;
  /** Another store on the same data. */
  readonly another: (wanted?: Partial<RedisStoreOptions>) => Promise<Store>;
  /** Admits a job and expects it to be new. */
  admit(wanted?: Partial<Admission>): Promise<Admission>;
  /** A started and attached source of the registered runner, or of another name. */
  source(options?: Partial<RedisJobSourceOptions>, hello?: Partial<RunnerHello>): Promise<RedisJobSource>;
  readonly maintain: (retention?: Partial<RetentionLimits>) => Promise<Maintained>;
  /** Admits a job, and claims it. */
  running(source: RedisJobSource, wanted?: Partial<Admission>): Promise<Lease>;
  /** Maintains until the job is in the state; answers the state it is in then. */
  until(id: string, state: JobState): Promise<JobState | undefined>;
}

/** Starts server and store, and registers the runner `build-1` in the group `build`. */
export async function startStore(wanted: Partial<RedisStoreOptions> = {}, server: RedisOptions = {}): Promise<Fixture> {
  const redis = await startRedis(server);
  const client = redis.client();
  const open: { stop(): Promise<void> }[] = [];
  onTestFinished(async () => {
    await Promise.allSettled(open.map(async (part) => part.stop()));
  });
  const another = async (other: Partial<RedisStoreOptions> = {}): Promise<Store> => {
    const store = createRedisStore(storeOptions(redis, { ...wanted, ...other }));
    open.push(store);
    await store.start(IDENTITY);
    return store;
  };
  const store = await another();
  const keys = new RedisKeys({
    prefix: wanted.prefix ?? "horus",
    shards: wanted.shards === undefined || wanted.shards === "auto" ? 1 : wanted.shards,
  });
  expect(await store.runners.register(aRegistration(), "{}")).toEqual({ outcome: "new" });
  // The first look after a server's start holds reaping for one lease; tests begin with it behind them.
  await store.maintenance.maintain(KEEP);
  for (const shard of keys.allShards) await client.hset(keys.of(shard, "reap"), "not_before", 0);
  const fixture: Fixture = {
    redis,
    client,
    store,
    keys,
    another,
    async admit(job) {
      const admission = anAdmission(job);
      expect(await store.jobs.admit(admission)).toEqual({ outcome: "new", state: "pending" });
      return admission;
    },
    async source(options = {}, hello = {}) {
      const runner = options.runner ?? { name: "build-1", groups: ["build"] };
      const source = createRedisJobSource({
        url: redis.url,
        prefix: "horus",
        log: QUIET,
        now: Date.now,
        ...options,
        runner,
      });
      open.push(source);
      await source.start();
      const key = SIGNED_RUNNER.body.key;
      const said = { ...runner, key, slots: 2, version: "1.0.0", process: aToken(), ...hello };
      expect(await source.attach(said)).toEqual({ outcome: "attached" });
      return source;
    },
    maintain: async (retention = {}) => store.maintenance.maintain({ ...KEEP, ...retention }),
    async running(source, job) {
      const { id } = await fixture.admit(job);
      const claimed = await source.claim(1, aToken());
      expect(claimed.map(({ lease }) => lease.id)).toEqual([id]);
      const [first] = claimed;
      if (first === undefined) throw new Error("nothing was claimed");
      return first.lease;
    },
    async until(id, state) {
      let present: JobState | undefined;
      await waitUntil(async () => {
        await fixture.maintain();
        present = (await store.jobs.head(id))?.state;
        return present === state;
      });
      return present;
    },
  };
  return fixture;
}

/** Ends a test: the data hold together, and nothing but what may last is left of jobs. */
export async function expectNoFaults({ client, keys }: Pick<Fixture, "client" | "keys">): Promise<void> {
  expect(await findFaults(client, keys)).toEqual([]);
}

/** Deletes the jobs and expects nothing of them but tombstones. */
export async function expectDeletable(fixture: Fixture, ids: readonly string[]): Promise<void> {
  for (const id of ids) expect(await fixture.store.jobs.delete(id, {})).toEqual({ outcome: "deleted" });
  await expectNoFaults(fixture);
  const left = (await allKeys(fixture.client)).filter((key) => ids.some((id) => key.includes(id)));
  expect(left.filter((key) => !key.includes(":tomb:"))).toEqual([]);
}
