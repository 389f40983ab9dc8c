/** Reaches a supervisor over the overlay, through the local Mycelium daemon; runs in browsers too. */

import { CarrierError, errorText } from "../../src/errors.ts";
import type { Dialer, OutgoingCall } from "../../src/rpc/transport.ts";
import { addressOf, isNodeKey, isSameSubnet, parseAddress } from "./address.ts";
import { type FoundAnswer, findAnswers, isTooLarge } from "./answers.ts";
import {
  DEFAULT_MAX_MESSAGE_BYTES,
  DEFAULT_TOPIC,
  type DaemonSettings,
  type Destination,
  MyceliumDaemon,
} from "./daemon.ts";
import { exchange } from "./exchange.ts";
import { Governor, governorOptions } from "./governor.ts";
import { padPayload } from "./padding.ts";

/** Settings of a {@link MyceliumDialer}. */
export interface MyceliumDialerOptions extends DaemonSettings {
  /** `mycelium://<64 hex digits>` or `mycelium://[overlay address]`. */
  readonly url: string;
  /** Default `supervisor.rpc`. */
  readonly topic?: string;
  /** Largest call, in bytes. Default 1 MiB. */
  readonly maxMessageBytes?: number;
  /** Sustained messages a second. Default 12; ignored where a governor is given. */
  readonly messagesPerSecond?: number;
  /** How long the first answer is waited for before the message is sent again, in ms. Default 15,000; then doubled. */
  readonly repeatAfterMs?: number;
  /** Shared by all that send through the same daemon in this process. Default: its own, from the settings. */
  readonly daemon?: MyceliumDaemon;
  readonly governor?: Governor;
}

/** A call whose promise is not settled. */
interface Pending {
  readonly call: OutgoingCall;
  readonly bytes: number;
  /** Settles the promise, once, and lets go of timer and signal. */
  readonly settle: (outcome: string | CarrierError) => void;
  /** The message that carries it; absent while it is queued. */
  message: Message | undefined;
  /** Bytes may have left. */
  isSent: boolean;
  trouble: string;
}

/** Calls that travel together. */
interface Message {
  readonly stop: AbortController;
  /** Calls not settled yet. */
  open: number;
}

const DEFAULT_REPEAT_AFTER_MS = 15_000;
/** A waiting call is not late before its wait is over, and the overlay has had this time. */
const WAITING_MARGIN_MS = 15_000;
/** Calls made within this time travel together. */
const COALESCE_MS = 5;
const MAX_IN_FLIGHT = 4;
const MAX_BATCH_ENTRIES = 100;
const MAX_BATCH_BYTES = 60_000;
/** After a batch whose answers were too large together, calls travel alone for so long. */
const ALONE_MS = 2_000;
/** A call signed here is valid so long: the overlay retries a message for five minutes (spec: signing). */
const VALIDITY_SECONDS = 420;
const MAX_WAIT_MS = 240_000;
/** A call that is lost is repeated until then, and one that waits so much longer than its wait. */
const DEADLINE_MS = 120_000;
const WAIT_DEADLINE_MARGIN_MS = 60_000;

/**
 * Calls become messages: those made within 5 ms, or while four messages are in flight, share one as a JSON-RPC batch
 * of at most 100 entries and 60 kB; waiting calls and larger ones travel alone. A message is repeated byte for byte
 * until it is answered or the last of its calls has passed its deadline.
 */
export class MyceliumDialer implements Dialer, AsyncDisposable {
  readonly url: string;
  readonly validitySeconds = VALIDITY_SECONDS;
  readonly maxWaitMs = MAX_WAIT_MS;
  readonly defaultDeadlineMs = DEADLINE_MS;
  readonly waitMarginMs = WAIT_DEADLINE_MARGIN_MS;
  readonly mayDeliverTwice = true;
  readonly #to: Destination;
  readonly #daemon: MyceliumDaemon;
  readonly #isDaemonShared: boolean;
  readonly #governor: Governor;
  readonly #topic: string;
  readonly #maxMessageBytes: number;
  readonly #repeatAfterMs: number;
  readonly #open = new Set<Pending>();
  readonly #closing = new AbortController();
  #queue: Pending[] = [];
  #inFlight = 0;
  #flushTimer: ReturnType<typeof setTimeout> | undefined;
  #aloneUntil = 0;
  #isSelfChecked = false;
  /** Why no call can be made any more. */
  #end: CarrierError | undefined;

  /** @throws Error when `url` or `api` is unusable */
  constructor(options: MyceliumDialerOptions) {
    this.url = options.url;
    this.#to = parseMyceliumUrl(options.url);
    this.#daemon = options.daemon ?? new MyceliumDaemon(options);
    this.#isDaemonShared = options.daemon !== undefined;
    this.#governor = options.governor ?? new Governor(governorOptions(options.messagesPerSecond));
    this.#topic = options.topic ?? DEFAULT_TOPIC;
    this.#maxMessageBytes = options.maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES;
    this.#repeatAfterMs = options.repeatAfterMs ?? DEFAULT_REPEAT_AFTER_MS;
  }

  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  /**
   * Sends one request.
   * @throws CarrierError when no answer came. `mustSignAgain`: the answers of its batch were too large together; the same
   *   call with a fresh nonce travels alone and can succeed.
   */
  call(call: OutgoingCall): Promise<string> {
    const bytes = new TextEncoder().encode(call.text).length;
    if (this.#end !== undefined) {
      return Promise.reject(new CarrierError(this.#end.message, "no", this.#end, { isFinal: true }));
    }
    if (bytes > this.#maxMessageBytes) {
      const text = `the call has ${bytes} bytes; Mycelium carries at most ${this.#maxMessageBytes} bytes`;
      return Promise.reject(new CarrierError(text, "no", undefined, { limit: "max_message_bytes" }));
    }
    return new Promise((resolve, reject) => {
      const pending = this.#createPending(call, bytes, (outcome) =>
        outcome instanceof CarrierError ? reject(outcome) : resolve(outcome),
      );
      // Given up before it began: nothing would ever end a message of it.
      if (call.signal?.aborted === true) {
        return;
      }
      if (call.waitMs > 0) {
        void this.#send([pending], Math.max(this.#repeatAfterMs, call.waitMs + WAITING_MARGIN_MS));
      } else {
        this.#queue.push(pending);
        this.#flushTimer ??= setTimeout(() => this.#flush(), COALESCE_MS);
      }
    });
  }

  /** Ends all calls that are open. */
  close(): Promise<void> {
    this.#closing.abort();
    this.#finish(new CarrierError(`${this.url}: the dialer is closed`, "unknown", undefined, { isFinal: true }));
    if (!this.#isDaemonShared) {
      this.#daemon.close();
    }
    return Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #createPending(call: OutgoingCall, bytes: number, done: (outcome: string | CarrierError) => void): Pending {
    const fail = (why: string): void => {
      const trouble = pending.trouble === "" ? "" : `; last: ${pending.trouble}`;
      pending.settle(new CarrierError(`${why}${trouble}`, pending.isSent ? "unknown" : "no"));
    };
    const abort = (): void => fail("the call was given up");
    const timer = setTimeout(() => fail(this.#silence(call.deadlineMs)), call.deadlineMs);
    const pending: Pending = {
      call,
      bytes,
      settle: (outcome) => {
        if (this.#open.delete(pending)) {
          clearTimeout(timer);
          call.signal?.removeEventListener("abort", abort);
          this.#leave(pending);
          done(outcome);
        }
      },
      message: undefined,
      isSent: false,
      trouble: "",
    };
    this.#open.add(pending);
    call.signal?.addEventListener("abort", abort);
    if (call.signal?.aborted === true) {
      abort();
    }
    return pending;
  }

  #silence(deadlineMs: number): string {
    const reasons = "no route to it, it is not running, or its whitelist refuses this node";
    return `no answer from ${this.url} within ${Math.round(deadlineMs / 1000)} s: ${reasons}`;
  }

  /** A call is settled: out of the queue, and its message ends with its last call. */
  #leave(pending: Pending): void {
    const { message } = pending;
    if (message === undefined) {
      this.#queue = this.#queue.filter((other) => other !== pending);
      return;
    }
    message.open -= 1;
    if (message.open === 0) {
      message.stop.abort();
    }
  }

  #flush(): void {
    this.#flushTimer = undefined;
    while (this.#queue.length > 0 && this.#inFlight < MAX_IN_FLIGHT) {
      this.#inFlight += 1;
      void this.#send(this.#nextBatch(), this.#repeatAfterMs).finally(() => {
        this.#inFlight -= 1;
        this.#flush();
      });
    }
  }

  #nextBatch(): Pending[] {
    const limit = performance.now() < this.#aloneUntil ? 1 : MAX_BATCH_ENTRIES;
    // Two brackets; each entry brings a comma.
    let bytes = 2;
    let count = 0;
    for (const pending of this.#queue) {
      bytes += pending.bytes + 1;
      if (count === limit || (count > 0 && bytes > MAX_BATCH_BYTES)) {
        break;
      }
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  async #send(calls: readonly Pending[], repeatAfterMs: number): Promise<void> {
    const message: Message = { stop: new AbortController(), open: calls.length };
    for (const pending of calls) {
      pending.message = message;
    }
    void this.#refuseSelf();
    const texts = calls.map(({ call }) => call.text);
    const text = texts.length === 1 ? (texts[0] ?? "") : `[${texts.join(",")}]`;
    const route = { daemon: this.#daemon, governor: this.#governor, to: this.#to, topic: this.#topic };
    const mark = (change: Partial<Pick<Pending, "isSent" | "trouble">>): void => {
      for (const pending of calls) {
        Object.assign(pending, change);
      }
    };
    try {
      const reply = await exchange(route, {
        payload: padPayload(new TextEncoder().encode(text)),
        repeatAfterMs,
        signal: message.stop.signal,
        onSent: (isSent) => mark({ isSent }),
        onTrouble: (trouble) => mark({ trouble }),
      });
      this.#deliver(calls, reply);
    } catch (error) {
      const failure = error instanceof CarrierError ? error : new CarrierError(errorText(error), "unknown", error);
      settleAll(calls, failure);
    }
  }

  #deliver(calls: readonly Pending[], reply: Uint8Array): void {
    const answers = findAnswers(
      reply,
      calls.map(({ call }) => call.id),
    );
    for (const pending of calls) {
      const answer = answers?.get(pending.call.id);
      if (answer === undefined) {
        const what = answers === undefined ? "is not JSON-RPC" : "leaves this call out";
        pending.settle(new CarrierError(`the answer of ${this.url} ${what}`, "unknown"));
      } else {
        pending.settle(this.#outcome(answer, calls.length > 1));
      }
    }
  }

  #outcome(answer: FoundAnswer, isBatch: boolean): string | CarrierError {
    if (isBatch && isTooLarge(answer)) {
      this.#aloneUntil = performance.now() + ALONE_MS;
      return new CarrierError("too large in a batch; the call must be signed again", "unknown", undefined, {
        mustSignAgain: true,
      });
    }
    return answer.text;
  }

  /** A message to oneself is accepted and never delivered (spec: mycelium, facts). Asked beside the first message. */
  async #refuseSelf(): Promise<void> {
    if (this.#isSelfChecked) {
      return;
    }
    this.#isSelfChecked = true;
    try {
      const own = parseAddress((await this.#daemon.admin()).address);
      const target = "pk" in this.#to ? addressOf(this.#to.pk) : parseAddress(this.#to.ip);
      if (own !== undefined && target !== undefined && isSameSubnet(own, target)) {
        const reason = "is the node of this daemon itself, and the overlay delivers nothing to oneself";
        this.#finish(
          new CarrierError(`${this.url} ${reason}. Use HTTP on this host.`, "no", undefined, { isFinal: true }),
        );
      }
    } catch {
      // No answer now: the message itself tells why, and the next one asks again.
      this.#isSelfChecked = false;
    }
  }

  #finish(end: CarrierError): void {
    this.#end ??= end;
    clearTimeout(this.#flushTimer);
    settleAll([...this.#open], end);
  }
}

function settleAll(calls: readonly Pending[], outcome: CarrierError): void {
  for (const pending of calls) {
    pending.settle(outcome);
  }
}

/**
 * The destination of a `mycelium://` URL.
 * @throws Error when it names neither a node key nor an overlay address (400::/7)
 */
export function parseMyceliumUrl(url: string): Destination {
  const [, host = ""] = /^mycelium:\/\/([^/?#]+)\/?$/.exec(url) ?? [];
  if (isNodeKey(host.toLowerCase())) {
    return { pk: host.toLowerCase() };
  }
  const ip = /^\[(.+)\]$/.exec(host)?.[1] ?? "";
  const first = parseAddress(ip)?.[0] ?? 0;
  if (first !== 4 && first !== 5) {
    throw new Error(`"${url}": give mycelium://<64 hex digits of the node's key> or mycelium://[its overlay address].`);
  }
  return { ip };
}
