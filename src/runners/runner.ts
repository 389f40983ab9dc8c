/** A runner's health worked out from its evidence: pure. */
import type { RunnerState, RunnerView } from "../rpc/schema.ts";
import type { RunnerRecord } from "../store/store.ts";

/** Heartbeats come every third of a lease; missing one (with a half to spare) is stale, a whole lease offline. */
const STALE_SHARE = 1 / 2;

/** Health is evidence, not a ping (spec: jobs-and-redis, "Queues and routing"). */
export function runnerState(record: RunnerRecord, leaseMs: number): RunnerState {
  if (record.heartbeatMs === undefined || record.isDetached) return "offline";
  const ageMs = record.nowMs - record.heartbeatMs;
  // As far ahead: from before Redis' clock was put back, and whoever lives has sent another since.
  if (Math.abs(ageMs) > leaseMs) return "offline";
  if (ageMs > leaseMs * STALE_SHARE) return "stale";
  if (record.isDraining) return "draining";
  return record.running >= record.registration.body.slots ? "busy" : "online";
}

/** A record as the API shows it. */
export function toRunnerView(record: RunnerRecord, leaseMs: number): RunnerView {
  const { name, key, groups, executors, slots } = record.registration.body;
  return {
    name,
    key,
    groups,
    executors,
    slots,
    state: runnerState(record, leaseMs),
    running: record.running,
    waiting: record.waiting,
    registered_ms: record.registeredMs,
    ...(record.oldestWaitingMs === undefined ? {} : { oldest_waiting_ms: record.oldestWaitingMs }),
    ...(record.version === undefined ? {} : { version: record.version }),
    ...(record.heartbeatMs === undefined ? {} : { heartbeat_ms: record.heartbeatMs }),
    ...(record.claimedMs === undefined ? {} : { claimed_ms: record.claimedMs }),
    ...(record.finishedMs === undefined ? {} : { finished_ms: record.finishedMs }),
  };
}
