/** What Redis and the way to it can answer, as typed errors that say whether the request was applied: pure. */
import { type Applied, errorText, SupervisorError } from "../errors.ts";

interface Mapping {
  readonly applied: Applied;
  /** For callers: a word, never Redis' own text. */
  readonly reason: string;
}

/**
 * Error replies by their first word. Scripts are refused as a whole before they start (they declare their flags), and
 * read every key before they write one, so most of these mean: nothing was applied.
 */
const BY_CODE: Readonly<Record<string, Mapping>> = {
  // Connected to a replica, or the master became one: refused before the script starts.
  READONLY: { applied: "no", reason: "read_only_replica" },
  // The data are still being read from disk; nothing is executed.
  LOADING: { applied: "no", reason: "loading" },
  // The last snapshot or append failed and writes are refused: checked before the script starts.
  MISCONF: { applied: "no", reason: "persistence_failed" },
  // maxmemory is reached; scripts without allow-oom are refused before they start.
  OOM: { applied: "no", reason: "out_of_memory" },
  // Fewer replicas than min-replicas-to-write: checked before the script starts.
  NOREPLICAS: { applied: "no", reason: "too_few_replicas" },
  // A replica that lost its master and may not serve old data.
  MASTERDOWN: { applied: "no", reason: "master_down" },
  // Some slots have no master.
  CLUSTERDOWN: { applied: "no", reason: "cluster_down" },
  // Keys of the call are on two nodes while their slot moves.
  TRYAGAIN: { applied: "no", reason: "slot_moving" },
  // A redirection that was followed too often: every node refused.
  MOVED: { applied: "no", reason: "slot_moving" },
  ASK: { applied: "no", reason: "slot_moving" },
  // Another client's script runs too long; ours was not started.
  BUSY: { applied: "no", reason: "busy" },
  // The user's ACL forbids the command or a declared key.
  NOPERM: { applied: "no", reason: "not_permitted" },
  NOAUTH: { applied: "no", reason: "not_permitted" },
  WRONGPASS: { applied: "no", reason: "not_permitted" },
  // A key of ours holds a value of another kind: somebody else writes under our prefix.
  WRONGTYPE: { applied: "no", reason: "foreign_data" },
  // The script cache is empty (restart, SCRIPT FLUSH); the caller sends the script itself.
  NOSCRIPT: { applied: "no", reason: "script_missing" },
};

/** What ioredis and Node say when the way to Redis failed. */
const BY_TEXT: readonly (readonly [RegExp, Mapping])[] = [
  // ioredis refused to send: there was no connection (enableOfflineQueue is off).
  [/enableOfflineQueue/u, { applied: "no", reason: "not_connected" }],
  [
    /^Cluster isn't ready|^Failed to refresh slots cache|^None of startup nodes/u,
    { applied: "no", reason: "not_connected" },
  ],
  [/^Too many Cluster redirections/u, { applied: "no", reason: "slot_moving" }],
  [/ECONNREFUSED|ENOENT|ENOTFOUND|EAI_AGAIN|connect ETIMEDOUT/u, { applied: "no", reason: "not_connected" }],
  // The derived keys of a script are read before anything is written (rule 1), so this one changed nothing.
  [/non local key/u, { applied: "no", reason: "slot_moving" }],
  // A key that a script made from a declared one lies outside the user's ACL; what was written before it stands.
  // Redis' words, and Valkey's.
  [/user executing the script can't|ACL failure in script/u, { applied: "unknown", reason: "not_permitted" }],
  // SCRIPT KILL only ends scripts that have not written.
  [/killed by user/u, { applied: "no", reason: "script_killed" }],
  // Sent, and no answer came: executed or not, nobody knows.
  [/timed out|ETIMEDOUT|Socket timeout/u, { applied: "unknown", reason: "timeout" }],
];

/** Sent, or perhaps sent, and the connection is gone. */
const LOST: Mapping = { applied: "unknown", reason: "connection_lost" };

/** An error raised while a script was running names its line. */
const INSIDE_SCRIPT = /user_script|script: [0-9a-f]{40}/u;

/** Thrown by our own deadline around every call. */
export class DeadlineError extends Error {
  override readonly name = "DeadlineError";

  constructor(ms: number) {
    super(`Redis timed out after ${ms} ms`);
  }
}

function mappingOf(error: unknown): Mapping {
  const text = errorText(error);
  const byText = BY_TEXT.find(([pattern]) => pattern.test(text));
  if (byText !== undefined) return byText[1];
  const byCode = BY_CODE[/^[A-Z]+/u.exec(text)?.[0] ?? ""];
  if (byCode === undefined) return isReply(error) ? { applied: "unknown", reason: "refused" } : LOST;
  // Raised in the middle, by a write: what came before it stands (Lua has no rollback).
  return INSIDE_SCRIPT.test(text) ? { ...byCode, applied: "unknown" } : byCode;
}

/** Redis itself answered, with an error. */
function isReply(error: unknown): boolean {
  return error instanceof Error && error.name === "ReplyError";
}

/** Did Redis answer at all? A refused call is still a sign of life. */
export function isReached(error: unknown): boolean {
  return isReply(error);
}

/** Does a key hold what none of ours puts there? */
export function isForeignData(error: unknown): boolean {
  return error instanceof SupervisorError && error.data?.["reason"] === BY_CODE["WRONGTYPE"]?.reason;
}

/** The script cache does not know the script. */
export function isNoScript(error: unknown): boolean {
  return error instanceof SupervisorError && error.data?.["reason"] === BY_CODE["NOSCRIPT"]?.reason;
}

/** Why Redis could not be asked, for people at the machine: what it said, or the way to it. */
export function unavailableText(error: unknown): string {
  const cause = error instanceof SupervisorError ? error.cause : undefined;
  const text = errorText(cause ?? error);
  // ioredis names an option of its own where a connection could not be made or was cut.
  return text.startsWith("Reached the max retries") ? "no connection" : text;
}

/**
 * Any failure of a call as `unavailable` with `data: {applied, reason}`. The cause keeps Redis' text for the log, without
 * the command: ioredis hangs the arguments on its errors, and they hold payloads. `known` overrides what the error says.
 */
export function toUnavailable(error: unknown, known?: Applied): SupervisorError {
  if (error instanceof SupervisorError) return error;
  const { applied: guessed, reason } = mappingOf(error);
  const applied = known ?? guessed;
  return new SupervisorError("unavailable", { data: { applied, reason }, cause: new Error(errorText(error)) });
}
