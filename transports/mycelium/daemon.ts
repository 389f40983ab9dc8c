/** Typed client of the Mycelium daemon's REST API (spec: mycelium, first table; checked against 0.7.10). */

import { toBase64 } from "./base64.ts";
import {
  type Delivery,
  type NodeInfo,
  type OverlayMessage,
  parseDelivery,
  parseMessage,
  parseMessageId,
  parseNodeInfo,
  parseTexts,
} from "./daemon-answers.ts";
import { type Ask, DaemonError, type Reply, Requester } from "./daemon-request.ts";

/** Where a daemon is. */
export interface DaemonSettings {
  /** Base URL of the REST API. Default `http://127.0.0.1:8989/api/v1`. */
  readonly api?: string;
  /** Permits an `api` that is not on this host. Whoever can reach the API reads every message: default false. */
  readonly allowRemoteApi?: boolean;
  /** Deadline of requests that wait for nothing, in ms. Default 10,000. */
  readonly deadlineMs?: number;
}

/** Where a message goes: to a node key, or to whoever owns the subnet of an overlay address. */
export type Destination = { readonly pk: string } | { readonly ip: string };

/** A message to send. */
export interface OutgoingMessage {
  readonly to: Destination;
  readonly topic: string;
  readonly payload: Uint8Array;
  /** How long the daemon waits for the reply, in whole seconds. */
  readonly replyTimeoutSeconds: number;
  readonly signal?: AbortSignal;
}

/** The API's address where none is configured. */
export const DEFAULT_API = "http://127.0.0.1:8989/api/v1";

/** Topic of the messages between supervisors and their callers. */
export const DEFAULT_TOPIC = "supervisor.rpc";

/** Largest payload of one message, in bytes; the daemon's own limit is 2 MiB of base64 with its envelope. */
export const DEFAULT_MAX_MESSAGE_BYTES = 1024 * 1024;

const DEFAULT_DEADLINE_MS = 10_000;
/** How much longer than its own wait a request may take (spec: mycelium, "The dialer"). */
const DEADLINE_MARGIN_MS = 10_000;
/** How long a push is given to get past the daemon's lock before a held read may take it again. */
const PUSH_GRACE_MS = 10;
const PUSH_GRACE_PER_BYTE_MS = 1 / 20_000;
/** How long a read waits for other requests to be through before it goes without holding. */
const HOLD_PAUSE_MS = 5;

/**
 * The daemon on the other end of its REST API. Everything in a process that uses the same daemon shares one client:
 * a `GET /messages` that waits holds the daemon's only lock, so {@link peek} is cut short, by closing its connection,
 * the moment anything else of this client has something to send (spec: mycelium, facts).
 */
export class MyceliumDaemon {
  /** The API's base URL, without a trailing slash. */
  readonly api: string;
  /** Not on loopback: whoever reaches it reads every message. */
  readonly isRemote: boolean;
  readonly #requester: Requester;
  /** Requests on their way to the daemon's lock. */
  #busy = 0;
  #held: AbortController | undefined;

  /** @throws Error when `api` is not an http(s) URL, or not on loopback and `allowRemoteApi` is not set */
  constructor(settings: DaemonSettings = {}) {
    const { api, isRemote } = checkedApi(settings.api ?? DEFAULT_API, settings.allowRemoteApi === true);
    this.api = api;
    this.isRemote = isRemote;
    this.#requester = new Requester(this.api, settings.deadlineMs ?? DEFAULT_DEADLINE_MS);
  }

  /** Who the daemon is. A slow answer means that somebody else long-polls it. */
  async admin(signal?: AbortSignal): Promise<NodeInfo> {
    const { text } = await this.#ask("/admin", { expect: [200], signals: [signal] });
    return parsed(parseNodeInfo(text), "GET /admin");
  }

  /** Resolves when the daemon answers something that does not need its lock. */
  async answer(signal?: AbortSignal): Promise<void> {
    // An id that is none is refused before the lock.
    await this.#requester.request("/messages/status/-", { expect: [400], signals: [signal] });
  }

  /**
   * The oldest message of a topic, left where it is; undefined where there is none.
   * @param holdSeconds waits so long for one, in whole seconds; 0 asks once. Returns early, with undefined, when this
   *   client has something else to send.
   */
  async peek(topic: string, holdSeconds: number, signal?: AbortSignal): Promise<OverlayMessage | undefined> {
    if (this.#busy > 0 && holdSeconds > 0) {
      await new Promise((resolve) => setTimeout(resolve, HOLD_PAUSE_MS));
    }
    if (this.#busy > 0 || holdSeconds === 0) {
      return found(await this.#requester.request(peekPath(topic, 0), { expect: [200, 204], signals: [signal] }));
    }
    return this.#hold(topic, holdSeconds, signal);
  }

  /** Removes and returns the oldest message of a topic. Never waits: what a read took when its connection closed is lost. */
  async take(topic: string, signal?: AbortSignal): Promise<OverlayMessage | undefined> {
    return found(await this.#ask(takePath(topic), { expect: [200, 204], signals: [signal] }));
  }

  /** Removes the oldest message of a topic unread, whatever its size and shape. False where there was none. */
  async discard(topic: string, signal?: AbortSignal): Promise<boolean> {
    const path = takePath(topic);
    const { status } = await this.#ask(path, { expect: [200, 204], signals: [signal], isBodyIgnored: true });
    return status === 200;
  }

  /** Sends a message and waits for its reply; undefined when none came in time. */
  async push(message: OutgoingMessage): Promise<OverlayMessage | undefined> {
    const { to, topic, payload, replyTimeoutSeconds } = message;
    const { status, text } = await this.#ask(`/messages?reply_timeout=${replyTimeoutSeconds}`, {
      method: "POST",
      body: { dst: to, topic: topicBase64(topic), payload: toBase64(payload) },
      expect: [200, 201, 408],
      deadlineMs: replyTimeoutSeconds * 1000 + DEADLINE_MARGIN_MS,
      signals: [message.signal],
      // The wait for the reply is outside the lock; only the way there counts.
      lockMs: PUSH_GRACE_MS + payload.length * PUSH_GRACE_PER_BYTE_MS,
    });
    if (status === 200) {
      return parsed(parseMessage(text), "POST /messages");
    }
    parsed(parseMessageId(text), "POST /messages");
    return undefined;
  }

  /** Answers the message `id` of the node `pk`. Needs no state in the daemon: works after its restart. */
  async reply(id: string, pk: string, payload: Uint8Array): Promise<void> {
    const body = { dst: { pk }, payload: toBase64(payload) };
    await this.#ask(`/messages/reply/${id}`, { method: "POST", body, expect: [204] });
  }

  /** What became of a message or reply of this daemon; "unknown" where it has given up, or never had it. Advisory. */
  async delivery(id: string, signal?: AbortSignal): Promise<Delivery> {
    const { status, text } = await this.#ask(`/messages/status/${id}`, { expect: [200, 404], signals: [signal] });
    return status === 404 ? "unknown" : parsed(parseDelivery(text), "GET /messages/status");
  }

  /** The subnets whose messages the daemon takes for a topic; undefined where the topic is not on its list. */
  async sources(topic: string): Promise<readonly string[] | undefined> {
    const { status, text } = await this.#ask(sourcesPath(topic), { expect: [200, 404] });
    return status === 404 ? undefined : parsed(parseTexts(text), "GET sources");
  }

  /** Puts a topic on the daemon's list. With it there, only listed sources may send to it. */
  async addTopic(topic: string): Promise<void> {
    // A JSON array of byte values, unlike everywhere else in this API.
    const body = [...new TextEncoder().encode(topic)];
    await this.#ask("/messages/topics", { method: "POST", body, expect: [201] });
  }

  /** Lets a subnet send to a topic, putting the topic on the list where it is not. */
  async addSource(topic: string, subnet: string): Promise<void> {
    await this.#ask(sourcesPath(topic), { method: "POST", body: { subnet }, expect: [201] });
  }

  /** Takes a subnet off a topic's list. */
  async removeSource(topic: string, subnet: string): Promise<void> {
    const path = `${sourcesPath(topic)}/${encodeURIComponent(subnet)}`;
    await this.#ask(path, { method: "DELETE", expect: [204] });
  }

  /** Ends every request; the client is of no use afterwards. */
  close(): void {
    this.#requester.close();
  }

  async #hold(topic: string, seconds: number, signal?: AbortSignal): Promise<OverlayMessage | undefined> {
    const held = new AbortController();
    this.#held = held;
    try {
      const ask = { expect: [200, 204], deadlineMs: seconds * 1000 + DEADLINE_MARGIN_MS };
      return found(await this.#requester.request(peekPath(topic, seconds), { ...ask, signals: [signal, held.signal] }));
    } catch (error) {
      if (held.signal.aborted && signal?.aborted !== true) {
        return undefined;
      }
      throw error;
    } finally {
      this.#held = undefined;
    }
  }

  /** A request that needs the lock: cuts the held read short, and keeps the next one from holding until it is through. */
  async #ask(path: string, ask: Ask & { readonly lockMs?: number }): Promise<Reply> {
    this.#busy += 1;
    this.#held?.abort();
    let isThrough = false;
    const through = (): void => {
      this.#busy -= isThrough ? 0 : 1;
      isThrough = true;
    };
    const timer = ask.lockMs === undefined ? undefined : setTimeout(through, ask.lockMs);
    try {
      return await this.#requester.request(path, ask);
    } finally {
      clearTimeout(timer);
      through();
    }
  }
}

/** The loopback rule: any process that reaches the API reads every message, so a remote one must be asked for. */
function checkedApi(api: string, isRemoteAllowed: boolean): { readonly api: string; readonly isRemote: boolean } {
  const url = URL.canParse(api) ? new URL(api) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol)) {
    throw new Error(`Mycelium API "${api}": not an http URL. Give it like ${DEFAULT_API}.`);
  }
  const isLoopback = url.hostname === "localhost" || url.hostname === "[::1]" || /^127\.[\d.]+$/.test(url.hostname);
  if (!isLoopback && !isRemoteAllowed) {
    throw new Error(
      `Mycelium API "${api}" is not on loopback: whoever reaches it reads and sends every message. allow_remote_api = true permits it.`,
    );
  }
  return { api: url.href.replace(/\/+$/, ""), isRemote: !isLoopback };
}

function topicBase64(topic: string): string {
  return toBase64(new TextEncoder().encode(topic));
}

function takePath(topic: string): string {
  return `/messages?topic=${encodeURIComponent(topicBase64(topic))}&timeout=0`;
}

function peekPath(topic: string, seconds: number): string {
  return `/messages?topic=${encodeURIComponent(topicBase64(topic))}&timeout=${seconds}&peek=true`;
}

function sourcesPath(topic: string): string {
  return `/messages/topics/${encodeURIComponent(topicBase64(topic))}/sources`;
}

function found(reply: Reply): OverlayMessage | undefined {
  return reply.status === 204 ? undefined : parsed(parseMessage(reply.text), "GET /messages");
}

function parsed<T>(value: T | undefined, request: string): T {
  if (value === undefined) {
    throw new DaemonError("malformed", `the answer to ${request} is not what the API describes`);
  }
  return value;
}
