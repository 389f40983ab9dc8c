/** Pages of jobs, newest first, merged over the shards' indexes. */
import type { JobHead } from "../jobs/job.ts";
import { HEAD_FIELDS, parseHead } from "./job-fields.ts";
import type { RedisAccess } from "./redis-access.ts";
import { asList, asNumber, asText } from "./reply.ts";
import type { JobPage, JobPosition, JobQuery } from "./store.ts";

/** Index entries one call of the script looks at, and calls a shard for one page: the bound of a page's scan. */
const SCAN = 100;
const CALLS = 5;

/** What one shard gave: matches from new to old, and how far it looked. */
interface Scanned {
  readonly jobs: readonly JobHead[];
  /** Everything newer than or at it was looked at; absent when the shard has nothing (more). */
  readonly until?: JobPosition;
}

/** Newest first; within one millisecond by id, so that positions are a total order over all shards. */
function compare(a: JobPosition, b: JobPosition): number {
  if (a.admittedMs !== b.admittedMs) return b.admittedMs - a.admittedMs;
  if (a.id === b.id) return 0;
  return a.id < b.id ? 1 : -1;
}

/** One page. A page scans a bounded number of entries, so a short page with a position is legal. */
export async function listJobs(access: RedisAccess, query: JobQuery): Promise<JobPage> {
  const { keys } = access;
  // Ids spread evenly: a shard rarely holds more than twice its share of a page.
  const want = keys.shards === 1 ? query.limit : Math.min(query.limit, Math.ceil((query.limit * 2) / keys.shards) + 8);
  const shards = await Promise.all(keys.allShards.map(async (shard) => scanShard(access, { shard, query, want })));
  // What lies beyond the nearest stop of any shard can not be ordered yet: it belongs to the next page.
  const stops = shards.flatMap(({ until }) => (until === undefined ? [] : [until])).toSorted(compare);
  const [horizon] = stops;
  const jobs = shards
    .flatMap((shard) => shard.jobs)
    .filter((job) => horizon === undefined || compare(job, horizon) <= 0)
    .toSorted(compare);
  const page = jobs.slice(0, query.limit);
  const last = page.at(-1);
  if (jobs.length > query.limit && last !== undefined) return { jobs: page, next: positionOf(last) };
  return { jobs: page, ...(horizon === undefined ? {} : { next: horizon }) };
}

function positionOf(job: JobHead): JobPosition {
  return { admittedMs: job.admittedMs, id: job.id };
}

async function scanShard(
  { keys, scripts }: RedisAccess,
  { shard, query, want }: { readonly shard: number; readonly query: JobQuery; readonly want: number },
): Promise<Scanned> {
  const index = query.principal === undefined ? keys.of(shard, "jobs") : keys.own(shard, query.principal);
  const found: JobHead[] = [];
  let before = query.before;
  for (let call = 0; call < CALLS && found.length < want; call += 1) {
    const args = [...cursorArgs(query, before), want - found.length, SCAN, ...filterArgs(query), ...HEAD_FIELDS];
    const [isExhausted, ms, id, ...matches] = asList(await scripts.run("list", [index], args));
    found.push(...matches.flatMap(parseMatch));
    if (isExhausted === "1") return { jobs: found };
    before = { admittedMs: asNumber(ms), id: asText(id) };
  }
  return { jobs: found, ...(before === undefined ? {} : { until: before }) };
}

function cursorArgs(query: JobQuery, before: JobPosition | undefined): readonly (string | number)[] {
  return [before?.admittedMs ?? "", before?.id ?? "", query.fromMs ?? "", query.untilMs ?? ""];
}

function filterArgs({ principal, state, queue, contextId }: JobQuery): readonly string[] {
  return [principal ?? "", state ?? "", queue ?? "", contextId === undefined ? "" : `=${contextId}`];
}

function parseMatch(reply: unknown): readonly JobHead[] {
  const [id, ...values] = asList(reply);
  const head = parseHead(asText(id), values);
  return head === undefined ? [] : [head];
}
