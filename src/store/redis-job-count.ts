/** How many jobs stand in each state, and why those that ended did: sizes of indexes and counters, whatever the jobs. */
import { END_REASONS, type EndReason, type JobCount } from "../jobs/end-reasons.ts";
import { JOB_STATES, type JobState } from "../rpc/schema.ts";
import type { RedisAccess } from "./redis-access.ts";
import type { RedisKeys } from "./redis-keys.ts";
import { asNumber, asOptional } from "./reply.ts";

/** A reason that is counted in Redis: everything but the rest. */
interface Counted {
  readonly state: keyof typeof END_REASONS;
  readonly reason: Exclude<EndReason, "other" | "">;
}

const COUNTED: readonly Counted[] = [
  ...END_REASONS.failed.map((reason) => ({ state: "failed" as const, reason })),
  ...END_REASONS.cancelled.map((reason) => ({ state: "cancelled" as const, reason })),
];

export async function countJobs({ connection, keys }: RedisAccess): Promise<readonly JobCount[]> {
  const sizes = JOB_STATES.map(() => 0);
  const counts = COUNTED.map(() => 0);
  const look = async (shard: number): Promise<void> => {
    const replies = await connection.pipeline([
      ...JOB_STATES.map((state) => ["ZCARD", indexOf(keys, shard, state)] as const),
      ...COUNTED.map(({ state, reason }) => ["HGET", keys.of(shard, "bytes"), `~${state}:${reason}`] as const),
    ]);
    for (const at of sizes.keys()) sizes[at] = (sizes[at] ?? 0) + asNumber(replies[at]);
    for (const at of counts.keys()) counts[at] = (counts[at] ?? 0) + asCount(replies[sizes.length + at]);
  };
  await Promise.all(keys.allShards.map(look));
  const byReason = COUNTED.map(({ state, reason }, at): JobCount => ({ state, reason, jobs: counts[at] ?? 0 }));
  return JOB_STATES.flatMap((state, at) => withRest(state, sizes[at] ?? 0, byReason));
}

/** Of a state: each reason that is counted, and the rest. */
function withRest(state: JobState, jobs: number, counts: readonly JobCount[]): readonly JobCount[] {
  const own = counts.filter((count) => count.state === state);
  const rest = own.reduce((left, count) => left - count.jobs, jobs);
  return [...own, { state, reason: own.length === 0 ? "" : "other", jobs: Math.max(0, rest) }];
}

/** Absent where nothing is counted. */
function asCount(reply: unknown): number {
  return asOptional(reply, asNumber) ?? 0;
}

/** The index that holds exactly the jobs of a state. */
function indexOf(keys: RedisKeys, shard: number, state: JobState): string {
  if (state === "pending") return keys.of(shard, "expiry");
  return state === "running" ? keys.of(shard, "leases") : keys.done(shard, state);
}
