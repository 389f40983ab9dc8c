/** One WebSocket as the dispatcher sees it: messages in, answers and notifications out, bounded both ways. */
import type { IncomingMessage } from "node:http";
import { setImmediate as turn } from "node:timers/promises";

import type { RawData, WebSocket } from "ws";

import type { Connection, Peer } from "../../src/rpc/transport.ts";
import { plainAddress } from "../http/guard.ts";
import type { WebSocketOptions } from "./options.ts";
import { Outbox } from "./outbox.ts";

/** Pings without an answer after which the other side is gone. */
const MAX_MISSES = 2;

type ConnectionOptions = Omit<WebSocketOptions, "httpUrl">;

export class WebSocketConnection implements Connection {
  readonly peer: Peer;
  readonly maxWaitMs: number;
  readonly maxAnswerBytes: number;
  readonly session: { value?: unknown } = {};
  /** Resolves when the socket is closed. */
  readonly closed: Promise<void>;
  readonly #socket: WebSocket;
  readonly #options: ConnectionOptions;
  readonly #outbox: Outbox;
  readonly #controller = new AbortController();
  readonly #queue: Buffer[] = [];
  #inFlight = 0;
  #onIdle: (() => void) | undefined;
  #misses = 0;
  /** A call of it was signed well. */
  #isKnown = false;
  #isStopping = false;

  constructor(socket: WebSocket, request: IncomingMessage, options: ConnectionOptions) {
    const { remoteAddress } = request.socket;
    const { maxWaitMs, limits } = options;
    this.peer = {
      transport: "websocket",
      ...(remoteAddress === undefined ? {} : { address: plainAddress(remoteAddress) }),
    };
    this.maxWaitMs = maxWaitMs;
    this.maxAnswerBytes = limits.maxAnswerBytes;
    this.#socket = socket;
    this.#options = options;
    this.#outbox = new Outbox(socket, limits);
    socket.on("message", (data) => this.#receive(data));
    socket.on("pong", () => (this.#misses = 0));
    // A breach of RFC 6455 (invalid UTF-8, too large, …): ws has sent its close code already.
    socket.on("error", (error) => options.log.debug({ event: "websocket_error", err: error }, "WebSocket refused"));
    this.closed = new Promise((resolve) => {
      socket.once("close", () => {
        this.#queue.length = 0;
        this.#controller.abort();
        this.#outbox.end();
        this.#onIdle?.();
        resolve();
      });
    });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Nobody has shown who he is, and nothing is at work: where all places are taken, it makes room. */
  get isStranger(): boolean {
    return !this.#isKnown && this.#inFlight === 0;
  }

  /** Functions of their own, so that they may be taken out of the connection. */
  readonly notify = (message: Uint8Array): boolean => this.#outbox.send(message);
  readonly drained = async (): Promise<void> => this.#outbox.drained();

  /** Called at each beat of the listener's clock: asks for a sign of life, and ends who gave none. */
  beat(): void {
    // Not read because of its own calls: its pong may wait unseen.
    if (this.#socket.isPaused) return;
    if (this.#misses >= MAX_MISSES) {
      this.#socket.terminate();
      return;
    }
    this.#misses += 1;
    this.#socket.ping();
  }

  /** Takes nothing new, ends held waits at once so that they are answered with what is, then closes. */
  async stop(code: number, reason: string): Promise<void> {
    this.#isStopping = true;
    this.#queue.length = 0;
    this.#controller.abort();
    if (this.#inFlight > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    this.#socket.close(code, reason);
    this.#socket.resume();
    await this.closed;
  }

  terminate(): void {
    this.#socket.terminate();
  }

  #receive(data: RawData): void {
    // One Buffer, as long as binaryType is not changed; text and binary alike: JSON is UTF-8 either way.
    if (this.#isStopping || !Buffer.isBuffer(data)) return;
    if (this.#inFlight < this.#options.limits.maxInFlight) {
      this.#inFlight += 1;
      void this.#work(data);
      return;
    }
    this.#queue.push(data);
    // What its socket buffers hold is all that can still come: TCP tells the other side to wait.
    this.#socket.pause();
  }

  async #work(first: Buffer): Promise<void> {
    for (let message: Buffer | undefined = first; message !== undefined; message = this.#queue.shift()) {
      await this.#answer(message);
      // What is refused at once would otherwise be read and answered in one turn of the loop, megabytes of it: a place is
      // free again in the next turn, after everybody else's.
      await turn();
    }
    this.#inFlight -= 1;
    this.#socket.resume();
    if (this.#inFlight === 0) this.#onIdle?.();
  }

  async #answer(message: Buffer): Promise<void> {
    try {
      const { bytes, afterSent, principals } = await this.#options.handler.handle(message, this);
      this.#isKnown ||= principals.length > 0;
      if (bytes !== undefined) await this.#outbox.answer(bytes);
      afterSent?.();
    } catch (error) {
      this.#options.log.error({ event: "websocket_failed", err: error }, "no answer");
      this.#socket.close(1011, "no answer");
    }
  }
}
