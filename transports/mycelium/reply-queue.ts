/** The replies on their way to the daemon: fair among principals, bounded, beside the loop that receives. */

import { errorText } from "../../src/errors.ts";
import type { Log, LogLine } from "../../src/log.ts";
import { DaemonError } from "./daemon-request.ts";
import { Governor } from "./governor.ts";
import { padPayload } from "./padding.ts";
import { pause } from "./pause.ts";
import { type QueuedReply, ReplyLane, type WaitingReply } from "./reply-lane.ts";

/** What a {@link ReplyQueue} needs. */
export interface ReplyQueueParts {
  /** Hands a reply to the daemon. */
  readonly send: (id: string, nodeKey: string, payload: Uint8Array) => Promise<void>;
  readonly governor: Governor;
  readonly log: Log;
  /** Milliseconds of a clock that never runs backwards. */
  readonly now: () => number;
  /** Replies without a principal, all together (spec: mycelium, "The listener": 2). */
  readonly unauthenticatedPerSecond: number;
}

/** Replies without a principal: after a pause, as many at once as fall to so many seconds. */
const UNAUTHENTICATED_BURST_SECONDS = 5;
const UNAUTHENTICATED_LANE = "";
/** Bounds of what waits; beyond them a reply is dropped, and the caller's repeat finds it in the answer cache. */
const MAX_REPLIES = 2_000;
const MAX_BYTES = 64 * 1024 * 1024;
/** Nobody waits longer for an answer than a call over this carrier is valid. */
const MAX_AGE_MS = 420_000;
const RETRY_FIRST_MS = 200;
const RETRY_LAST_MS = 10_000;

/**
 * Each principal has a lane, and lanes take turns. One reply is on its way at a time: the daemon has one lock.
 * A reply that the daemon could not take goes behind all others and is handed over again; the same bytes for the same id
 * do no harm, even when the daemon had it.
 */
export class ReplyQueue {
  readonly #parts: ReplyQueueParts;
  readonly #allowance: Governor;
  readonly #lanes = new Map<string, ReplyLane>();
  readonly #stopping = new AbortController();
  #pump: Promise<void> | undefined;

  constructor(parts: ReplyQueueParts) {
    this.#parts = parts;
    this.#allowance = new Governor({
      perSecond: parts.unauthenticatedPerSecond,
      burst: Math.max(1, parts.unauthenticatedPerSecond * UNAUTHENTICATED_BURST_SECONDS),
      now: parts.now,
    });
  }

  /** Replies that wait. */
  get size(): number {
    return this.#sum(({ size }) => size);
  }

  /** Queues a reply; false when it is dropped instead: no allowance left, or too many wait. */
  add(reply: QueuedReply): boolean {
    const name = reply.principal ?? UNAUTHENTICATED_LANE;
    const lane = this.#lanes.get(name) ?? new ReplyLane();
    const bytes = this.#sum((other) => other.bytes);
    if (this.size >= MAX_REPLIES || bytes + reply.bytes.length > MAX_BYTES) {
      return false;
    }
    if (reply.principal === undefined && !this.#allowance.tryAcquire()) {
      return false;
    }
    if (!lane.add({ ...reply, queuedAt: this.#parts.now() })) {
      return false;
    }
    this.#lanes.set(name, lane);
    this.#pump ??= this.#run();
    return true;
  }

  /** Resolves when nothing waits any more, or when `deadline` aborts: then what waits is dropped. */
  async close(deadline: AbortSignal): Promise<void> {
    const stop = (): void => this.#stopping.abort();
    if (deadline.aborted) {
      stop();
    }
    deadline.addEventListener("abort", stop);
    await this.#pump;
    deadline.removeEventListener("abort", stop);
    stop();
  }

  async #run(): Promise<void> {
    let retryMs = RETRY_FIRST_MS;
    for (let next = this.#next(); next !== undefined && !this.#stopping.signal.aborted; next = this.#next()) {
      const [name, lane, reply] = next;
      const isDone = await this.#send(reply);
      if (isDone) {
        lane.remove(reply);
        this.#rotate(name, lane);
        retryMs = RETRY_FIRST_MS;
      } else {
        lane.postpone(reply);
        this.#rotate(name, lane);
        await pause(retryMs * (0.5 + Math.random()), this.#stopping.signal);
        retryMs = Math.min(retryMs * 2, RETRY_LAST_MS);
      }
    }
    this.#pump = undefined;
  }

  #next(): readonly [string, ReplyLane, WaitingReply] | undefined {
    for (const [name, lane] of this.#lanes) {
      const { first } = lane;
      if (first !== undefined) {
        return [name, lane, first];
      }
    }
    return undefined;
  }

  /** Puts a lane behind all others. */
  #rotate(name: string, lane: ReplyLane): void {
    this.#lanes.delete(name);
    if (lane.size > 0) {
      this.#lanes.set(name, lane);
    }
  }

  #sum(measure: (lane: ReplyLane) => number): number {
    return [...this.#lanes.values()].reduce((sum, lane) => sum + measure(lane), 0);
  }

  async #send(reply: WaitingReply): Promise<boolean> {
    const { log, now, send, governor } = this.#parts;
    const fields: LogLine = { event: "mycelium_reply", messageId: reply.id, node: reply.nodeKey };
    if (now() - reply.queuedAt > MAX_AGE_MS) {
      log.warn(fields, "Dropped a reply: the daemon took none for too long.");
      return true;
    }
    try {
      await governor.acquire(this.#stopping.signal);
      await send(reply.id, reply.nodeKey, padPayload(reply.bytes));
      return true;
    } catch (error) {
      const isHopeless = error instanceof DaemonError && error.kind === "status" && (error.status ?? 0) < 500;
      if (isHopeless) {
        log.error({ ...fields, error: errorText(error) }, "Dropped a reply: the daemon refuses it.");
      } else {
        log.debug({ ...fields, error: errorText(error) }, "A reply did not get through; it is sent again.");
      }
      return isHopeless;
    }
  }
}
