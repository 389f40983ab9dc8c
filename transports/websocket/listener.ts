/** WebSocket (RFC 6455) on the HTTP listener's port: one JSON-RPC message a WebSocket message, and notifications. */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";

import { WebSocketServer } from "ws";

import type { Listener, ListenerStatus } from "../../src/rpc/transport.ts";
import { shown } from "../http/fault.ts";
import { pathOf } from "../http/pages.ts";
import { writeFault } from "../http/reply.ts";
import { boundedSocket } from "./bounded-socket.ts";
import { WebSocketConnection } from "./connection.ts";
import type { WebSocketOptions } from "./options.ts";

const PATHS: ReadonlySet<string> = new Set(["/", "/ws"]);
/** RFC 6455 §7.4.1. */
const GOING_AWAY = 1001;
/** The other side's time to answer a close frame that has left. */
const ANSWER_MS = 5000;
/** Its time to read what stands before that frame. */
const CLOSE_MS = 60_000;

export interface WebSocketListener extends Listener {
  /** For `onUpgrade` of the HTTP listener, which has judged Host and Origin by then. */
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => (() => boolean) | undefined;
}

/** Serves the handler over WebSocket, on connections that an HTTP listener hands over. */
export function createWebSocketListener(options: WebSocketOptions): WebSocketListener {
  return new WsListener(options);
}

class WsListener implements WebSocketListener {
  readonly name = "websocket";
  readonly #options: WebSocketOptions;
  readonly #server: WebSocketServer;
  readonly #connections = new Set<WebSocketConnection>();
  #beats: NodeJS.Timeout | undefined;

  constructor(options: WebSocketOptions) {
    const { maxBodyBytes: maxPayload, maxFragments, answerMs = ANSWER_MS } = options.limits;
    this.#options = options;
    const serverOptions = {
      noServer: true,
      clientTracking: false,
      // A few bytes that become gigabytes, and memory for each connection: not offered, so never agreed on.
      perMessageDeflate: false,
      maxPayload,
      maxFragments,
      WebSocket: boundedSocket(answerMs),
      // No subprotocol is spoken, whatever is asked for (RFC 6455 §4.2.2).
      handleProtocols: () => false as const,
      // Known to ws, not to its types.
      closeTimeout: CLOSE_MS,
    };
    this.#server = new WebSocketServer(serverOptions);
  }

  readonly upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): (() => boolean) | undefined => {
    const path = pathOf(request.url);
    let made: WebSocketConnection | undefined;
    if (!PATHS.has(path)) {
      writeFault(socket, { status: 404, error: `No WebSocket at ${shown(path)}`, fix: "Connect to / or /ws." });
    } else if (this.#beats === undefined) {
      writeFault(socket, { status: 503, error: "Not serving", fix: "Try again.", retryAfterSeconds: 1 });
    } else {
      this.#server.handleUpgrade(request, socket, head, (webSocket) => {
        const connection = new WebSocketConnection(webSocket, request, this.#options);
        made = connection;
        this.#connections.add(connection);
        void connection.closed.then(() => this.#connections.delete(connection));
      });
    }
    return () => made?.isStranger === true;
  };

  async start(): Promise<void> {
    this.#beats ??= setInterval(() => {
      for (const connection of this.#connections) connection.beat();
    }, this.#options.limits.pingMs);
    const { url } = this.status();
    this.#options.log.info({ event: "websocket_listening", url }, "WebSocket listens");
  }

  async stop(deadline: AbortSignal): Promise<void> {
    clearInterval(this.#beats);
    this.#beats = undefined;
    const terminateAll = (): void => this.#connections.forEach((connection) => connection.terminate());
    if (deadline.aborted) terminateAll();
    else deadline.addEventListener("abort", terminateAll);
    await Promise.all([...this.#connections].map(async (connection) => connection.stop(GOING_AWAY, "stopping")));
    deadline.removeEventListener("abort", terminateAll);
  }

  status(): ListenerStatus {
    const url = this.#options.httpUrl()?.replace(/^http/, "ws");
    if (this.#beats === undefined) return { name: this.name, isUp: false, detail: "not started" };
    if (url === undefined) return { name: this.name, isUp: false, detail: "the HTTP listener is not up" };
    return { name: this.name, isUp: true, url };
  }
}
