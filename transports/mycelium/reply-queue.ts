/** The replies on their way to the daemon: fair among principals, bounded, beside the loop that receives. */

import { errorText } from "../../src/errors.ts";
import type { Log, LogLine } from "../../src/log.ts";
import { DaemonError } from "./daemon-request.ts";
import { Governor } from "./governor.ts";
import { padPayload } from "./padding.ts";
import { pause } from "./pause.ts";

/** A reply to one message. */
export interface QueuedReply {
  /** Id of the message. */
  readonly id: string;
  /** Key of the node that sent it. */
  readonly nodeKey: string;
  readonly bytes: Uint8Array;
  /** Whose signature was good; absent for unauthenticated and malformed calls, which share one small allowance. */
  readonly principal?: string;
}

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
const MAX_REPLIES_A_LANE = 500;
/** Nobody waits longer for an answer than a call over this carrier is valid. */
const MAX_AGE_MS = 420_000;
const RETRY_FIRST_MS = 200;
const RETRY_LAST_MS = 10_000;

interface Waiting extends QueuedReply {
  readonly queuedAt: number;
}

/**
 * Each principal has a lane, and lanes take turns. One reply is on its way at a time: the daemon has one lock.
 * A reply that the daemon could not take stays first and is handed over again; the same bytes for the same id do no
 * harm, even when the daemon had it.
 */
export class ReplyQueue {
  readonly #parts: ReplyQueueParts;
  readonly #allowance: Governor;
  readonly #lanes = new Map<string, Waiting[]>();
  readonly #stopping = new AbortController();
  #count = 0;
  #bytes = 0;
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
    return this.#count;
  }

  /** Queues a reply; false when it is dropped instead: no allowance left, or too many wait. */
  add(reply: QueuedReply): boolean {
    const name = reply.principal ?? UNAUTHENTICATED_LANE;
    const lane = this.#lanes.get(name) ?? [];
    const isFull = this.#count >= MAX_REPLIES || this.#bytes + reply.bytes.length > MAX_BYTES;
    if (isFull || lane.length >= MAX_REPLIES_A_LANE) {
      return false;
    }
    if (reply.principal === undefined && !this.#allowance.tryAcquire()) {
      return false;
    }
    lane.push({ ...reply, queuedAt: this.#parts.now() });
    this.#lanes.set(name, lane);
    this.#count += 1;
    this.#bytes += reply.bytes.length;
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
      const [name, reply] = next;
      const isDone = await this.#send(reply);
      if (isDone) {
        this.#remove(name, reply);
        retryMs = RETRY_FIRST_MS;
      } else {
        await pause(retryMs * (0.5 + Math.random()), this.#stopping.signal);
        retryMs = Math.min(retryMs * 2, RETRY_LAST_MS);
      }
    }
    this.#pump = undefined;
  }

  #next(): readonly [string, Waiting] | undefined {
    for (const [name, [reply]] of this.#lanes) {
      if (reply !== undefined) {
        return [name, reply];
      }
    }
    return undefined;
  }

  /** Takes a reply out, and puts its lane behind all others. */
  #remove(name: string, reply: Waiting): void {
    const [, ...rest] = this.#lanes.get(name) ?? [];
    this.#lanes.delete(name);
    if (rest.length > 0) {
      this.#lanes.set(name, rest);
    }
    this.#count -= 1;
    this.#bytes -= reply.bytes.length;
  }

  async #send(reply: Waiting): Promise<boolean> {
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
