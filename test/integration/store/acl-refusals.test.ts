/**
 * What Redis refuses the users that `supervisor doctor --acl` prints. Each attempt is made a second time by a user who
 * may do everything, and passes: it is the rules that refuse it.
 */
import type { Redis } from "ioredis";
import { expect, onTestFinished, test } from "vitest";

import { admit } from "../../../src/store/redis-admission.ts";
import { RedisConnection } from "../../../src/store/redis-connection.ts";
import type { RedisKeys } from "../../../src/store/redis-keys.ts";
import { RedisScripts } from "../../../src/store/redis-scripts.ts";
import { createRedisJobSource, type RedisJobSource } from "../../../src/store/redis-source.ts";
import { type Guarded, registerWeb, startGuarded, WIDE } from "../../support/redis-users.ts";
import { allKeys } from "../../support/redis.ts";
import { anAdmission, aToken, expectNoFaults, QUIET } from "../../support/store.ts";

type Command = readonly [name: string, ...args: string[]];

const NOT_PERMITTED = { name: "unavailable", data: { reason: "not_permitted" } };
/** As Redis says it to a client, and to a script; the last as Valkey does. */
const REFUSED = /NOPERM|The user executing the script can't|No permissions|ACL failure in script/u;
const ANY_COMMAND = "return redis.call(unpack(ARGV))";

/** Ids of jobs that belong to a runner which is not ours. */
interface Foreign {
  readonly pending: string;
  readonly running: string;
  readonly ended: string;
}

/** A runner `web-1` beside ours, with a job in each state. */
async function withForeignJobs(guarded: Guarded): Promise<Foreign> {
  const { fixture, urlOf } = guarded;
  const { key } = await registerWeb(fixture);
  const runner = { name: "web-1", groups: ["web"] };
  const source = await fixture.source({ url: urlOf(WIDE), runner }, { key });
  const ended = await fixture.running(source, { queue: "web" });
  await source.append(ended, [{ attempt: 1, seq: 1, time_ms: 1, stream: "stdout", text: "x" }]);
  await source.finish(ended, { status: "completed", code: 0, isRetryable: false });
  const running = await fixture.running(source, { queue: "web" });
  const { id: pending } = await fixture.admit({ queue: "web" });
  return { pending, running: running.id, ended: ended.id };
}

/** Commands that went through, by a client's own hand. */
async function permitted(client: Redis, commands: readonly Command[]): Promise<readonly string[]> {
  const through: string[] = [];
  for (const [name, ...args] of commands) {
    const answer = await client.call(name, ...args).catch((error: unknown) => error);
    if (!REFUSED.test(String(answer))) through.push([name, ...args].join(" "));
  }
  return through;
}

/** The same, and each once more from a script of the user's own. */
async function permittedEitherWay(client: Redis, commands: readonly Command[]): Promise<readonly string[]> {
  return permitted(
    client,
    commands.flatMap((command): Command[] => [command, ["EVAL", ANY_COMMAND, "0", ...command]]),
  );
}

async function expectAllPermitted(client: Redis, commands: readonly Command[]): Promise<void> {
  expect(await permitted(client, commands)).toEqual(commands.map((command) => command.join(" ")));
}

/** Every key with its value as Redis would write it to disk. */
async function everything(admin: Redis): Promise<Readonly<Record<string, unknown>>> {
  const found = (await allKeys(admin)).map(async (key) => [key, await admin.call("DUMP", key)] as const);
  return Object.fromEntries(await Promise.all(found));
}

/** A source of these words, not attached: what a runner's program would be told to be. */
async function sourceOf(url: string, name: string, groups: readonly string[]): Promise<RedisJobSource> {
  const source = createRedisJobSource({ url, prefix: "horus", runner: { name, groups }, log: QUIET, now: Date.now });
  onTestFinished(async () => source.stop());
  await source.start();
  return source;
}

/** Whole server, or commands that no runner and no supervisor sends. */
const OF_NOBODY: readonly Command[] = [
  ["KEYS", "*"],
  ["SCAN", "0"],
  ["RANDOMKEY"],
  ["DBSIZE"],
  ["CONFIG", "SET", "maxmemory", "0"],
  ["CONFIG", "REWRITE"],
  ["ACL", "LIST"],
  ["ACL", "SETUSER", "mallory", "on", "nopass", "+@all", "~*"],
  ["CLIENT", "LIST"],
  ["CLIENT", "KILL", "TYPE", "replica"],
  ["SCRIPT", "FLUSH"],
  ["SCRIPT", "LOAD", "return 1"],
  ["FUNCTION", "LIST"],
  ["FUNCTION", "FLUSH"],
  ["EVAL_RO", "return 1", "0"],
  ["MODULE", "LIST"],
  ["SLOWLOG", "GET"],
  ["COMMAND", "COUNT"],
  ["BGREWRITEAOF"],
  ["LATENCY", "RESET"],
  ["SELECT", "1"],
  ["SWAPDB", "0", "0"],
  ["FLUSHDB"],
  ["FLUSHALL"],
];

function readsOfOthers(keys: RedisKeys, { pending, ended }: Foreign): readonly Command[] {
  return [
    ["ZRANGE", keys.queue(0, "web"), "0", "-1"],
    ["ZRANGE", keys.delayed(0, "web-1"), "0", "-1"],
    ["GET", keys.nonce("k", "n").name],
    ["HMGET", keys.tomb(ended), "digest"],
    ["HGET", keys.beat("web-1"), "process"],
    ["HGET", keys.of(0, "groups"), "web"],
    ["HGET", keys.of(0, "keyrings"), "a"],
    ["GET", keys.of(0, "enrolled")],
    ["HGET", keys.fair(0, "web"), "x"],
    // The list of who is registered, and of what there is: ids of jobs, or their logs.
    ["HGETALL", keys.of(0, "runners")],
    ["HKEYS", keys.of(0, "runners")],
    ["HGETALL", keys.of(0, "names")],
    ["SMEMBERS", keys.of(0, "revoked")],
    ["ZRANGE", keys.of(0, "leases"), "0", "-1"],
    ["ZRANGE", keys.of(0, "expiry"), "0", "-1"],
    ["ZRANGE", keys.done(0, "completed"), "0", "-1"],
    ["ZRANGE", keys.of(0, "jobs"), "0", "-1"],
    ["ZRANGE", keys.own(0, "alice"), "0", "-1"],
    ["SMEMBERS", keys.signer(0, "ed25519:caller")],
    ["SSCAN", keys.signer(0, "ed25519:caller"), "0"],
    ["ZSCAN", keys.of(0, "leases"), "0"],
    ["LRANGE", keys.log(ended), "0", "-1"],
    ["HGETALL", keys.job(pending)],
  ];
}

function writesOfOthers(keys: RedisKeys, { pending, running, ended }: Foreign): readonly Command[] {
  return [
    ["ZADD", keys.queue(0, "web"), "1", running],
    ["ZREM", keys.queue(0, "web"), pending],
    ["ZADD", keys.queue(0, "web-1"), "1", running],
    ["ZADD", keys.delayed(0, "web"), "1", running],
    // One letter more or less than a name of its own.
    ["ZADD", keys.queue(0, "build-11"), "1", running],
    ["ZADD", keys.queue(0, "buil"), "1", running],
    ["HSET", keys.fair(0, "build"), "x", "1"],
    ["ZADD", keys.of(0, "jobs"), "1", "x"],
    ["ZADD", keys.own(0, "alice"), "1", "x"],
    ["SET", keys.of(0, "seq"), "1"],
    ["SET", keys.of(0, "revoked"), "1"],
    ["SREM", keys.of(0, "revoked"), "x"],
    ["SADD", keys.of(0, "revoked"), "x"],
    ["HSET", keys.of(0, "names"), "mallory", "1"],
    ["HSET", keys.of(0, "runners"), "mallory", "{}"],
    ["HDEL", keys.of(0, "runners"), "web-1"],
    ["HSET", keys.of(0, "groups"), "mallory", "1"],
    ["HSET", keys.of(0, "keyrings"), "a", "1 aa"],
    ["SET", keys.of(0, "enrolled"), "x"],
    ["HSET", keys.of(0, "reap"), "not_before", "0"],
    ["HSET", keys.beat("web-1"), "process", "mallory"],
    ["ZADD", keys.live("web"), "1", "mallory"],
    ["HSET", keys.tomb(pending), "digest", "x"],
    ["HDEL", keys.tomb(ended), "digest"],
    ["SET", keys.nonce("k", "n").name, "1"],
    ["HSET", "horus:meta", "identity", "x"],
    ["DEL", keys.job(ended)],
    ["UNLINK", keys.log(ended)],
    ["PEXPIRE", keys.job(pending), "1"],
    ["RENAME", keys.queue(0, "web"), keys.queue(0, "build")],
    ["SET", "other", "1"],
    ["SET", "horus2:{s0}:bytes", "1"],
  ];
}

test("A runner's user has no command beyond a runner's", async () => {
  const { runner, as, fixture } = await startGuarded();
  const commands: readonly Command[] = [["CONFIG", "GET", "requirepass"], ["WAIT", "0", "1"], ...OF_NOBODY];
  const before = await everything(fixture.client);

  expect(await permitted(await as(runner), commands)).toEqual([]);
  expect(await permitted(await as(runner), [["EVAL", "return redis.call('FLUSHALL')", "0"]])).toEqual([]);

  expect(await everything(fixture.client)).toEqual(before);
  await expectAllPermitted(await as(WIDE), commands);
});

test("A runner's user reads and writes nothing of other runners, of admission, registry, revocation and calls", async () => {
  const guarded = await startGuarded();
  const { runner, as, fixture } = guarded;
  const jobs = await withForeignJobs(guarded);
  const commands = [...readsOfOthers(fixture.keys, jobs), ...writesOfOthers(fixture.keys, jobs)];
  const before = await everything(fixture.client);

  expect(await permittedEitherWay(await as(runner), commands)).toEqual([]);

  expect(await everything(fixture.client)).toEqual(before);
  await expectNoFaults(fixture);
  const both = commands.flatMap((command): Command[] => [command, ["EVAL", ANY_COMMAND, "0", ...command]]);
  await expectAllPermitted(await as(WIDE), both);
});

test("A runner's user neither hears of others' jobs nor speaks on their channels", async () => {
  const { runner, as, fixture } = await startGuarded();
  const { keys } = fixture;
  const commands: readonly Command[] = [
    ["PUBLISH", keys.cancelChannel("web-1"), "x"],
    ["PUBLISH", keys.hintChannel("web"), ""],
    ["PUBLISH", "other", ""],
    ["PSUBSCRIBE", "*"],
    ["PSUBSCRIBE", "horus:*"],
    ["SSUBSCRIBE", keys.eventsChannel],
    ["SUBSCRIBE", keys.eventsChannel],
    ["SUBSCRIBE", keys.cancelChannel("web-1")],
    ["SUBSCRIBE", keys.hintChannel("web")],
  ];

  for (const command of commands) {
    expect(await permitted(await as(runner), [command])).toEqual([]);
    await expectAllPermitted(await as(WIDE), [command]);
  }
});

test("A runner's user can not admit a job, even for its own queue", async () => {
  const { runner, urlOf, fixture } = await startGuarded();
  const { keys } = fixture;
  const admitAs = async (url: string): Promise<unknown> => {
    const connection = new RedisConnection({ url, commandTimeoutMs: 5000, log: QUIET, monotonicMs: Date.now });
    onTestFinished(async () => connection.stop());
    await connection.start();
    return admit({ connection, scripts: new RedisScripts(connection), keys }, anAdmission({ queue: "build-1" }), 0);
  };
  const before = await everything(fixture.client);

  await expect(admitAs(urlOf(runner))).rejects.toMatchObject(NOT_PERMITTED);

  expect(await everything(fixture.client)).toEqual(before);
  expect(await admitAs(urlOf(WIDE))).toEqual({ outcome: "new", state: "pending" });
});

test("A runner's user can not claim from a queue that is not its own, under any name", async () => {
  const guarded = await startGuarded();
  const { runner, urlOf, fixture } = guarded;
  const { pending } = await withForeignJobs(guarded);
  const before = await everything(fixture.client);

  for (const [name, groups] of [
    ["web-1", ["web"]],
    ["build-1", ["web"]],
    ["build-1", ["build", "web"]],
  ] as const) {
    const source = await sourceOf(urlOf(runner), name, groups);
    await expect(source.claim(1, aToken())).rejects.toMatchObject(NOT_PERMITTED);
  }

  expect(await everything(fixture.client)).toEqual(before);
  const wide = await sourceOf(urlOf(WIDE), "web-1", ["web"]);
  expect((await wide.claim(1, aToken())).map(({ lease }) => lease.id)).toEqual([pending]);
});

test("A runner's user can not take another's name, nor be a supervisor", async () => {
  const guarded = await startGuarded();
  const { runner, urlOf, fixture } = guarded;
  const { name, key } = await registerWeb(fixture);
  const hello = { name, key, groups: ["web"], slots: 1, version: "1", process: aToken() };

  const source = await sourceOf(urlOf(runner), name, ["web"]);
  await expect(source.attach(hello)).rejects.toMatchObject(NOT_PERMITTED);
  await expect(fixture.another({ url: urlOf(runner) })).rejects.toMatchObject(NOT_PERMITTED);

  const wide = await sourceOf(urlOf(WIDE), name, ["web"]);
  expect(await wide.attach(hello)).toEqual({ outcome: "attached" });
  await expect(fixture.another({ url: urlOf(WIDE) })).resolves.toBeDefined();
});

test("What remains open to a runner's user is what the page says: records by their id, and its own queues", async () => {
  const guarded = await startGuarded();
  const { runner, as, fixture } = guarded;
  const { keys } = fixture;
  const { pending, running } = await withForeignJobs(guarded);

  const commands: readonly Command[] = [
    ["HGET", keys.job(pending), "document"],
    ["HSET", keys.job(running), "result", "forged"],
    ["HSET", keys.job("made-up"), "document", "{}"],
    ["ZADD", keys.queue(0, "build"), "1", "made-up"],
    ["ZREM", keys.of(0, "leases"), running],
    ["HGET", keys.of(0, "runners"), "web-1"],
    ["PUBLISH", keys.eventsChannel, pending],
    ["EVAL", "return 1", "0"],
  ];

  expect(await permitted(await as(runner), commands)).toHaveLength(commands.length);
});

test("A supervisor's user stays within its prefix, and has no command beyond a supervisor's", async () => {
  const { supervisor, as, fixture } = await startGuarded();
  const commands: readonly Command[] = [
    ["SET", "other", "1"],
    ["HGETALL", "horus2:meta"],
    ["SUBSCRIBE", "other"],
    ["RPUSH", fixture.keys.log("x"), "forged"],
    ["PSUBSCRIBE", "*"],
    ...OF_NOBODY,
  ];
  const before = await everything(fixture.client);

  expect(await permitted(await as(supervisor), commands)).toEqual([]);

  expect(await everything(fixture.client)).toEqual(before);
  for (const command of commands) await expectAllPermitted(await as(WIDE), [command]);
});
