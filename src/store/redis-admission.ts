/** The admission script, and the replicas its answer waits for. */
import { SupervisorError } from "../errors.ts";
import { JOB_STATES } from "../rpc/schema.ts";
import type { RedisAccess } from "./redis-access.ts";
import { RedisKeys } from "./redis-keys.ts";
import { asList, asNumber, asOneOf, asText } from "./reply.ts";
import type { Admission, Admitted } from "./store.ts";

const FULL = ["max_queue_jobs", "max_queue_bytes", "max_principal_jobs", "max_principal_bytes"] as const;

/** Of each limit that waiting jobs have. */
type Allowed = Readonly<Record<(typeof FULL)[number], number>>;
const OUTCOMES = ["new", "duplicate", "conflict", "revoked", "unknown_runner", "stale", "queue_full"] as const;

/**
 * Stores an admission whole or not at all, and says what came of it.
 * @throws SupervisorError("unavailable"): with `applied: "unknown"` the same admission again tells.
 */
export async function admit(access: RedisAccess, job: Admission, replicas: number): Promise<Admitted> {
  const { keys } = access;
  const shard = keys.shardOf(job.id);
  const allowed = sharesOf(job.limits, keys.shards);
  const declared = [
    keys.job(job.id),
    keys.tomb(job.id),
    keys.of(shard, "revoked"),
    keys.of(shard, "names"),
    keys.queue(shard, job.queue),
    keys.delayed(shard, job.queue),
    keys.of(shard, "expiry"),
    keys.of(shard, "bytes"),
    keys.of(shard, "seq"),
    keys.of(shard, "jobs"),
    keys.own(shard, job.principal),
    keys.fair(shard, job.queue),
    keys.of(shard, "reap"),
    ...job.signers.map((key) => keys.signer(shard, key)),
  ];
  const args = [
    job.id,
    job.digest,
    job.queue,
    job.createdAt,
    job.expiresAt,
    job.notBefore ?? "",
    job.priority,
    allowed.max_queue_jobs,
    allowed.max_queue_bytes,
    job.limits.maxLifetimeSeconds,
    replicas > 0 ? "1" : "0",
    job.document,
    job.signatures,
    job.ticket,
    job.principal,
    RedisKeys.owner(job.principal),
    job.callerId,
    job.maxAttempts,
    job.onLoss,
    job.timeoutSeconds,
    job.signers.join(" "),
    job.isFair ? "1" : "0",
    allowed.max_principal_jobs,
    allowed.max_principal_bytes,
    ...job.signers,
    ...(job.contextId === undefined ? [] : [job.contextId]),
  ];
  if (replicas === 0) return parseAdmitted(await access.scripts.run("admit", declared, args), allowed);
  const { answer, acknowledged } = await access.scripts.runReplicated("admit", declared, { args, replicas });
  const admitted = parseAdmitted(answer, allowed);
  const isAcknowledgement = admitted.outcome === "new" || admitted.outcome === "duplicate";
  if (isAcknowledgement && acknowledged < replicas) {
    throw new SupervisorError("unavailable", {
      message: `The job stands on ${acknowledged} replicas, not on ${replicas}`,
      data: { applied: "unknown", reason: "too_few_replicas" },
    });
  }
  return admitted;
}

function sharesOf(limits: Admission["limits"], shards: number): Allowed {
  const share = (limit: number): number => Math.ceil(limit / shards);
  return {
    max_queue_jobs: share(limits.maxQueueJobs),
    max_queue_bytes: share(limits.maxQueueBytes),
    max_principal_jobs: share(limits.maxPrincipalJobs),
    max_principal_bytes: share(limits.maxPrincipalBytes),
  };
}

function parseAdmitted(reply: unknown, allowed: Allowed): Admitted {
  const [word, first, second] = asList(reply);
  const outcome = asOneOf(word, OUTCOMES);
  switch (outcome) {
    case "new":
      return { outcome, state: asOneOf(first, JOB_STATES) };
    case "duplicate":
      return { outcome, state: asOneOf(first, [...JOB_STATES, "deleted"]) };
    case "stale":
      return { outcome, now: asNumber(first) };
    case "queue_full": {
      const limit = asOneOf(asText(first), FULL);
      return { outcome, limit, allowed: allowed[limit], present: asNumber(second) };
    }
    case "conflict":
    case "revoked":
    case "unknown_runner":
      return { outcome };
  }
}
