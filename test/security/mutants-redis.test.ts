/**
 * Each check of the scripts in Redis that guards admission, calls and ownership (spec: signing) × the attack that only it
 * stops: the program refuses it, and a copy whose script lacks that check lets it through.
 */
import type { Redis } from "ioredis";
import { afterAll, beforeAll } from "vitest";

import { SIGNED_RUNNER } from "../../src/rpc/examples.ts";
import type { RunnerDocument } from "../../src/rpc/schema.ts";
import type { Lease } from "../../src/runner/source.ts";
import type { RedisJobSource } from "../../src/store/redis-source.ts";
import type { Admission, Store } from "../../src/store/store.ts";
import * as whole from "../support/build-under-test.ts";
import { type Build, describeMutants, isTaken, type MutantRow } from "../support/mutants.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { anAdmission, aRegistration, aToken, IDENTITY, nowSeconds, QUIET, storeOptions } from "../support/store.ts";
import { waitUntil } from "../support/wait.ts";

const RUNNER_KEY = SIGNED_RUNNER.body.key;
const OTHER_KEY = `ed25519:${"b".repeat(64)}`;
const COMPLETED = { status: "completed", code: 0, isRetryable: false } as const;

let redis: TestRedis;
let client: Redis;
beforeAll(async () => {
  redis = await startRedis();
  client = redis.client();
});
afterAll(async () => redis.stop());

/** An empty Redis with a supervisor's store and the runner `build-1` of the group `build`. */
interface Site {
  readonly store: Store;
  readonly source: RedisJobSource;
  /** A source that says it is another, unattached. */
  readonly anotherSource: (groups: readonly string[], leaseMs?: number) => Promise<RedisJobSource>;
  /** Is a job of alice let in as a new one? */
  readonly isNew: (wanted?: Partial<Admission>) => Promise<boolean>;
  readonly run: (wanted?: Partial<Admission>) => Promise<Lease>;
}

/** An attack on a site of that build. */
function on(attack: (site: Site) => Promise<boolean>): (build: Build) => Promise<boolean> {
  return async (build) => {
    await client.flushall();
    const store = build.createRedisStore(storeOptions(redis));
    const sources: RedisJobSource[] = [];
    const anotherSource: Site["anotherSource"] = async (groups, leaseMs) => {
      const runner = { name: "build-1", groups };
      const source = build.createRedisJobSource({
        url: redis.url,
        prefix: "horus",
        log: QUIET,
        now: Date.now,
        runner,
        ...(leaseMs === undefined ? {} : { leaseMs }),
      });
      sources.push(source);
      await source.start();
      return source;
    };
    const admit = async (wanted: Partial<Admission> = {}): Promise<Admission | undefined> => {
      const admission = anAdmission(wanted);
      return (await store.jobs.admit(admission)).outcome === "new" ? admission : undefined;
    };
    try {
      await store.start(IDENTITY);
      await store.runners.register(aRegistration(), "{}");
      const source = await anotherSource(["build"]);
      await source.attach(hello());
      return await attack({
        store,
        source,
        anotherSource,
        isNew: async (wanted) => (await admit(wanted)) !== undefined,
        run: async (wanted) => {
          await admit(wanted);
          const [claimed] = await source.claim(1, aToken());
          if (claimed === undefined) throw new Error("Nothing was claimed.");
          return claimed.lease;
        },
      });
    } finally {
      await Promise.all([store.stop(), ...sources.map(async (source) => source.stop())]);
    }
  };
}

function hello(wanted: { readonly key?: string; readonly process?: string } = {}) {
  const said = { name: "build-1", groups: ["build"], key: RUNNER_KEY, slots: 2, version: "1.0.0", process: "p" };
  return { ...said, ...wanted };
}

function aCall(wanted: { readonly nonce?: string; readonly iat?: number; readonly exp?: number } = {}) {
  return { key: OTHER_KEY, nonce: aToken(), iat: nowSeconds(), exp: nowSeconds() + 120, ...wanted };
}

async function counts(store: Store, call: ReturnType<typeof aCall>): Promise<boolean> {
  return (await store.replay.claimNonce(call)).outcome === "fresh";
}

/** As the reaper notes it: everything made until now was over by the clock of before. */
async function putBack(): Promise<void> {
  await client.hset("horus:{s0}:reap", "put_back", `${nowSeconds() + 1}:${nowSeconds() + 86_400}`);
}

async function registers(store: Store, wanted: Partial<RunnerDocument>): Promise<boolean> {
  const { outcome } = await store.runners.register(aRegistration(wanted), "{}");
  return outcome === "new" || outcome === "replaced" || outcome === "same";
}

const DIRECTORY = "store/lua/";

/** That text of a script, by another. */
function lua(script: string, from: string, to: string): MutantRow[1] {
  return { file: `${DIRECTORY}${script}.lua`, from, to };
}

const CALLS: readonly MutantRow[] = [
  [
    "a nonce is good once",
    lua("nonce", "'1', 'NX', 'PX'", "'1', 'PX'"),
    on(async ({ store }) => {
      const call = aCall();
      return (await counts(store, call)) && counts(store, call);
    }),
  ],
  [
    "a nonce is kept for as long as its call is good",
    lua("nonce", "'PX', 700000", "'PX', 1"),
    on(async ({ store }) => {
      const call = aCall();
      await counts(store, call);
      const [name = ""] = await client.keys("*nonce:*");
      // Gone, or there for longer than any call lasts: 600 s and 30 s at both ends.
      await waitUntil(async () => {
        const leftMs = await client.pttl(name);
        return leftMs < 0 || leftMs > 660_000;
      });
      return counts(store, call);
    }),
  ],
  [
    "a revoked key calls nothing",
    lua("nonce", "redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1", "false"),
    on(async ({ store }) => {
      await store.revocations.revoke([OTHER_KEY]);
      return counts(store, aCall());
    }),
  ],
  [
    "a call is not from the future",
    lua("nonce", "iat > NOW + 30 or ", ""),
    on(async ({ store }) => counts(store, aCall({ iat: nowSeconds() + 60 }))),
  ],
  [
    "a call is not from the past",
    lua("nonce", " or NOW > exp + 30", ""),
    on(async ({ store }) => counts(store, aCall({ iat: nowSeconds() - 100, exp: nowSeconds() - 32 }))),
  ],
  [
    "a call that was over by a clock which was put back stays over",
    lua("nonce", " or was_over(KEYS[3], iat, exp + 30)", ""),
    on(async ({ store }) => {
      await putBack();
      return counts(store, aCall());
    }),
  ],
];

const ADMISSION: readonly MutantRow[] = [
  [
    "a job by a revoked key is refused",
    lua("admit", "redis.call('SISMEMBER', KEYS[3], ARGV[index]) == 1", "false"),
    on(async ({ store, isNew }) => {
      await store.revocations.revoke([OTHER_KEY]);
      return isNew({ signers: [OTHER_KEY] });
    }),
  ],
  [
    "each signer is looked up, not the caller alone",
    lua("admit", "for index = 25, last_signer do\n  if redis", "for index = 25, 25 do\n  if redis"),
    on(async ({ store, isNew }) => {
      await store.revocations.revoke([OTHER_KEY]);
      return isNew({ signers: ["ed25519:caller", OTHER_KEY] });
    }),
  ],
  [
    "the same job twice is one job",
    lua("admit", "redis.call('EXISTS', KEYS[1], KEYS[2]) > 0", "false"),
    on(async ({ isNew }) => {
      const job = anAdmission();
      return (await isNew(job)) && isNew(job);
    }),
  ],
  [
    "an id names one content",
    lua("admit", "if (known[1] or redis.call('HGET', KEYS[2], 'digest')) ~= digest then", "if false then"),
    on(async ({ store }) => {
      const job = anAdmission();
      await store.jobs.admit(job);
      return (await store.jobs.admit({ ...job, digest: "e".repeat(64) })).outcome !== "conflict";
    }),
  ],
  [
    "a deleted job is not admitted again",
    lua("admit", "redis.call('EXISTS', KEYS[1], KEYS[2]) > 0", "redis.call('EXISTS', KEYS[1]) > 0"),
    on(async ({ store, isNew }) => {
      const job = anAdmission();
      await store.jobs.admit(job);
      await store.jobs.delete(job.id, {});
      return isNew(job);
    }),
  ],
  [
    "what is deleted leaves a tombstone",
    lua("lib/20-job", "if life_ms > 0 then", "if false then"),
    on(async ({ store, isNew }) => {
      const job = anAdmission();
      await store.jobs.admit(job);
      await store.jobs.delete(job.id, {});
      return isNew(job);
    }),
  ],
  [
    "a deleted id names its content still",
    lua("lib/20-job", "redis.call('HSET', tomb, 'digest', job.digest,", "redis.call('HSET', tomb, 'digest', 'any',"),
    on(async ({ store }) => {
      const job = anAdmission();
      await store.jobs.admit(job);
      await store.jobs.delete(job.id, {});
      return (await store.jobs.admit({ ...job, digest: "any" })).outcome !== "conflict";
    }),
  ],
  [
    "the queue is a registered runner's",
    lua("admit", " or redis.call('HEXISTS', KEYS[4], queue) == 0", ""),
    on(async ({ isNew }) => isNew({ queue: "gpu" })),
  ],
  [
    "what the registry keeps of a runner is no queue",
    lua("admit", "not string.find(queue, '^[a-z0-9]') or ", ""),
    on(async ({ isNew }) => isNew({ queue: "@build-1" })),
  ],
  [
    "a job is not from the future",
    lua("admit", "created_at > NOW + 30 or ", ""),
    on(async ({ isNew }) => isNew({ createdAt: nowSeconds() + 60 })),
  ],
  [
    "an expired job is refused",
    lua("admit", "NOW > expires_at or ", ""),
    on(async ({ isNew }) => isNew({ createdAt: nowSeconds() - 60, expiresAt: nowSeconds() - 2 })),
  ],
  [
    "a job that was over by a clock which was put back stays over",
    lua("admit", "or was_over(KEYS[13], created_at, expires_at)", ""),
    on(async ({ isNew }) => {
      await putBack();
      return isNew();
    }),
  ],
  [
    "a job does not expire before it is made",
    lua("admit", "created_at > expires_at or ", ""),
    on(async ({ isNew }) => isNew({ createdAt: nowSeconds() + 20, expiresAt: nowSeconds() + 10 })),
  ],
  [
    "a job does not live too long",
    lua("admit", " or expires_at - created_at > tonumber(ARGV[10])", ""),
    on(async ({ isNew }) => isNew({ expiresAt: nowSeconds() + 8 * 86_400 })),
  ],
];

const OWNERSHIP: readonly MutantRow[] = [
  [
    "nobody cancels another's job",
    lua("cancel", "if not job or (ARGV[2] ~= '' and job.principal ~= ARGV[2]) then", "if not job then"),
    on(async ({ store, isNew }) => {
      const job = anAdmission();
      await isNew(job);
      return (await store.jobs.cancel(job.id, { principal: "mallory" }, "x")).outcome === "cancelled";
    }),
  ],
  [
    "nobody deletes another's job",
    lua("delete", "if ARGV[2] ~= '' and job.principal ~= ARGV[2] then", "if false then"),
    on(async ({ store, isNew }) => {
      const job = anAdmission();
      await isNew(job);
      return (await store.jobs.delete(job.id, { principal: "mallory" })).outcome === "deleted";
    }),
  ],
  [
    "nobody learns of another's deleted job",
    lua("delete", "principal and (ARGV[2] == '' or principal == ARGV[2])", "principal"),
    on(async ({ store, isNew }) => {
      const job = anAdmission();
      await isNew(job);
      await store.jobs.delete(job.id, { principal: "alice" });
      return (await store.jobs.delete(job.id, { principal: "mallory" })).outcome === "deleted";
    }),
  ],
  [
    "a running job is not deleted",
    lua("delete", "if job.state == 'running' then", "if false then"),
    on(async ({ store, run }) => {
      const { id } = await run();
      return (await store.jobs.delete(id, {})).outcome === "deleted";
    }),
  ],
  [
    "what ended stays as it ended",
    lua("cancel", "if job.state ~= 'running' or ARGV[4] == '1' then", "if false then"),
    on(async ({ store, source, run }) => {
      const lease = await run();
      await source.finish(lease, COMPLETED);
      return (await store.jobs.cancel(lease.id, {}, "x")).outcome === "cancelling";
    }),
  ],
  [
    "a list is of one principal",
    lua("list", "local wanted = { ARGV[7], ARGV[8], ARGV[9] }", "local wanted = { '', ARGV[8], ARGV[9] }"),
    on(async ({ store, isNew }) => {
      await isNew();
      // As an index would be that two principals share.
      const [own = ""] = await client.keys("*own:*");
      await client.copy(own, own.replace("alice", "mallory"));
      return (await store.jobs.list({ principal: "mallory", limit: 10 })).jobs.length > 0;
    }),
  ],
];

const RUNNERS: readonly MutantRow[] = [
  [
    "a revoked key registers nothing",
    lua("register", "redis.call('SISMEMBER', KEYS[3], key) == 1", "false"),
    on(async ({ store }) => {
      await store.revocations.revoke([OTHER_KEY]);
      return registers(store, { name: "build-2", key: OTHER_KEY });
    }),
  ],
  [
    "a registration is not from the future",
    lua("register", "tonumber(ARGV[6]) > NOW + 30 or ", ""),
    on(async ({ store }) => registers(store, { name: "build-2", iat: nowSeconds() + 60, exp: nowSeconds() + 90 })),
  ],
  [
    "a registration is not from the past",
    lua("register", " or NOW > tonumber(ARGV[7]) + 30", ""),
    on(async ({ store }) => registers(store, { name: "build-2", iat: nowSeconds() - 90, exp: nowSeconds() - 32 })),
  ],
  [
    "a name belongs to one key",
    lua("register", "if old and old.key ~= key then", "if false then"),
    on(async ({ store }) => registers(store, { key: OTHER_KEY })),
  ],
  [
    "a runner does not bear a group's name",
    lua("register", "if redis.call('HEXISTS', KEYS[2], name) == 1 or", "if"),
    on(async ({ store }) => registers(store, { name: "build", key: OTHER_KEY, groups: [] })),
  ],
  [
    "a group does not bear a runner's name",
    lua("register", " or redis.call('HEXISTS', KEYS[1], ARGV[index]) == 1", ""),
    on(async ({ store }) => registers(store, { name: "build-2", key: OTHER_KEY, groups: ["build-1"] })),
  ],
  [
    "a runner attaches with its registered key",
    lua("attach", "if runner.key ~= ARGV[2] then", "if false then"),
    on(async ({ source }) => (await source.attach(hello({ key: OTHER_KEY }))).outcome === "attached"),
  ],
  [
    "a revoked runner does not attach",
    lua("attach", " or redis.call('SISMEMBER', BASE .. 'revoked', runner.key) == 1", ""),
    on(async ({ store, source }) => {
      await store.revocations.revoke([RUNNER_KEY]);
      return (await source.attach(hello())).outcome === "attached";
    }),
  ],
  [
    "one live process bears a name",
    lua("attach", "if age < tonumber(ARGV[5]) then", "if false then"),
    on(async ({ source }) => (await source.attach(hello({ process: "another" }))).outcome === "attached"),
  ],
  [
    "a revoked runner is told at its next sign of life",
    lua("heartbeat", " or redis.call('SISMEMBER', BASE .. 'revoked', runner.key) == 1", ""),
    on(async ({ store, source }) => {
      await store.revocations.revoke([RUNNER_KEY]);
      return (await source.heartbeat({ running: 0, isDraining: false })) === "ok";
    }),
  ],
  [
    "a revoked runner claims nothing",
    lua("claim", " or redis.call('SISMEMBER', BASE .. 'revoked', key) == 1", ""),
    on(async ({ store, source, isNew }) => {
      await isNew();
      await store.revocations.revoke([RUNNER_KEY]);
      return claims(source);
    }),
  ],
  [
    "a runner claims from its own queues",
    lua("claim", "if not string.find(served, ' ' .. ARGV[4 + index] .. ' ', 1, true) then", "if false then"),
    on(async ({ store, anotherSource, isNew }) => {
      await registers(store, { name: "gpu-1", key: OTHER_KEY, groups: ["gpu"] });
      await isNew({ queue: "gpu" });
      return claims(await anotherSource(["gpu"]));
    }),
  ],
  [
    "no attempt starts for a revoked signer",
    lua("claim", "elseif has_revoked_signer(job) then", "elseif false then"),
    on(async ({ store, source, isNew }) => {
      await isNew({ signers: ["ed25519:caller", OTHER_KEY] });
      await store.revocations.revoke([OTHER_KEY]);
      return claims(source);
    }),
  ],
];

/** The holder of a lease alone writes: here it is held by another attempt, or by a runner whose key was revoked. */
const FENCE: readonly MutantRow[] = [
  [
    "an outcome comes from the attempt that holds the lease",
    lua("lib/20-job", " and job.attempt == attempt and job.token == token", ""),
    on(async ({ source, run }) => {
      const lease = await run();
      return (await source.finish({ ...lease, token: aToken() }, COMPLETED)).outcome === "accepted";
    }),
  ],
  [
    "an outcome comes while the job runs",
    lua("lib/20-job", "return job.state == 'running' and job.attempt", "return job.attempt"),
    on(async ({ source, run }) => {
      const lease = await run();
      await source.finish(lease, COMPLETED);
      // As a backup of the record would have it: its token came back.
      await client.hset((await client.keys("*job:*"))[0] ?? "", "token", lease.token);
      const again = await source.finish(lease, { ...COMPLETED, status: "failed" });
      return again.outcome === "accepted" && again.state === "failed";
    }),
  ],
  [
    "a revoked runner's outcome does not count",
    lua("lib/20-job", "    and not is_revoked(job.runner_key)\n", ""),
    on(async ({ store, source, run }) => {
      const lease = await run();
      await store.revocations.revoke([RUNNER_KEY]);
      return (await source.finish(lease, COMPLETED)).outcome === "accepted";
    }),
  ],
  [
    "a code is a number that can be shown",
    lua("finish", "if not (code and code % 1 == 0 and math.abs(code) <= 2147483647) then", "if false then"),
    on(async ({ source, run }) => isTaken(source.finish(await run(), { ...COMPLETED, code: Infinity }))),
  ],
  [
    "a lease that is no number takes no job out of its queue",
    lua("claim", "if not (lease_ms and lease_ms >= 1 and lease_ms % 1 == 0 and lease_ms < 1e12) then", "if false then"),
    on(async ({ source, anotherSource, isNew }) => {
      await isNew();
      await isTaken((await anotherSource(["build"], Number.NaN)).claim(1, aToken()));
      return !(await claims(source));
    }),
  ],
  [
    "a log is written by the attempt that holds the lease",
    lua("append", " or held[2] ~= ARGV[2] or held[3] ~= ARGV[3]", ""),
    on(async ({ source, run }) => appends(source, { ...(await run()), token: aToken() })),
  ],
  [
    "a revoked runner writes no log",
    lua("append", " or is_revoked(held[6])", ""),
    on(async ({ store, source, run }) => {
      const lease = await run();
      await store.revocations.revoke([RUNNER_KEY]);
      return appends(source, lease);
    }),
  ],
  [
    "a lease is prolonged by its holder",
    lua("renew", " and held[2] == ARGV[at + 1] and held[3] == ARGV[at + 2]", ""),
    on(async ({ source, run }) => renews(source, { ...(await run()), token: aToken() })),
  ],
  [
    "a revoked runner prolongs nothing",
    lua("renew", " and not is_revoked(held[5])", ""),
    on(async ({ store, source, run }) => {
      const lease = await run();
      await store.revocations.revoke([RUNNER_KEY]);
      return renews(source, lease);
    }),
  ],
  [
    "a job is given back by its holder",
    lua("release", "if not is_held(job, ARGV[2], ARGV[3]) then", "if false then"),
    on(async ({ source, run }) => (await source.release({ ...(await run()), token: aToken() })) === "released"),
  ],
];

async function claims(source: RedisJobSource): Promise<boolean> {
  return (await source.claim(1, aToken())).length > 0;
}

async function appends(source: RedisJobSource, lease: Lease): Promise<boolean> {
  const entry = { attempt: lease.attempt, seq: 1, time_ms: 1, stream: "stdout", text: "forged" } as const;
  return (await source.append(lease, [entry])) === "appended";
}

async function renews(source: RedisJobSource, lease: Lease): Promise<boolean> {
  const [renewed] = await source.renew([lease]);
  return renewed?.outcome === "renewed";
}

/** By whom it may be done, and in time. */
const isGoodTaken = on(async ({ store, source, isNew, run }) => {
  const [kept, dropped] = [anAdmission(), anAdmission()];
  const taken = [await counts(store, aCall()), await registers(store, { name: "build-2", key: OTHER_KEY })];
  taken.push(await isNew(kept), (await store.jobs.admit(kept)).outcome === "duplicate", await isNew(dropped));
  taken.push((await store.jobs.list({ principal: "alice", limit: 10 })).jobs.length === 2);
  for (const { id } of [kept, dropped]) {
    taken.push((await store.jobs.cancel(id, { principal: "alice" }, "x")).outcome === "cancelled");
    taken.push((await store.jobs.delete(id, { principal: "alice" })).outcome === "deleted");
  }
  const lease = await run();
  taken.push(await appends(source, lease), await renews(source, lease));
  taken.push((await source.finish(lease, COMPLETED)).outcome === "accepted");
  taken.push((await source.release(await run())) === "released", await claims(source));
  taken.push((await source.heartbeat({ running: 0, isDraining: false })) === "ok");
  return !taken.includes(false);
});

describeMutants([...CALLS, ...ADMISSION, ...OWNERSHIP, ...RUNNERS, ...FENCE], async () => [await isGoodTaken(whole)]);
