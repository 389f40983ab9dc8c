/** An HTTP listener with small limits, and sockets that say to it what no HTTP client would. */
import { connect, type Socket } from "node:net";

import type { RequestHandler } from "../../src/rpc/transport.ts";
import { createHttpListener, type HttpListener } from "../../transports/http/listener.ts";
import type { HttpLimits, HttpOptions } from "../../transports/http/options.ts";
import { aDispatcher, quietLog } from "./dispatcher.ts";

const LIMITS: HttpLimits = {
  maxBodyBytes: 2 * 1024 * 1024,
  maxAnswerBytes: 10 * 1024 * 1024,
  maxConnections: 1000,
  headersMs: 5000,
  requestMs: 15_000,
  keepAliveMs: 5000,
  concurrency: 16,
};

/** For `expect.poll`: a bound for noisy machines, and no pace. */
export const PATIENT = { timeout: 20_000, interval: 10 } as const;

type ListenerWishes = Partial<Omit<HttpOptions, "limits">> & { readonly limits?: Partial<HttpLimits> };

export interface StartedListener extends AsyncDisposable {
  readonly listener: HttpListener;
  readonly url: string;
  readonly port: number;
}

export function httpOptions({ limits, ...wanted }: ListenerWishes = {}): HttpOptions {
  return {
    handler: aDispatcher(),
    host: "127.0.0.1",
    port: 0,
    allowedHosts: [],
    allowedOrigins: [],
    limits: { ...LIMITS, ...limits },
    maxWaitMs: 25_000,
    readiness: () => ({ ready: true, checks: { redis: "up" } }),
    openrpc: () => '{"openrpc":"1.3.2"}',
    log: quietLog,
    ...wanted,
  };
}

/** Serves on a free port of loopback until disposed of. */
export async function anHttpListener(wanted: ListenerWishes = {}): Promise<StartedListener> {
  const listener = createHttpListener(httpOptions(wanted));
  await listener.start();
  const { url } = listener.status();
  return {
    listener,
    url: `${url}/`,
    port: listener.port,
    [Symbol.asyncDispose]: async () => listener.stop(AbortSignal.abort()),
  };
}

/** A handler that gets nothing but bytes and answers when the test says so. */
export function aHeldHandler(): {
  readonly handler: RequestHandler;
  readonly taken: { readonly text: string; readonly signal: AbortSignal; answer(text: string): void }[];
} {
  const taken: { readonly text: string; readonly signal: AbortSignal; answer(text: string): void }[] = [];
  const handler: RequestHandler = {
    handle: async (bytes, { signal }) =>
      new Promise((resolve) => {
        const answer = (text: string): void =>
          resolve({ bytes: Buffer.from(text), principals: [], keys: [], isRepeatable: false });
        taken.push({ text: Buffer.from(bytes).toString(), signal, answer });
      }),
    onRevoked: () => () => undefined,
  };
  return { handler, taken };
}

/** A TCP connection whose bytes are text, and what came back on it so far. */
export class RawSocket implements AsyncDisposable {
  readonly socket: Socket;
  received = "";
  isClosed = false;

  constructor(port: number, options: { readonly host?: string } = {}) {
    this.socket = connect({ port, host: options.host ?? "127.0.0.1", allowHalfOpen: true });
    this.socket.setEncoding("latin1");
    this.socket.on("data", (text: string) => (this.received += text));
    this.socket.on("end", () => this.socket.end());
    // A reset is one of the answers a test waits for.
    this.socket.on("error", () => undefined);
    this.socket.on("close", () => (this.isClosed = true));
  }

  write(text: string | Uint8Array): void {
    this.socket.write(text);
  }

  /** Status codes of all answers so far. */
  get statuses(): readonly number[] {
    return [...this.received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
  }
}

/** Many of them. */
export class RawSockets implements AsyncDisposable {
  readonly sockets: readonly RawSocket[];

  constructor(port: number, count: number) {
    this.sockets = Array.from({ length: count }, () => new RawSocket(port));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) await socket[Symbol.asyncDispose]();
  }
}

/** The text of a request; `headers` beside Host, Content-Type and Content-Length, or in their place. */
export function aPost(body: string, headers: Readonly<Record<string, string>> = {}): string {
  const all = {
    Host: "localhost",
    "Content-Type": "application/json",
    "Content-Length": String(Buffer.byteLength(body)),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return `POST / HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n${body}`;
}

export const GET_INFO = '{"jsonrpc":"2.0","id":1,"method":"get_info"}';
