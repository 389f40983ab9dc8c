/** HTTP: one POST a JSON-RPC message, GET for health and description; faults of the carrier alone have another status than 200. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Server as TcpServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";

import type { Listener, ListenerStatus } from "../../src/rpc/transport.ts";
import { BodyReader } from "./body.ts";
import type { HttpConnection } from "./connection.ts";
import { Connections } from "./connections.ts";
import { isPreflight, permitCalls, permitReading } from "./cors.ts";
import type { Fault } from "./fault.ts";
import { addressName, checkContent, Guard, hasOneHost } from "./guard.ts";
import { ignoreUpgrade, isWebSocket } from "./ignored-upgrade.ts";
import type { HttpOptions } from "./options.ts";
import { findPage, isCallPath, type PageOptions, pathOf } from "./pages.ts";
import { sendAnswer, sendFault, sendPage, turnAway, writeFault } from "./reply.ts";
import { authority, createStrictServer, listen, reloadTls, type Server } from "./server.ts";

/** A stopping listener leaves kept connections open this long: a request already under way gets its 503, not a reset. */
const FAREWELL_MS = 250;

const STALLED_MS = 10_000;

/** For what passes by itself. */
const SOON = { status: 503, retryAfterSeconds: 1 } as const;
const STOPPING: Fault = { ...SOON, error: "Stopping", fix: "Try again, on another connection." };
const BUSY: Fault = { ...SOON, error: "Too many large bodies at once", fix: "Try again." };
const FULL: Fault = {
  ...SOON,
  error: "Too many connections",
  fix: "Try again, or raise http.max_connections.",
  limit: "max_connections",
};
/** RFC 9110 §15.5.18; Node alone would answer without a word. */
const EXPECTATION: Fault = {
  status: 417,
  error: "Unknown expectation",
  fix: "Send no Expect header, or Expect: 100-continue.",
};
const HOSTS: Fault = { status: 400, error: "More than one Host header", fix: "Send one." };

const TUNNEL: Fault = {
  status: 405,
  error: "CONNECT is not served",
  fix: "This is no proxy; send requests to it directly.",
  allow: "GET, HEAD, POST",
};

/** One request and where its answer goes. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly connection: HttpConnection;
  /** The other side holds its body back until it is told to go on (RFC 9110 §10.1.1). */
  readonly expectsContinue: boolean;
}

export type HttpListener = Listener & { readonly port: number };

/** Serves the handler over HTTP. @throws Error naming a setting that can not be. */
export function createHttpListener(options: HttpOptions): HttpListener {
  return new NodeHttpListener(options);
}

class NodeHttpListener implements HttpListener {
  readonly name = "http";
  readonly #options: HttpOptions;
  readonly #guard: Guard;
  readonly #connections: Connections;
  readonly #bodies: BodyReader;
  readonly #pages: PageOptions;
  #server: Server | undefined;
  #port: number;
  #isStopping = false;

  constructor(options: HttpOptions) {
    this.#options = options;
    this.#guard = new Guard(options);
    const { limits, maxWaitMs, tls } = options;
    // Nothing can be said before TLS is up.
    const refuse = (socket: Socket): void => (tls === undefined ? turnAway(socket, FULL) : void socket.destroy());
    this.#connections = new Connections({ stalledMs: STALLED_MS, ...limits, maxWaitMs }, refuse);
    this.#bodies = new BodyReader(options.limits.maxBodyBytes);
    this.#pages = { ...options, url: () => this.status().url ?? "" };
    this.#port = options.port;
  }

  /** The one it got, once it listens. */
  get port(): number {
    return this.#port;
  }

  async start(): Promise<void> {
    const { limits, tls, host, port, log } = this.#options;
    const server = await createStrictServer(limits, tls);
    this.#attach(server);
    this.#port = await listen(server, host, port);
    // From now on: why it could not listen is what start() throws.
    server.on("error", (error) => log.error({ event: "http_error", err: error }, "HTTP server error"));
    this.#server = server;
    this.#isStopping = false;
    const { url } = this.status();
    log.info({ event: "http_listening", url }, "HTTP listens");
    if (tls === undefined && !isLoopback(host)) {
      const fix = "set http.tls_cert and http.tls_key, or bind 127.0.0.1 behind a proxy that speaks TLS";
      log.warn(
        { event: "http_without_tls", url, fix },
        "HTTP is reachable from outside without TLS: calls can be read on the way",
      );
    }
  }

  /** Ends held waits at once, so that they are answered with what is; then everything that was taken, then the rest. */
  async stop(deadline: AbortSignal): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#isStopping = true;
    this.#server = undefined;
    const closed = new Promise<void>((resolve) => {
      // http's own close() would reset idle connections at once.
      TcpServer.prototype.close.call(server, () => resolve());
    });
    this.#connections.endAll();
    const destroyAll = (): void => this.#connections.destroyAll();
    const farewell = setTimeout(() => this.#connections.closeIdle(), FAREWELL_MS);
    if (deadline.aborted) destroyAll();
    else deadline.addEventListener("abort", destroyAll);
    await closed;
    clearTimeout(farewell);
    deadline.removeEventListener("abort", destroyAll);
    // Ends Node's search for slow requests; there is nothing left to close.
    server.close();
  }

  status(): ListenerStatus {
    const { host, tls } = this.#options;
    const isUp = this.#server !== undefined;
    if (!isUp) return { name: this.name, isUp, detail: this.#isStopping ? "stopping" : "not started" };
    return { name: this.name, isUp, url: `${tls === undefined ? "http" : "https"}://${authority(host, this.#port)}` };
  }

  async reload(): Promise<void> {
    const { tls } = this.#options;
    if (tls !== undefined && this.#server !== undefined) await reloadTls(this.#server, tls);
  }

  #attach(server: Server): void {
    server.on("connection", (socket: Socket) => this.#connections.add(socket));
    server.on("secureConnection", (socket: Socket) => this.#connections.secure(socket));
    server.on("request", (request, response) => this.#take(request, response, false));
    server.on("checkContinue", (request, response) => this.#take(request, response, true));
    server.on("checkExpectation", (request, response) => this.#unexpected(request, response));
    server.on("clientError", (error: NodeJS.ErrnoException, socket) => void this.#onClientError(error, socket));
    // Node alone would close the connection without a word.
    server.on("connect", (_request, socket) => void this.#inTurn(socket, () => writeFault(socket, TUNNEL)));
    // Node answers such requests as if they had not asked, as long as nobody listens to this event.
    if (this.#options.onUpgrade === undefined) return;
    server.on("upgrade", (request, socket, head) => {
      const take = (): void => {
        if (isWebSocket(request)) this.#upgrade(request, socket, head);
        else ignoreUpgrade(server, request, socket, head);
      };
      void this.#inTurn(socket, take);
    });
  }

  /** On a socket that Node hands over: what was taken before on this connection is answered first (RFC 9112 §9.3.2). */
  async #inTurn(socket: Duplex, take: () => void): Promise<void> {
    const connection = this.#connections.find(socket);
    // Node listens no more: a reset would end the process, and a reader that stalls would stay.
    const cut = (): void => void socket.destroy();
    socket.on("error", cut).on("timeout", cut);
    await connection?.answered();
    // One offer of a connection in each turn of the loop, which many would otherwise have for themselves.
    await turn();
    socket.removeListener("error", cut).removeListener("timeout", cut);
    if (!socket.destroyed) take();
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const fault = this.#refusal(request, undefined);
    const connection = this.#connections.find(socket);
    if (fault !== undefined || connection === undefined) {
      writeFault(socket, fault ?? STOPPING);
      return;
    }
    connection.isUpgraded = true;
    connection.isStranger = this.#options.onUpgrade?.(request, socket, head);
  }

  #take(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const connection = this.#connections.find(request.socket);
    // Made room for another one while this request was on its way.
    if (connection === undefined) return;
    connection.run(response, async () => {
      try {
        await this.#answer({ request, response, connection, expectsContinue });
      } catch (error) {
        const path = pathOf(request.url).slice(0, 64);
        this.#options.log.error({ event: "http_failed", path, err: error }, "a request got no answer");
        response.destroy();
      }
    });
  }

  /** Its body may be held back for an answer that never comes: the connection ends with the refusal. */
  #unexpected(request: IncomingMessage, response: ServerResponse): void {
    const connection = this.#connections.find(request.socket);
    connection?.run(response, async () => {
      const fault = this.#refusal(request, connection) ?? EXPECTATION;
      this.#refuse({ request, response, connection, expectsContinue: true }, fault);
    });
  }

  async #answer(exchange: Exchange): Promise<void> {
    const { request, response, connection } = exchange;
    const fault = this.#refusal(request, connection);
    if (fault !== undefined) return this.#refuse(exchange, fault);
    permitReading(request, response);
    const path = pathOf(request.url);
    if (isCallPath(path) && request.method === "POST") return this.#answerCall(exchange);
    if (isCallPath(path) && isPreflight(request)) {
      permitCalls(response);
      return sendAnswer(response, undefined, this.#isLast(exchange));
    }
    const page = await findPage(request.method, path, this.#pages);
    if ("error" in page) this.#refuse(exchange, page);
    else sendPage(response, page, this.#isLast(exchange));
  }

  async #answerCall(exchange: Exchange): Promise<void> {
    const { request, response, connection, expectsContinue } = exchange;
    const { handler, limits } = this.#options;
    const fault = checkContent(request) ?? (this.#bodies.fits(request) ? undefined : tooLarge(limits.maxBodyBytes));
    if (fault !== undefined) return this.#refuse(exchange, fault);
    if (expectsContinue) response.writeContinue();
    const body = await connection.receive(this.#bodies.read(request));
    if (body === "gone") return;
    if (body === "busy") return this.#refuse(exchange, BUSY);
    if (body === "too-large") return this.#refuse(exchange, tooLarge(limits.maxBodyBytes));
    const { bytes } = await handler.handle(body, connection);
    sendAnswer(response, bytes, this.#isLast(exchange));
  }

  /** A stopping listener ends a connection with the newest request's answer: ending it before would lose those behind. */
  #isLast({ response, connection }: Exchange): boolean {
    return this.#isStopping && connection.latest === response;
  }

  /** Why a request is not served, whatever it asks for. */
  #refusal(request: IncomingMessage, connection: HttpConnection | undefined): Fault | undefined {
    if (this.#isStopping) return STOPPING;
    if (!hasOneHost(request)) return HOSTS;
    const fault = this.#guard.check(request, connection?.trustedHost);
    if (fault === undefined && connection !== undefined) connection.trustedHost = request.headers.host;
    return fault;
  }

  #refuse(exchange: Exchange, fault: Fault): void {
    const { request, response, expectsContinue } = exchange;
    // Without its 100 the other side never sends the body this connection would wait for.
    const isLast = this.#isLast(exchange) || expectsContinue;
    sendFault(request, response, fault, { isLast, maxBytes: 2 * this.#options.limits.maxBodyBytes });
  }

  /** What the parser or the clock refused: answered in its turn, behind the requests that came whole before it. */
  async #onClientError(error: NodeJS.ErrnoException, socket: Duplex): Promise<void> {
    // Unknown: it did not get through its TLS handshake, so nothing can be said to it.
    const connection = this.#connections.find(socket);
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    // Each further piece that comes is refused again.
    if (connection.isBroken) return;
    connection.isBroken = true;
    const { latest } = connection;
    // The request that broke off in its body gets this answer, if it has none.
    const isBrokenOff = latest !== undefined && !latest.req.complete;
    const wasAnswered = isBrokenOff && latest.writableEnded;
    await connection.answered(isBrokenOff && !wasAnswered ? latest : undefined);
    if (wasAnswered || !socket.writable) socket.destroy();
    else writeFault(socket, clientFault(error, isBrokenOff));
  }
}

function tooLarge(maxBodyBytes: number): Fault {
  const fix = "Send less, or raise http.max_body_bytes.";
  return { status: 413, error: `The body is larger than ${maxBodyBytes} bytes`, fix, limit: "max_body_bytes" };
}

function isLoopback(host: string): boolean {
  const name = addressName(host) ?? host;
  return name === "localhost" || name === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(name);
}

function clientFault({ code }: NodeJS.ErrnoException, isBrokenOff: boolean): Fault {
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") {
    const limit = isBrokenOff ? "request_ms" : "headers_ms";
    return { status: 408, error: "The request took too long", fix: "Send it whole, at once.", limit };
  }
  if (code === "HPE_HEADER_OVERFLOW") {
    return { status: 431, error: "The head is too large", fix: "Send fewer or shorter headers." };
  }
  return { status: 400, error: "This is no HTTP/1.1 request", fix: "Speak HTTP/1.1 as RFC 9112 has it." };
}
