/**
 * A simulated Mycelium daemon: its REST API over HTTP, with all facts of the specification's table.
 * It is held to the real one: test/contract/mycelium-daemon.contract.test.ts runs on both.
 */

import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { addressOf, formatAddress, isNodeKey, parseAddress } from "../../transports/mycelium/address.ts";
import { fromBase64 } from "../../transports/mycelium/base64.ts";
import { DaemonLock } from "./mycelium-lock.ts";
import type { CarriedMessage, SimulatedOverlay } from "./mycelium-overlay.ts";
import { TopicList } from "./mycelium-topics.ts";

interface OutboxEntry {
  readonly message: CarriedMessage;
  state: "pending" | "sending" | "received" | "read";
}

/** One request as the routes see it. */
interface Exchange {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: Buffer;
  /** Aborts when the other side has closed the connection. */
  readonly left: AbortSignal;
}

interface Result {
  readonly status: number;
  /** An object goes out as JSON, a text as it is. */
  readonly body?: unknown;
}

const API_PATH = "/api/v1";
const BODY_LIMIT = 2 * 1024 * 1024;
/** How long the daemon takes to notice a closed connection: what a read takes in that time is lost. */
const CLOSE_LAG_MS = 3;
const TEXT = (status: number, body: string): Result => ({ status, body });

/** Whether the receiver drops a payload of this size for ever: a last chunk under 250 bytes that is not the only one. */
export function isUndeliverable(bytes: number): boolean {
  return bytes > 1300 && bytes % 1300 > 0 && bytes % 1300 < 250;
}

/** One node: its API, its inbox and its outbox. */
export class SimulatedDaemon {
  readonly publicKey: string;
  readonly address: string;
  /** Every request the API has got, as `METHOD /path?query`. */
  readonly requests: string[] = [];
  /** What each message in the outbox costs every later one, in ms. Default 0. */
  outboxCostMs = 0;
  /** How late every answer is, lock or not, in ms. Default 0. */
  slowMs = 0;
  /** Answers instead of the API where it returns something: for daemons that misbehave. */
  intercept:
    | ((method: string, path: string, query: URLSearchParams) => Result | "hang" | "cut" | undefined)
    | undefined;
  readonly #overlay: SimulatedOverlay;
  #server: Server | undefined;
  #port = 0;
  #lock = new DaemonLock();
  #inbox: CarriedMessage[] = [];
  #outbox = new Map<string, OutboxEntry>();
  #waitingReplies = new Map<string, (reply: CarriedMessage) => void>();
  #readers = new Set<() => void>();
  #topics = new TopicList();
  #startedAt = 0;

  constructor(overlay: SimulatedOverlay, identity: { readonly publicKey: string; readonly address: string }) {
    this.#overlay = overlay;
    this.publicKey = identity.publicKey;
    this.address = identity.address;
  }

  /** Base URL of the API. The port stays the same over restarts. */
  get api(): string {
    return `http://127.0.0.1:${this.#port}/api/v1`;
  }

  get isRunning(): boolean {
    return this.#server !== undefined;
  }

  /** Messages in the inbox, oldest first. */
  get inbox(): readonly CarriedMessage[] {
    return this.#inbox;
  }

  /** Ids of all messages sent by this node since its start, replies included. */
  get sent(): readonly string[] {
    return [...this.#outbox.keys()];
  }

  /** What the messages in the outbox cost the next one. */
  get outboxDelayMs(): number {
    return this.#outbox.size * this.outboxCostMs;
  }

  /** Starts, or starts again after {@link stop}: inbox, outbox, topics and waiting replies are new. */
  async start(): Promise<void> {
    this.#lock = new DaemonLock();
    this.#inbox = [];
    this.#outbox = new Map();
    this.#waitingReplies = new Map();
    this.#topics = new TopicList();
    this.#startedAt = Math.max(this.#startedAt + 1, Math.floor(Date.now() / 1000));
    const server = createServer((request, response) => {
      void this.#serve(request, response);
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.#port, "127.0.0.1", resolve);
    });
    const bound: AddressInfo | string | null = server.address();
    this.#port = typeof bound === "object" && bound !== null ? bound.port : 0;
    this.#server = server;
  }

  /** Stops as a killed process does: every connection breaks, what is inside is gone. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server !== undefined) {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    }
  }

  /** Stops and starts. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Breaks every open connection; nothing else is lost. */
  breakConnections(): void {
    this.#server?.closeAllConnections();
  }

  /** Takes the last packet of a message; false where it is not acknowledged. Tests forge messages with it. */
  accept(message: CarriedMessage): boolean {
    const isKnown = this.#inbox.some(({ id }) => id === message.id);
    const isAllowed = message.isReply || this.#topics.isAllowed(message.topic, message.srcIp);
    if (!this.isRunning || isKnown || !isAllowed || isUndeliverable(message.payload.length)) {
      return false;
    }
    const waiting = this.#waitingReplies.get(message.id);
    if (waiting === undefined) {
      this.#inbox.push(message);
      for (const wake of this.#readers) {
        wake();
      }
    } else {
      this.#waitingReplies.delete(message.id);
      waiting(message);
    }
    return true;
  }

  /** The receiver's notice that somebody has read a message. */
  markRead(id: string): void {
    const entry = this.#outbox.get(id);
    if (entry?.state === "received") {
      entry.state = "read";
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const left = new AbortController();
    response.on("close", () => setTimeout(() => left.abort(), response.writableFinished ? 0 : CLOSE_LAG_MS));
    const url = new URL(request.url ?? "/", "http://localhost");
    const method = request.method ?? "GET";
    const path = url.pathname.startsWith(API_PATH) ? url.pathname.slice(API_PATH.length) : "";
    this.requests.push(`${method} ${path}${url.search}`);
    const body = await readBody(request);
    await this.#overlay.pause(this.slowMs);
    const special = this.intercept?.(method, path, url.searchParams);
    if (special === "cut") {
      request.socket.destroy();
    }
    if (special === "hang" || special === "cut") {
      return;
    }
    const result = special ?? (await this.#checkBody(request, body, { method, path, query: url.searchParams, left }));
    if (!left.signal.aborted && !response.destroyed) {
      sendResult(response, result);
    }
  }

  async #checkBody(
    request: IncomingMessage,
    body: Buffer | undefined,
    rest: { method: string; path: string; query: URLSearchParams; left: AbortController },
  ): Promise<Result> {
    if (rest.method === "POST" && request.headers["content-type"] !== "application/json") {
      return TEXT(415, "Expected request with `Content-Type: application/json`");
    }
    if (body === undefined) {
      return TEXT(413, "Failed to buffer the request body: length limit exceeded");
    }
    return this.#route({ ...rest, body, left: rest.left.signal });
  }

  async #route(exchange: Exchange): Promise<Result> {
    const { method, path } = exchange;
    const [, , kind, id = "", ...rest] = path.split("/");
    if (path === "/admin" && method === "GET") {
      return this.#locked(exchange, () => ({ status: 200, body: this.#info() }));
    }
    if (path === "/messages") {
      return method === "GET" ? this.#read(exchange) : this.#push(exchange);
    }
    if (path.startsWith("/messages/topics")) {
      return this.#locked(exchange, () => this.#topics.answer(method, [id, ...rest].filter(Boolean), exchange.body));
    }
    if (!["reply", "status"].includes(kind ?? "") || rest.length > 0) {
      return { status: 404 };
    }
    if (!/^[0-9a-f]{16}$/.test(id)) {
      return TEXT(400, "Invalid URL: Cannot parse `id`: Message ID is 16 characters long");
    }
    return kind === "reply" ? this.#reply(exchange, id) : this.#locked(exchange, () => this.#status(id));
  }

  async #locked(exchange: Exchange, run: () => Result): Promise<Result> {
    const release = await this.#lock.acquire(exchange.left);
    const result = release === undefined ? { status: 500 } : run();
    release?.();
    return result;
  }

  #info(): object {
    return {
      nodeSubnet: `${formatAddress(addressOf(this.publicKey).fill(0, 8))}/64`,
      nodeIp: this.address,
      nodePubkey: this.publicKey,
      nodeStartTime: this.#startedAt,
    };
  }

  #status(id: string): Result {
    const entry = this.#outbox.get(id);
    return entry === undefined
      ? { status: 404 }
      : {
          status: 200,
          body: { dst: entry.message.dstIp, state: toState(entry), msgLen: entry.message.payload.length },
        };
  }

  /** `GET /messages`: holds the lock for as long as it waits. */
  async #read(exchange: Exchange): Promise<Result> {
    const { query, left } = exchange;
    const wanted = query.has("topic") ? fromBase64(query.get("topic") ?? "") : null;
    if (wanted === undefined) {
      return TEXT(400, "Failed to deserialize query string: topic: Invalid symbol");
    }
    const release = await this.#lock.acquire(left);
    if (release === undefined) {
      return { status: 500 };
    }
    try {
      const message = await this.#await(wanted, Number(query.get("timeout") ?? 0) * 1000, left);
      if (message === undefined) {
        return { status: 204 };
      }
      if (query.get("peek") !== "true") {
        this.#inbox.splice(this.#inbox.indexOf(message), 1);
      }
      this.#overlay.tellRead(this, message);
      return { status: 200, body: toWire(message) };
    } finally {
      release();
    }
  }

  async #await(topic: Uint8Array | null, timeoutMs: number, left: AbortSignal): Promise<CarriedMessage | undefined> {
    const find = (): CarriedMessage | undefined =>
      this.#inbox.find((message) => topic === null || message.topic.equals(topic));
    const giveUpAt = performance.now() + timeoutMs;
    while (find() === undefined && !left.aborted && performance.now() < giveUpAt) {
      await new Promise<void>((resolve) => {
        const done = (): void => {
          clearTimeout(timer);
          this.#readers.delete(done);
          left.removeEventListener("abort", done);
          resolve();
        };
        const timer = this.#overlay.later(giveUpAt - performance.now(), done);
        this.#readers.add(done);
        left.addEventListener("abort", done);
      });
    }
    return left.aborted ? undefined : find();
  }

  /** `POST /messages`: only the way into the outbox needs the lock, the wait for the reply does not. */
  async #push(exchange: Exchange): Promise<Result> {
    const sent = parseSend(exchange.body);
    if ("status" in sent) {
      return sent;
    }
    if (sent.topic.length > 255) {
      return { status: 400 };
    }
    const release = await this.#lock.acquire(exchange.left);
    if (release === undefined) {
      return { status: 500 };
    }
    const id = this.#overlay.randomHex(8);
    const timeout = exchange.query.get("reply_timeout");
    const answer = timeout === null ? undefined : this.#replyTo(id, Number(timeout) * 1000, exchange.left);
    this.#send({ ...this.#envelope(id, sent), isReply: false });
    release();
    if (answer === undefined) {
      return { status: 201, body: { id } };
    }
    const reply = await answer;
    return reply === undefined ? { status: 408, body: { id } } : { status: 200, body: toWire(reply) };
  }

  #replyTo(id: string, timeoutMs: number, left: AbortSignal): Promise<CarriedMessage | undefined> {
    return new Promise((resolve) => {
      const end = (reply?: CarriedMessage): void => {
        // A reply after this finds nobody waiting and lands in the inbox, without a topic.
        this.#waitingReplies.delete(id);
        clearTimeout(timer);
        left.removeEventListener("abort", giveUp);
        resolve(reply);
      };
      const giveUp = (): void => end();
      const timer = this.#overlay.later(timeoutMs, giveUp);
      left.addEventListener("abort", giveUp);
      this.#waitingReplies.set(id, end);
    });
  }

  async #reply(exchange: Exchange, id: string): Promise<Result> {
    const sent = parseSend(exchange.body);
    if ("status" in sent) {
      return sent;
    }
    return this.#locked(exchange, () => {
      this.#send({ ...this.#envelope(id, sent), topic: Buffer.alloc(0), isReply: true });
      return { status: 204 };
    });
  }

  #envelope(id: string, sent: { dstIp: string; topic: Buffer; payload: Buffer }): Omit<CarriedMessage, "isReply"> {
    return { id, srcIp: this.address, srcPk: this.publicKey, dstPk: "", ...sent };
  }

  #send(message: CarriedMessage): void {
    const entry: OutboxEntry = { message, state: "pending" };
    // The outbox is kept by id: a second reply to the same message takes the first one's place.
    this.#outbox.set(message.id, entry);
    const outbox = this.#outbox;
    this.#overlay.carry(this, message, {
      isCurrent: () => this.isRunning && this.#outbox === outbox && outbox.get(message.id) === entry,
      onOpened: () => {
        entry.state = entry.state === "pending" ? "sending" : entry.state;
      },
      onReceived: () => {
        entry.state = "received";
      },
    });
  }
}

function sendResult(response: ServerResponse, result: Result): void {
  const isJson = typeof result.body === "object";
  response.writeHead(result.status, isJson ? { "content-type": "application/json" } : {});
  response.end(isJson ? JSON.stringify(result.body) : result.body);
}

/** Words, but for the one with figures. */
function toState({ state, message }: OutboxEntry): unknown {
  const chunks = Math.max(1, Math.ceil(message.payload.length / 1300));
  return state === "sending" ? { sending: { pending: 0, sent: chunks, acked: 0 } } : state;
}

function toWire(message: CarriedMessage): object {
  const { id, srcIp, srcPk, dstIp, dstPk, topic, payload } = message;
  const named = topic.length === 0 ? {} : { topic: topic.toString("base64") };
  return { id, srcIp, srcPk, dstIp, dstPk, ...named, payload: payload.toString("base64") };
}

function parseSend(body: Buffer): { dstIp: string; topic: Buffer; payload: Buffer } | Result {
  let value: unknown;
  try {
    value = JSON.parse(body.toString("utf8"));
  } catch {
    return TEXT(400, "Failed to parse the request body as JSON");
  }
  const wrong = TEXT(422, "Failed to deserialize the JSON body into the target type");
  if (typeof value !== "object" || value === null || !("dst" in value) || !("payload" in value)) {
    return wrong;
  }
  const dstIp = destinationOf(value.dst);
  const payload = typeof value.payload === "string" ? fromBase64(value.payload) : undefined;
  const topic = "topic" in value && typeof value.topic === "string" ? fromBase64(value.topic) : new Uint8Array();
  return dstIp === undefined || payload === undefined || topic === undefined
    ? wrong
    : { dstIp, topic: Buffer.from(topic), payload: Buffer.from(payload) };
}

function destinationOf(dst: unknown): string | undefined {
  if (typeof dst !== "object" || dst === null) {
    return undefined;
  }
  if ("pk" in dst && typeof dst.pk === "string" && isNodeKey(dst.pk)) {
    return formatAddress(addressOf(dst.pk));
  }
  return "ip" in dst && typeof dst.ip === "string" && parseAddress(dst.ip) !== undefined ? dst.ip : undefined;
}

async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  let size = 0;
  try {
    for await (const part of request) {
      if (part instanceof Buffer) {
        size += part.length;
        parts.push(part);
      }
    }
  } catch {
    // The sender is gone: nothing is done with half a body.
    return undefined;
  }
  return size > BODY_LIMIT ? undefined : Buffer.concat(parts);
}
