/** What becomes of one message: dropped, answered from memory, joined to a call in flight, or handled. */

import { createHash } from "node:crypto";

import { errorText } from "../../src/errors.ts";
import type { Log, LogLine } from "../../src/log.ts";
import type { Answer, Connection, RequestHandler } from "../../src/rpc/transport.ts";
import { isAddressOf, toNodeName } from "./address.ts";
import type { AnswerCache } from "./answer-cache.ts";
import type { OverlayMessage } from "./daemon-answers.ts";
import type { InFlightNotes } from "./in-flight-notes.ts";
import { deliverableBytes } from "./padding.ts";
import type { Peers } from "./peers.ts";
import type { ReplyQueue } from "./reply-queue.ts";
import { isAnswer, parseBytes, refusal } from "./rpc-text.ts";

/** Limits of an {@link Intake}. */
export interface IntakeLimits {
  /** Largest message taken, and largest answer, in bytes. */
  readonly maxMessageBytes: number;
  /** Longest wait a call may ask for, in ms. */
  readonly maxWaitMs: number;
  /** A call that takes longer is detached, in ms. */
  readonly detachAfterMs: number;
  /** As `detachAfterMs`, while other calls are detached: who waits on purpose must not hold up everybody else. */
  readonly detachSoonerMs: number;
  readonly maxDetached: number;
  readonly maxDetachedPerNode: number;
}

/** What an {@link Intake} needs. */
export interface IntakeParts {
  readonly handler: RequestHandler;
  readonly replies: ReplyQueue;
  readonly cache: AnswerCache;
  readonly notes: InFlightNotes;
  readonly peers: Peers;
  readonly log: Log;
  readonly limits: IntakeLimits;
}

/** A call being executed, and the messages that asked for it: the first, and repeats that came since. */
interface Call {
  readonly digest: string;
  readonly nodeKey: string;
  readonly stop: AbortController;
  readonly messageIds: string[];
  /** Revocations known when it began. */
  readonly since: number;
  done: Promise<void>;
  isDetached: boolean;
}

/** Message ids remembered as answered: one reply for a message, ever. */
const MAX_ANSWERED = 5_000;
/** Repeats that may wait for one call; further ones are answered by the caller's next repeat. */
const MAX_JOINED = 16;

/**
 * The listener peeks a message, gives it to {@link receive}, then takes it and says so with {@link taken}. `receive`
 * resolves when the message may be taken: handled, dropped, or detached because it takes long. It never throws:
 * nothing that arrives may stop the loop.
 */
export class Intake {
  readonly #parts: IntakeParts;
  /** Calls being executed, by digest of sender and payload. */
  readonly #calls = new Map<string, Call>();
  /** Oldest first. */
  readonly #answered = new Set<string>();
  #detached = 0;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
  }

  /** Takes in one message. */
  async receive(message: OverlayMessage): Promise<void> {
    try {
      await this.#receive(message);
    } catch (error) {
      const fields: LogLine = {
        event: "mycelium_dropped",
        messageId: message.id,
        node: message.srcPk,
        error: errorText(error),
      };
      this.#parts.log.error(fields, "Dropped a message: taking it in failed.");
    }
  }

  /** The message is gone from the daemon: its handling can not begin again. */
  async taken(id: string): Promise<void> {
    try {
      await this.#parts.notes.end(id);
    } catch (error) {
      this.#parts.log.warn({ event: "mycelium_note", messageId: id, error: errorText(error) }, "Cannot remove a note.");
    }
  }

  /** Resolves when no call is in flight; calls still there when `deadline` aborts are told to stop. */
  async close(deadline: AbortSignal): Promise<void> {
    const stop = (): void => {
      for (const call of this.#calls.values()) {
        call.stop.abort();
      }
    };
    const end = new Promise<void>((resolve) => {
      const give = (): void => {
        stop();
        resolve();
      };
      if (deadline.aborted) {
        give();
      }
      deadline.addEventListener("abort", give, { once: true });
    });
    await Promise.race([Promise.all([...this.#calls.values()].map(({ done }) => done)), end]);
  }

  async #receive(message: OverlayMessage): Promise<void> {
    const { peers, limits, cache } = this.#parts;
    if (!isAddressOf(message.srcPk, message.srcIp)) {
      this.#drop(message, "its sender's key and address do not belong together");
      return;
    }
    peers.heard(message.srcPk, message.srcIp);
    if (this.#answered.has(`${message.srcPk}${message.id}`)) {
      this.#drop(message, "it was answered before");
      return;
    }
    if (message.payload.length > deliverableBytes(limits.maxMessageBytes)) {
      // Unread: whoever sent it knows the id, we need not.
      this.#reply(message, refusal({ id: null }, "tooLarge", { limit: limits.maxMessageBytes }));
      return;
    }
    const digest = createHash("sha256").update(message.srcPk).update(message.payload).digest("hex");
    const cached = cache.get(digest);
    if (cached !== undefined) {
      this.#reply(message, cached.bytes, cached.principal);
      return;
    }
    const call = this.#calls.get(digest);
    if (call === undefined) {
      await this.#begin(message, digest);
    } else if (call.messageIds.includes(message.id)) {
      this.#drop(message, "its call is in flight, and will answer it");
    } else if (call.messageIds.length < MAX_JOINED) {
      call.messageIds.push(message.id);
    } else {
      this.#drop(message, "too many repeats wait for its call");
    }
  }

  async #begin(message: OverlayMessage, digest: string): Promise<void> {
    const request = parseBytes(message.payload);
    if (isAnswer(request)) {
      this.#drop(message, "it is an answer, not a request");
      return;
    }
    if (!(await this.#note(message))) {
      return;
    }
    const call = this.#start(message, digest);
    const { detachAfterMs, detachSoonerMs } = this.#parts.limits;
    const isDone = await isDoneWithin(call.done, this.#detached > 0 ? detachSoonerMs : detachAfterMs);
    if (!isDone && this.#calls.get(digest) === call) {
      this.#detach(call, message, request);
    }
  }

  /** False: the message killed the process too often. Where notes can not be written, calls are handled all the same. */
  async #note(message: OverlayMessage): Promise<boolean> {
    const { notes, log, peers } = this.#parts;
    const fields = { messageId: message.id, node: toNodeName(message.srcPk), bytes: message.payload.length };
    try {
      if (await notes.begin(message.id)) {
        return true;
      }
    } catch (error) {
      log.warn({ event: "mycelium_note", ...fields, error: errorText(error) }, "Cannot note a message in flight.");
      return true;
    }
    log.error({ event: "mycelium_poison", ...fields }, "Dropped a message: the process died twice while handling it.");
    peers.refused(message.srcPk);
    return false;
  }

  #start(message: OverlayMessage, digest: string): Call {
    const { limits, cache } = this.#parts;
    const stop = new AbortController();
    const connection: Connection = {
      peer: { transport: "mycelium", address: message.srcIp, node: toNodeName(message.srcPk) },
      signal: stop.signal,
      maxWaitMs: limits.maxWaitMs,
      maxAnswerBytes: limits.maxMessageBytes,
    };
    const call: Call = {
      digest,
      nodeKey: message.srcPk,
      stop,
      messageIds: [message.id],
      since: cache.revocations,
      done: Promise.resolve(),
      isDetached: false,
    };
    this.#calls.set(digest, call);
    call.done = this.#execute(call, message.payload, connection);
    return call;
  }

  async #execute(call: Call, payload: Uint8Array, connection: Connection): Promise<void> {
    try {
      const answer = await this.#parts.handler.handle(payload, connection);
      if (this.#forget(call) && answer.bytes !== undefined) {
        this.#finish(call, answer, answer.bytes);
      }
    } catch (error) {
      this.#forget(call);
      const fields: LogLine = { event: "mycelium_handler", messageId: call.messageIds[0], error: errorText(error) };
      this.#parts.log.error(fields, "The handler broke its promise never to throw; no answer is sent.");
    }
  }

  #finish(call: Call, answer: Answer, bytes: Uint8Array): void {
    const [principal] = answer.principals;
    if (answer.isRepeatable && principal !== undefined) {
      const { nodeKey: node, since } = call;
      this.#parts.cache.set(call.digest, { node, keys: answer.keys, principal, bytes }, since);
    }
    for (const id of call.messageIds) {
      this.#reply({ id, srcPk: call.nodeKey }, bytes, principal);
    }
  }

  /** False: it was given up before, its answer is nobody's any more. */
  #forget(call: Call): boolean {
    const isCurrent = this.#calls.get(call.digest) === call;
    if (isCurrent) {
      this.#calls.delete(call.digest);
      this.#detached -= call.isDetached ? 1 : 0;
    }
    return isCurrent && !call.stop.signal.aborted;
  }

  #detach(call: Call, message: OverlayMessage, request: unknown): void {
    const { limits, peers, log } = this.#parts;
    const ofNode = [...this.#calls.values()].filter((other) => other.isDetached && other.nodeKey === call.nodeKey);
    if (this.#detached < limits.maxDetached && ofNode.length < limits.maxDetachedPerNode) {
      call.isDetached = true;
      this.#detached += 1;
      return;
    }
    this.#calls.delete(call.digest);
    call.stop.abort();
    peers.refused(call.nodeKey);
    const fields: LogLine = { event: "mycelium_refused", messageId: message.id, node: toNodeName(call.nodeKey) };
    log.warn(fields, "Refused a call: too many calls of this node, or of all, wait already.");
    const limit = { limit: limits.maxDetachedPerNode };
    for (const id of call.messageIds) {
      this.#reply({ id, srcPk: call.nodeKey }, refusal(request, "tooMany", limit));
    }
  }

  #reply(message: Pick<OverlayMessage, "id" | "srcPk">, bytes?: Uint8Array, principal?: string): void {
    this.#answered.add(`${message.srcPk}${message.id}`);
    const [oldest] = this.#answered;
    if (this.#answered.size > MAX_ANSWERED && oldest !== undefined) {
      this.#answered.delete(oldest);
    }
    if (bytes === undefined) {
      return;
    }
    const reply = { id: message.id, nodeKey: message.srcPk, bytes };
    if (!this.#parts.replies.add(principal === undefined ? reply : { ...reply, principal })) {
      this.#parts.peers.refused(message.srcPk);
      const fields: LogLine = { event: "mycelium_unanswered", messageId: message.id, node: toNodeName(message.srcPk) };
      this.#parts.log.debug(fields, "A reply is dropped: its allowance is used up.");
    }
  }

  #drop(message: OverlayMessage, reason: string): void {
    this.#parts.peers.refused(message.srcPk);
    const fields: LogLine = {
      event: "mycelium_dropped",
      messageId: message.id,
      node: toNodeName(message.srcPk),
      reason,
    };
    this.#parts.log.debug(fields, "Dropped a message.");
  }
}

async function isDoneWithin(work: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const isDone = await Promise.race([work.then(() => true), late]);
  clearTimeout(timer);
  return isDone;
}
