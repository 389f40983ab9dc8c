/** Reads the whole database and says where it contradicts itself: the checker behind every test of the store. */
import { Cluster, type Redis } from "ioredis";

import type { RedisKeys } from "../../src/store/redis-keys.ts";
import { allKeys } from "./redis.ts";

/** Keys of a shard that are no job's: they last, whatever jobs do. */
const LASTING = new Set(["seq", "revoked", "names", "reap", "runners", "groups", "keyrings", "enrolled"]);
const LASTING_PREFIXES = ["fair:", "beat:", "live:", "nonce:", "tomb:", "claim:"];
const TERMINAL = new Set(["completed", "failed", "timeout", "cancelled", "expired"]);

type Hash = Readonly<Record<string, string>>;

/** Everything of one shard, by key name without the shard's tag. */
interface Shard {
  readonly names: readonly string[];
  readonly hashes: ReadonlyMap<string, Hash>;
  readonly sets: ReadonlyMap<string, ReadonlyMap<string, number>>;
  readonly lists: ReadonlyMap<string, readonly string[]>;
}

/**
 * Contradictions among records, queues, leases and indexes, in words; none when all is well. At a moment when nothing
 * else writes.
 */
export async function findFaults(client: Redis | Cluster, keys: RedisKeys): Promise<readonly string[]> {
  return faultsIn(await readDatabase(client), keys);
}

/** Every key with its type and content, flat as Redis answers it. */
type Database = ReadonlyMap<string, { readonly type: string; readonly content: readonly string[] }>;

/** The same of a database that was read before. */
export function faultsIn(database: Database, keys: RedisKeys): readonly string[] {
  const faults = keys.allShards.flatMap((shard) =>
    faultsOf(toShard(database, `${keys.prefix}:{s${shard}}:`)).map((fault) => `shard ${shard}: ${fault}`),
  );
  const foreign = [...database.keys()].filter((name) => !/^[^{]+:\{s\d+\}:/u.test(name) && !name.endsWith(":meta"));
  return [...faults, ...foreign.map((name) => `unknown key ${name}`)];
}

/** One script on one server: after every step of a long sequence. */
const READ = `
local readers = { hash = { 'HGETALL' }, list = { 'LRANGE', 0, -1 }, zset = { 'ZRANGE', 0, -1, 'WITHSCORES' }, set = { 'SMEMBERS' } }
local all = {}
for _, name in ipairs(redis.call('KEYS', '*')) do
  local type = redis.call('TYPE', name).ok
  local reader = readers[type]
  all[#all + 1] = { name, type, reader and redis.call(reader[1], name, unpack(reader, 2)) or {} }
end
return all`;

export async function readDatabase(client: Redis | Cluster): Promise<Database> {
  const entries: (readonly [string, string, readonly string[]])[] = [];
  if (client instanceof Cluster) {
    for (const name of await allKeys(client)) entries.push([name, ...(await readKey(client, name))]);
  } else {
    const answer: unknown = await client.eval(READ, 0);
    for (const entry of listOf(answer)) {
      const [name, type, content] = listOf(entry);
      entries.push([String(name), String(type), listOf(content).map(String)]);
    }
  }
  return new Map(entries.map(([name, type, content]) => [name, { type, content }] as const));
}

async function readKey(client: Cluster, name: string): Promise<[string, readonly string[]]> {
  const type = await client.type(name);
  if (type === "hash") return [type, Object.entries(await client.hgetall(name)).flat()];
  if (type === "list") return [type, await client.lrange(name, 0, -1)];
  if (type === "zset") return [type, (await client.zrange(name, "0", "-1", "WITHSCORES")).map(String)];
  return [type, type === "set" ? await client.smembers(name) : []];
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function toShard(database: Database, tag: string): Shard {
  const hashes = new Map<string, Hash>();
  const sets = new Map<string, ReadonlyMap<string, number>>();
  const lists = new Map<string, readonly string[]>();
  const names: string[] = [];
  for (const [name, { type, content }] of database) {
    if (!name.startsWith(tag)) continue;
    const short = name.slice(tag.length);
    names.push(short);
    if (type === "hash") hashes.set(short, toHash(content));
    if (type === "list") lists.set(short, content);
    if (type === "zset") sets.set(short, new Map(pairs(content).map(([member, score]) => [member, Number(score)])));
    if (type === "set") sets.set(short, new Map(content.map((member) => [member, 0])));
  }
  return { names, hashes, sets, lists };
}

/** A hash as HGETALL answers it. */
export function toHash(flat: readonly string[]): Hash {
  return Object.fromEntries(pairs(flat));
}

function pairs(flat: readonly string[]): [string, string][] {
  return flat.flatMap((first, at): [string, string][] => (at % 2 === 0 ? [[first, flat[at + 1] ?? ""]] : []));
}

function faultsOf(shard: Shard): readonly string[] {
  const jobs = new Map(
    [...shard.hashes].flatMap(([name, hash]): [string, Hash][] =>
      name.startsWith("job:") ? [[name.slice("job:".length), hash]] : [],
    ),
  );
  const expected = expectedSets(jobs);
  const faults = [...compareSets(shard, expected), ...unknownKeys(shard, jobs), ...byteFaults(shard, jobs)];
  for (const [id, job] of jobs) {
    const count = shard.lists.get(`log:${id}`)?.length ?? 0;
    if (count !== Number(job["log_count"])) faults.push(`${id}: ${count} log entries, log_count ${job["log_count"]}`);
    if (job["state"] === "running" && !job["token"]) faults.push(`${id}: running without a token`);
    if (job["state"] !== "running" && job["token"]) faults.push(`${id}: ${job["state"]} with a token`);
    if (job["state"] !== "running" && job["cancelling"]) faults.push(`${id}: ${job["state"]} and cancelling`);
  }
  return faults;
}

/** Which ids must stand in which index; a pending one in its queue or among the delayed. */
function expectedSets(jobs: ReadonlyMap<string, Hash>): ReadonlyMap<string, ReadonlySet<string>> {
  const expected = new Map<string, Set<string>>();
  const add = (name: string, id: string): void => {
    expected.set(name, (expected.get(name) ?? new Set()).add(id));
  };
  for (const [id, job] of jobs) {
    const state = job["state"] ?? "";
    add("jobs", id);
    add(`own:${job["owner"]}`, id);
    if (state === "running") add("leases", id);
    if (TERMINAL.has(state)) add(`done:${state}`, id);
    else for (const signer of (job["signers"] ?? "").split(" ")) add(`signer:${signer}`, id);
    if (state !== "pending") continue;
    add("expiry", id);
    add(`q+delayed:${job["queue"]}`, id);
  }
  return expected;
}

function compareSets(shard: Shard, expected: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  const present = new Map<string, string[]>();
  for (const [name, members] of shard.sets) {
    if (isLasting(name)) continue;
    const joined = name.replace(/^(?:q|delayed):/u, "q+delayed:");
    present.set(joined, [...(present.get(joined) ?? []), ...members.keys()]);
  }
  const faults: string[] = [];
  for (const name of new Set([...present.keys(), ...expected.keys()])) {
    const [have, want] = [present.get(name) ?? [], expected.get(name) ?? new Set<string>()];
    if (new Set(have).size !== have.length) faults.push(`${name}: an id stands in it twice`);
    for (const id of have) if (!want.has(id)) faults.push(`${name}: ${id} does not belong there`);
    for (const id of want) if (!have.includes(id)) faults.push(`${name}: ${id} is missing`);
  }
  return faults;
}

function byteFaults(shard: Shard, jobs: ReadonlyMap<string, Hash>): string[] {
  const wanted = new Map<string, number>();
  const add = (field: string, by: number): unknown => wanted.set(field, (wanted.get(field) ?? 0) + by);
  for (const [id, job] of jobs) {
    const state = job["state"] ?? "";
    if (TERMINAL.has(state)) add(`!${state}`, keptBytes(job, shard.lists.get(`log:${id}`) ?? []));
    if (endReason(job) !== undefined) add(`~${state}:${endReason(job)}`, 1);
    if (state !== "pending") continue;
    add(job["queue"] ?? "", Number(job["bytes"]));
    add(`@${job["owner"]}`, 1);
    add(`#${job["owner"]}`, Number(job["bytes"]));
  }
  const present = shard.hashes.get("bytes") ?? {};
  return [...new Set([...Object.keys(present), ...wanted.keys()])].flatMap((queue) =>
    Number(present[queue] ?? 0) === (wanted.get(queue) ?? 0)
      ? []
      : [`bytes of ${queue}: ${present[queue]} instead of ${wanted.get(queue) ?? 0}`],
  );
}

/** The beginnings of reasons that tests give, and what they count as. */
const END_REASONS = [
  ["failed", "exit code ", "exit_code"],
  ["failed", "killed by ", "signal"],
  ["failed", "lost", "lost"],
  ["failed", "poison", "poison"],
  ["failed", "refused: ", "refused"],
  ["failed", "cannot start ", "not_started"],
  ["failed", "executor ", "not_started"],
  ["failed", "unknown executor ", "not_started"],
  ["failed", "the job names no executor", "not_started"],
  ["failed", "result too large", "bad_result"],
  ["failed", "the result is not ", "bad_result"],
  ["failed", "the runner stopped", "runner_stopped"],
  ["cancelled", "cancelled", "asked"],
  ["cancelled", "revoked", "revoked"],
  ["cancelled", "runner removed", "runner_removed"],
] as const;

function endReason(job: Hash): string | undefined {
  const { state, reason = "" } = job;
  return END_REASONS.find(([of, beginning]) => state === of && reason.startsWith(beginning))?.[2];
}

/** What an ended job holds, counted afresh: what was admitted, log, result and receipt. */
function keptBytes(job: Hash, log: readonly string[]): number {
  const texts = [...log, job["result"] ?? "", job["receipt"] ?? ""];
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text), Number(job["bytes"]));
}

function unknownKeys(shard: Shard, jobs: ReadonlyMap<string, Hash>): string[] {
  const known = /^(?:q|delayed|own|signer|done):|^(?:leases|expiry|jobs|bytes)$/u;
  return shard.names.flatMap((name) => {
    const id = /^(?:job|log):(.+)$/u.exec(name)?.[1];
    if (id !== undefined) return jobs.has(id) ? [] : [`${name} belongs to no job`];
    return known.test(name) || isLasting(name) ? [] : [`unknown key ${name}`];
  });
}

function isLasting(name: string): boolean {
  return LASTING.has(name) || LASTING_PREFIXES.some((prefix) => name.startsWith(prefix));
}
