/** Handlers of what only connections that last can offer: logging in once, and following jobs by notifications. */
import { reachOf } from "../../auth/policy.ts";
import type { Sessions } from "../../auth/session.ts";
import { SupervisorError } from "../../errors.ts";
import type { PushConnection, Subscriptions } from "../../jobs/subscriptions.ts";
import type { JobStore } from "../../store/store.ts";
import type { CallContext, Handlers } from "../context.ts";
import { METHODS } from "../methods.ts";
import type { Connection } from "../transport.ts";
import { callerOf, isReadable, readable } from "./jobs.ts";

export type SessionHandlers = Pick<Handlers, "auth_challenge" | "auth_login" | "subscribe_job" | "unsubscribe_job">;

interface SessionHandlerOptions {
  readonly sessions: Sessions;
  readonly subscriptions: Subscriptions;
  readonly jobs: Pick<JobStore, "head">;
}

export function createSessionHandlers({ sessions, subscriptions, jobs }: SessionHandlerOptions): SessionHandlers {
  return {
    auth_challenge: async (_params, { connection }) => {
      const { challenge, endMs } = sessions.challenge(connection);
      return { challenge, expires_at: toSeconds(endMs) };
    },

    auth_login: async (_params, context) => {
      const { key, principal } = callerOf(context);
      return { key, principal, expires_at: toSeconds(sessions.bind(context.connection, key)) };
    },

    subscribe_job: async ({ id, after, logs }, context) => {
      const connection = pushing(context.connection);
      const caller = callerOf(context);
      const mayReadLogs = reachOf(caller.roles, METHODS.get_job_logs.access) !== undefined;
      const withLogs = logs ?? mayReadLogs;
      if (withLogs && !mayReadLogs) throw new SupervisorError("forbidden");
      readable(await jobs.head(id), caller);
      const subscription = subscriptions.add(connection, {
        job: id,
        principal: caller.principal,
        requestId: context.requestId,
        after,
        withLogs,
        // The id may be another principal's one day, once its tombstone is gone.
        head: async () => {
          const head = await jobs.head(id);
          return isReadable(head, caller) ? head : undefined;
        },
        mayRead: createRightsCheck(sessions, context, withLogs),
      });
      context.afterAnswer(subscription.start);
      return { subscription: subscription.id, logs: withLogs };
    },

    unsubscribe_job: async ({ subscription }, context) => {
      const connection = pushing(context.connection);
      return { subscription, ended: subscriptions.remove(connection, subscription, callerOf(context).principal) };
    },
  };
}

/**
 * Do the rights hold by which a subscription was made? By the login, while there is one, where the call was not signed;
 * by the key either way, whose roles or owner may have changed.
 */
function createRightsCheck(sessions: Sessions, context: CallContext, withLogs: boolean): () => Promise<boolean> {
  const { connection, signedCall } = context;
  const { key, principal, reach } = callerOf(context);
  return async () => {
    const present =
      signedCall === undefined ? await sessions.find(connection) : await sessions.callerOf(connection, key);
    if (
      present?.key !== key ||
      present.principal !== principal ||
      reachOf(present.roles, METHODS.subscribe_job.access) !== reach
    )
      return false;
    return !withLogs || reachOf(present.roles, METHODS.get_job_logs.access) !== undefined;
  };
}

/** @throws SupervisorError `wrongState` where the carrier can not push, with what serves there. */
function pushing(connection: Connection): PushConnection {
  if (!isPushing(connection)) {
    const { transport } = connection.peer;
    const message = `Notifications need WebSocket, and this is ${transport}: wait_job and the positions of get_job_logs serve here`;
    throw new SupervisorError("wrongState", { message, data: { instead: ["wait_job", "get_job_logs"] } });
  }
  return connection;
}

function isPushing(connection: Connection): connection is PushConnection {
  return connection.notify !== undefined;
}

function toSeconds(ms: number): number {
  return Math.floor(ms / 1000);
}
