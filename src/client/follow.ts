/** Following a job: its log and its states as async iterators, pushed where the carrier can, else over long polls. */
import { ERRORS } from "../errors.ts";
import type { JobEvent } from "../rpc/job-event.ts";
import { type JobSummary, type LogEntry, TERMINAL_STATES } from "../rpc/schema.ts";
import type { SupervisorClient } from "./client.ts";
import { type EventSource, followEvents } from "./events.ts";
import { pause } from "./pause.ts";
import { retryAfterMs, RpcError } from "./rpc-error.ts";

export interface FollowOptions {
  /** Ends the iteration quietly. */
  readonly signal?: AbortSignal;
  /**
   * The job is known to be there: a store that is away is waited for from the first question on. False unless told: then
   * it is waited for once something was answered.
   */
  readonly isKnown?: boolean;
}

export interface FollowLogsOptions extends FollowOptions {
  /** Position of the first entry, from 0; 0 unless told. After a break: how many entries were read before. */
  readonly from?: number;
  /** False: only what is there now. True unless told: until the job is terminal and its log is read. */
  readonly follow?: boolean;
}

type Caller = EventSource & Pick<SupervisorClient, "maxWaitMs"> & Partial<Pick<SupervisorClient, "closed">>;

/** A wait whose answer got lost, on a carrier that does not notice, costs no more than this. */
const LONGEST_WAIT_MS = 60_000;
/** After an answer that brought nothing, so that a supervisor that can not hold a wait is not asked in a loop. */
const IDLE_PAUSE_MS = 200;
/** Between two questions to a supervisor whose store is away. */
const AWAY_PAUSE_MS = 1000;

/** How far the pushed part got. */
interface Progress<Value> {
  readonly isOver: boolean;
  readonly last: Value;
}

/** The entries of a job's log, all attempts, in the order they were stored. Gaps are entries of stream `system`. */
export async function* followLogs(
  client: Caller,
  id: string,
  options: FollowLogsOptions = {},
): AsyncGenerator<LogEntry, void, undefined> {
  const { from = 0, follow = true, isKnown = false } = options;
  const pushed: Progress<number> = follow ? yield* pushedLogs(client, id, options) : { isOver: false, last: from };
  // Not pushed, or not to the end: polls go on from there, and tell what refusal it was.
  if (pushed.isOver) return;
  yield* polledLogs(client, id, { ...options, from: pushed.last, follow, isKnown: isKnown || pushed.last > from });
}

async function* pushedLogs(
  client: Caller,
  id: string,
  { from = 0, signal }: FollowLogsOptions,
): AsyncGenerator<LogEntry, Progress<number>, undefined> {
  let position = from;
  const options = { after: from, logs: true, ...(signal === undefined ? {} : { signal }) };
  for await (const { event } of followEvents(client, id, options)) {
    if (event.type === "log") {
      position += 1;
      yield event.entry;
    }
    if (isOver(event)) return { isOver: true, last: position };
  }
  return { isOver: false, last: position };
}

type Told = Readonly<Required<Pick<FollowLogsOptions, "from" | "follow" | "isKnown">>>;

async function* polledLogs(
  client: Caller,
  id: string,
  { from, follow, isKnown, signal }: FollowLogsOptions & Told,
): AsyncGenerator<LogEntry, void, undefined> {
  let position = from;
  let isBegun = isKnown;
  const waitMs = follow ? Math.min(client.maxWaitMs, LONGEST_WAIT_MS) : 0;
  for (;;) {
    // Answered at once for the first time: a wait that an outage cuts off has begun.
    const wait = isBegun ? waitMs : 0;
    const page = await unlessAborted({ client, signal, isBegun: isBegun && follow }, async (options) =>
      client.call("get_job_logs", { id, from: position, wait_ms: wait }, options),
    );
    if (page === undefined) return;
    isBegun = true;
    yield* page.entries;
    position = page.next;
    const isIdle = page.entries.length === 0;
    if (page.done || (isIdle && !follow)) return;
    if (isIdle && wait > 0) await pause(IDLE_PAUSE_MS, signal);
  }
}

/** The states of a job: the present one at once, then each change, the terminal one last. */
export async function* followStates(
  client: Caller,
  id: string,
  options: FollowOptions = {},
): AsyncGenerator<JobSummary, void, undefined> {
  const pushed: Progress<JobSummary | undefined> = yield* pushedStates(client, id, options);
  if (!pushed.isOver) yield* polledStates(client, id, { ...options, seen: pushed.last });
}

async function* pushedStates(
  client: Caller,
  id: string,
  options: FollowOptions,
): AsyncGenerator<JobSummary, Progress<JobSummary | undefined>, undefined> {
  let last: JobSummary | undefined;
  for await (const { event } of followEvents(client, id, { ...options, logs: false })) {
    if (event.type === "state") {
      last = event.job;
      yield last;
    }
    if (isOver(event)) return { isOver: true, last };
  }
  return { isOver: false, last };
}

async function* polledStates(
  client: Caller,
  id: string,
  { seen, signal, isKnown = false }: FollowOptions & { readonly seen: JobSummary | undefined },
): AsyncGenerator<JobSummary, void, undefined> {
  const waitMs = Math.min(client.maxWaitMs, LONGEST_WAIT_MS);
  let last = seen;
  for (;;) {
    const params = last === undefined ? { id, wait_ms: 0 } : { id, since: last.revision, wait_ms: waitMs };
    const job = await unlessAborted({ client, signal, isBegun: isKnown || last !== undefined }, async (options) =>
      client.call("wait_job", params, options),
    );
    if (job === undefined) return;
    const isNew = job.revision !== last?.revision;
    last = job;
    if (isNew) yield job;
    if (TERMINAL_STATES.some((state) => state === job.state)) return;
    if (!isNew) await pause(IDLE_PAUSE_MS, signal);
  }
}

/** All has been told; other ends are refusals, and the polls find out which. */
function isOver(event: JobEvent): boolean {
  return event.type === "end" && event.reason === "terminal";
}

/**
 * The answer, or undefined once the signal has aborted, before the call or during it. What was begun outlasts a store that is
 * away, as a subscription does: it is asked again until it is back. So does it a rate too small for a call's deadline.
 */
async function unlessAborted<Value>(
  {
    client,
    signal,
    isBegun,
  }: { readonly client: Caller; readonly signal: AbortSignal | undefined; readonly isBegun: boolean },
  ask: (options: FollowOptions) => Promise<Value>,
): Promise<Value | undefined> {
  const isAborted = (): boolean => signal?.aborted === true;
  for (;;) {
    if (isAborted()) return undefined;
    try {
      return await ask(signal === undefined ? {} : { signal });
    } catch (error) {
      if (isAborted()) return undefined;
      const pauseMs = isBegun ? passingMs(error) : undefined;
      if (pauseMs === undefined) throw error;
      await pause(pauseMs, signal, client.closed);
    }
  }
}

/** When to ask again after a refusal that passes; undefined for one that stays. */
function passingMs(error: unknown): number | undefined {
  const toldMs = retryAfterMs(error);
  if (toldMs !== undefined) return Math.min(Math.max(toldMs, IDLE_PAUSE_MS), LONGEST_WAIT_MS);
  return error instanceof RpcError && error.code === ERRORS.unavailable.code ? AWAY_PAUSE_MS : undefined;
}
