/** Handlers of the job methods: ownership, redaction and waiting; the work is in src/jobs and the store. */
import type { CursorSealer } from "../../auth/cursor.ts";
import type { Caller } from "../../auth/policy.ts";
import type { Sessions } from "../../auth/session.ts";
import { SupervisorError } from "../../errors.ts";
import { isTerminal, type JobHead, type JobRecord } from "../../jobs/job.ts";
import type { Submit } from "../../jobs/submit.ts";
import { toSummary, toView, traceparentOf } from "../../jobs/view.ts";
import { hasChanged, waitFor } from "../../jobs/wait.ts";
import type { Cancelled, Deleted, JobPosition, JobQuery, JobStore, LogPage } from "../../store/store.ts";
import type { CallContext, Handlers } from "../context.ts";
import type { Reach } from "../method.ts";
import type { Params } from "../methods.ts";
import type { LogEntry } from "../schema.ts";
import { afterWrite } from "./after-write.ts";
import { createRightsCheck } from "./rights.ts";

export type JobHandlers = Pick<
  Handlers,
  "create_job" | "get_job" | "list_jobs" | "wait_job" | "get_job_logs" | "cancel_job" | "delete_job"
>;

interface JobHandlerOptions {
  readonly jobs: JobStore;
  readonly submit: Submit;
  readonly cursors: CursorSealer;
  readonly sessions: Pick<Sessions, "callerOf">;
}

type VerifiedCaller = Caller & { readonly reach: Reach };

/** Members of a log entry beside its text. */
const ENTRY_BYTES = 128;
const DEFAULT_WAIT_MS = 25_000;
const DEFAULT_LOG_LIMIT = 500;
const DEFAULT_PAGE_LIMIT = 50;

export function createJobHandlers({ jobs, submit, cursors, sessions }: JobHandlerOptions): JobHandlers {
  return {
    create_job: ({ job }, { signatures, connection, verified }) =>
      submit({ job, signatures, peer: connection.peer, verified }),

    get_job: async ({ id }, context) => {
      const caller = callerOf(context);
      const record = readable(await jobs.get(id), caller);
      context.tracedBy(traceparentOf(record));
      return toView(record, record.principal === caller.principal ? "owner" : readerOf(caller));
    },

    list_jobs: async (params, context) => {
      const caller = callerOf(context);
      const query = toQuery(params, caller, cursors);
      const page = await jobs.list(query);
      return {
        jobs: page.jobs.map(toSummary),
        ...(page.next === undefined ? {} : { next: cursors.seal({ ...page.next, scope: scopeOf(query, caller) }) }),
      };
    },

    wait_job: async ({ id, since, wait_ms }, context) => {
      const caller = callerOf(context);
      const assertRights = createRightsCheck(sessions, "wait_job", context);
      const head = await waitFor(jobs, {
        id,
        waitMs: wait_ms ?? Math.min(DEFAULT_WAIT_MS, context.connection.maxWaitMs),
        signal: context.signal,
        look: async (isLast) => {
          const [present] = await Promise.all([jobs.head(id), assertRights()]);
          return isLast || hasChanged(readable(present, caller), since) ? present : undefined;
        },
      });
      return toSummary(readable(head, caller));
    },

    get_job_logs: async ({ id, from = 0, limit = DEFAULT_LOG_LIMIT, wait_ms }, context) => {
      const caller = callerOf(context);
      const assertRights = createRightsCheck(sessions, "get_job_logs", context);
      const page = await waitFor(jobs, {
        id,
        waitMs: wait_ms ?? 0,
        signal: context.signal,
        look: async (isLast) => {
          // The head first: entries that come between the two reads make the page longer, never `done` too early.
          const head = readable(await jobs.head(id), caller);
          const [stored] = await Promise.all([jobs.logs(id, from, limit), assertRights()]);
          const { entries, next } = fitting(stored, context.connection.maxAnswerBytes / 2);
          const done = isTerminal(head.state) && next >= head.logCount;
          return isLast || entries.length > 0 || done ? { entries, next, done } : undefined;
        },
      });
      return page ?? { entries: [], next: from, done: false };
    },

    ...createEndHandlers(jobs),
  };
}

/** Undefined too where somebody else left a record that can not be read: it can be ended and removed all the same. */
async function wholeOf(jobs: JobStore, id: string): Promise<JobRecord | undefined> {
  try {
    return await jobs.get(id);
  } catch (error) {
    if (error instanceof SupervisorError) throw error;
    return undefined;
  }
}

/** Ends and removals: decisions, so that the job's trace stands in the audit trail. */
function createEndHandlers(jobs: JobStore): Pick<Handlers, "cancel_job" | "delete_job"> {
  return {
    cancel_job: async ({ id }, context) => {
      const caller = callerOf(context);
      assertDone(await jobs.cancel(id, actorOf(caller), `cancelled by ${caller.principal}`));
      return afterWrite(async () => {
        const record = await wholeOf(jobs, id);
        if (isReadable(record, caller)) context.tracedBy(traceparentOf(record));
        return toSummary(readable(record ?? (await jobs.head(id)), caller));
      });
    },

    delete_job: async ({ id }, context) => {
      const caller = callerOf(context);
      // Afterwards nobody could say any more which trace the job belonged to.
      const record = await wholeOf(jobs, id);
      if (isReadable(record, caller)) context.tracedBy(traceparentOf(record));
      assertDone(await jobs.delete(id, actorOf(caller)));
      return { id, deleted: true };
    },
  };
}

/** As many entries as fit, one at least: what a carrier can not hold as one answer is read in more pages. */
function fitting({ entries, next }: LogPage, maxBytes: number): { entries: LogEntry[]; next: number } {
  let bytes = 0;
  const end = entries.findIndex((entry, index) => {
    // Escapes can make six bytes of one; UTF-8 three of a UTF-16 unit.
    bytes += ENTRY_BYTES + Buffer.byteLength(JSON.stringify(entry.text ?? entry.base64 ?? ""));
    return index > 0 && bytes > maxBytes;
  });
  const count = end === -1 ? entries.length : end;
  return { entries: entries.slice(0, count), next: next - (entries.length - count) };
}

/** What the script refused, as the typed error. */
function assertDone(done: Cancelled | Deleted): void {
  if (done.outcome === "missing") throw new SupervisorError("notFound");
  if (done.outcome === "wrong_state") throw new SupervisorError("wrongState", { data: { state: done.state } });
}

/** The dispatcher gives every method of credential `call` its caller. */
export function callerOf(context: CallContext): VerifiedCaller {
  if (context.caller === undefined) throw new SupervisorError("unauthenticated");
  return context.caller;
}

/** Missing and not yours are one answer after the same read. */
export function readable<Head extends JobHead>(head: Head | undefined, caller: VerifiedCaller): Head {
  if (!isReadable(head, caller)) throw new SupervisorError("notFound");
  return head;
}

export function isReadable<Head extends JobHead>(head: Head | undefined, caller: VerifiedCaller): head is Head {
  return head !== undefined && (caller.reach !== "own" || head.principal === caller.principal);
}

function readerOf(caller: VerifiedCaller): "admin" | "observer" {
  return caller.reach === "all" ? "admin" : "observer";
}

function actorOf(caller: VerifiedCaller): { readonly principal?: string } {
  return caller.reach === "all" ? {} : { principal: caller.principal };
}

function toQuery(params: Params<"list_jobs">, caller: VerifiedCaller, cursors: CursorSealer): JobQuery {
  if (params.all === true && caller.reach === "own") throw new SupervisorError("forbidden");
  const query: JobQuery = {
    ...(params.all === true ? {} : { principal: caller.principal }),
    ...(params.state === undefined ? {} : { state: params.state }),
    ...(params.runner === undefined ? {} : { queue: params.runner }),
    ...(params.context_id === undefined ? {} : { contextId: params.context_id }),
    ...(params.created_after_ms === undefined ? {} : { fromMs: params.created_after_ms }),
    ...(params.created_before_ms === undefined ? {} : { untilMs: params.created_before_ms }),
    limit: params.limit ?? DEFAULT_PAGE_LIMIT,
  };
  if (params.cursor === undefined) return query;
  const before = positionOf(cursors.open(params.cursor), scopeOf(query, caller));
  if (before === undefined) {
    const data = { path: "params.cursor", expected: "`next` of a page of the same caller and filter" };
    throw new SupervisorError("invalidParams", { data });
  }
  return { ...query, before };
}

/** A cursor is bound to who asked and to the filter, so that it can not be carried over. */
function scopeOf({ before: _before, limit: _limit, ...filter }: JobQuery, caller: Caller): string {
  return caller.principal + JSON.stringify(Object.entries(filter).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function positionOf(opened: unknown, scope: string): JobPosition | undefined {
  if (typeof opened !== "object" || opened === null) return undefined;
  const { admittedMs, id, scope: sealedScope }: { admittedMs?: unknown; id?: unknown; scope?: unknown } = opened;
  if (typeof admittedMs !== "number" || typeof id !== "string" || sealedScope !== scope) return undefined;
  return { admittedMs, id };
}
