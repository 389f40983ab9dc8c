/** The subscriptions of all connections: how many, whose, in turn, and gone with their connection. */
import { randomBytes } from "node:crypto";

import { SupervisorError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { JobEvent, JobEventParams } from "../rpc/job-event.ts";
import type { Connection } from "../rpc/transport.ts";
import type { JobStore } from "../store/store.ts";
import { type Followed, followJob } from "./subscription.ts";

/** 16 hex: unique on a connection, and no more is asked of it. */
const ID_BYTES = 8;

export interface SubscriptionsOptions {
  readonly store: Pick<JobStore, "logs" | "onChange">;
  /** Subscriptions of one connection. */
  readonly maxPerConnection: number;
  readonly log: Log;
}

/** A connection that can push. */
export type PushConnection = Connection & Required<Pick<Connection, "notify">>;

export interface Wanted extends Pick<Followed, "after" | "withLogs" | "head" | "mayRead"> {
  readonly job: string;
  /** Only the same principal may end it. */
  readonly principal: string;
  /** Of the call that asked for it. */
  readonly requestId: string;
}

/** One that is made and waits for its answer to be sent. */
export interface Subscription {
  readonly id: string;
  readonly start: () => void;
}

interface Active {
  readonly principal: string;
  readonly controller: AbortController;
}

/** What one connection has. */
interface Followers {
  readonly active: Map<string, Active>;
  /** Resolves when the last piece of bulk so far is sent. */
  lastTurn: Promise<unknown>;
}

export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #followers = new WeakMap<Connection, Followers>();

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
  }

  /** Makes a subscription; nothing is told before it is started. @throws SupervisorError `tooMany`. */
  add(connection: PushConnection, { job, principal, requestId, ...wanted }: Wanted): Subscription {
    const { maxPerConnection } = this.#options;
    const followers = this.#followersOf(connection);
    if (followers.active.size >= maxPerConnection) {
      const data = { limit: "max_subscriptions", allowed: maxPerConnection, present: followers.active.size };
      throw new SupervisorError("tooMany", { data });
    }
    const id = randomBytes(ID_BYTES).toString("hex");
    const controller = new AbortController();
    followers.active.set(id, { principal, controller });
    // Gone while the call was at work: its end has been told already.
    if (connection.signal.aborted) controller.abort();
    const followed: Followed = {
      ...wanted,
      id: job,
      signal: controller.signal,
      send: (seq, event) => connection.notify(toNotification(id, seq, event)),
      inTurn: async (work) => inTurn(followers, work),
      drained: async () => connection.drained?.(),
    };
    return { id, start: () => void this.#run({ id, requestId }, followed, followers) };
  }

  /** Ends a subscription of this principal; false where there is none. Nothing is told any more once it returned. */
  remove(connection: Connection, id: string, principal: string): boolean {
    const followers = this.#followers.get(connection);
    const active = followers?.active.get(id);
    if (active === undefined || active.principal !== principal) return false;
    active.controller.abort();
    return followers?.active.delete(id) === true;
  }

  async #run(
    { id, requestId }: { id: string; requestId: string },
    followed: Followed,
    followers: Followers,
  ): Promise<void> {
    try {
      await followJob(this.#options.store, followed);
    } catch (error) {
      const about = { job: followed.id, request_id: requestId };
      this.#options.log.error({ event: "subscription_failed", ...about, err: error }, "a subscription failed");
    } finally {
      followers.active.delete(id);
    }
  }

  #followersOf(connection: Connection): Followers {
    const known = this.#followers.get(connection);
    if (known !== undefined) return known;
    const made: Followers = { active: new Map(), lastTurn: Promise.resolve() };
    this.#followers.set(connection, made);
    const end = (): void => made.active.forEach(({ controller }) => controller.abort());
    connection.signal.addEventListener("abort", end, { once: true });
    return made;
  }
}

/** One piece of bulk at a time on a connection: no follower takes the others' room. */
async function inTurn<Value>(followers: Followers, work: () => Promise<Value>): Promise<Value> {
  const turn = followers.lastTurn.then(work);
  // The next turn comes whatever became of this one; its failure is told to who waits for it.
  followers.lastTurn = turn.catch(() => undefined);
  return turn;
}

/** JSON-RPC 2.0 §4.1: no id, never answered. */
function toNotification(subscription: string, seq: number, event: JobEvent): Uint8Array {
  const params: JobEventParams = { subscription, seq, event };
  return Buffer.from(JSON.stringify({ jsonrpc: "2.0", method: "job_event", params }));
}
