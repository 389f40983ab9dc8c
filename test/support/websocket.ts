/** A WebSocket listener with small limits on a port of its own, and clients that say to it what no good client would. */
import { randomBytes } from "node:crypto";

import { WebSocket } from "ws";

import type { Listener } from "../../src/rpc/transport.ts";
import { createWebSocketListener } from "../../transports/websocket/listener.ts";
import type { WebSocketLimits, WebSocketOptions } from "../../transports/websocket/options.ts";
import { aDispatcher, quietLog } from "./dispatcher.ts";
import { anHttpListener, RawSocket } from "./http.ts";
import { waitUntil } from "./wait.ts";

const LIMITS: WebSocketLimits = {
  maxBodyBytes: 2 * 1024 * 1024,
  maxAnswerBytes: 10 * 1024 * 1024,
  maxFragments: 1024,
  maxInFlight: 64,
  maxUnsentBytes: 4 * 1024 * 1024,
  pingMs: 20_000,
};

type OptionWishes = Partial<Omit<WebSocketOptions, "limits">> & { readonly limits?: Partial<WebSocketLimits> };
type ListenerWishes = Omit<OptionWishes, "httpUrl"> & { readonly allowedOrigins?: readonly string[] };

export function webSocketOptions({ limits, ...wanted }: OptionWishes = {}): WebSocketOptions {
  return {
    handler: aDispatcher(),
    limits: { ...LIMITS, ...limits },
    maxWaitMs: 25_000,
    httpUrl: () => undefined,
    log: quietLog,
    ...wanted,
  };
}

export interface StartedWebSocketListener extends AsyncDisposable {
  readonly listener: Listener;
  /** The one underneath. */
  readonly http: Listener;
  readonly url: string;
  readonly port: number;
}

/** Serves on a free port of loopback until disposed of. */
export async function aWebSocketListener({
  allowedOrigins = [],
  ...wanted
}: ListenerWishes = {}): Promise<StartedWebSocketListener> {
  const listener = createWebSocketListener(webSocketOptions({ httpUrl: () => http.listener.status().url, ...wanted }));
  const http = await anHttpListener({ allowedOrigins, onUpgrade: listener.upgrade });
  await listener.start();
  return {
    listener,
    http: http.listener,
    url: `ws://127.0.0.1:${http.port}/`,
    port: http.port,
    [Symbol.asyncDispose]: async () => {
      await listener.stop(AbortSignal.abort());
      await http[Symbol.asyncDispose]();
    },
  };
}

/** How a connection ended. */
export interface Closed {
  readonly code: number;
  readonly reason: string;
}

/** A client that keeps every message it got. */
export class PlainClient implements AsyncDisposable {
  readonly socket: WebSocket;
  readonly received: string[] = [];
  pings = 0;
  closed: Closed | undefined;

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on("message", (data: Buffer) => this.received.push(data.toString()));
    socket.on("ping", () => (this.pings += 1));
    socket.on("error", () => undefined);
    socket.on("close", (code, reason) => (this.closed = { code, reason: reason.toString() }));
  }

  send(message: unknown): void {
    this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  /** The messages so far, parsed. */
  get messages(): readonly unknown[] {
    return this.received.map((text): unknown => JSON.parse(text));
  }

  async waitForMessages(count: number): Promise<readonly unknown[]> {
    await waitUntil(() => this.received.length >= count || this.closed !== undefined);
    return this.messages;
  }

  async waitForClose(): Promise<Closed | undefined> {
    await waitUntil(() => this.closed !== undefined);
    return this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.terminate();
  }
}

/** Connects. @throws Error when the upgrade was refused, with the status. */
export async function aPlainClient(
  url: string,
  options: { readonly headers?: Readonly<Record<string, string>>; readonly autoPong?: boolean } = {},
): Promise<PlainClient> {
  const socket = new WebSocket(url, { perMessageDeflate: false, ...options });
  const client = new PlainClient(socket);
  await new Promise<void>((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", reject);
  });
  return client;
}

/** One frame as a client sends it (RFC 6455 §5.2), masked; `opcode` 0 continues, 1 is text, 2 binary, 8 close, 9 ping. */
export function aFrame(
  opcode: number,
  payload: Uint8Array,
  { isLast = true, reserved = 0, isMasked = true }: { isLast?: boolean; reserved?: number; isMasked?: boolean } = {},
): Uint8Array {
  const first = (isLast ? 0x80 : 0) | (reserved << 4) | opcode;
  const maskBit = isMasked ? 0x80 : 0;
  const head = Buffer.alloc(payload.length < 126 ? 2 : payload.length < 65_536 ? 4 : 10);
  head[0] = first;
  if (payload.length < 126) head[1] = maskBit | payload.length;
  else if (payload.length < 65_536) {
    head[1] = maskBit | 126;
    head.writeUInt16BE(payload.length, 2);
  } else {
    head[1] = maskBit | 127;
    head.writeBigUInt64BE(BigInt(payload.length), 2);
  }
  if (!isMasked) return Buffer.concat([head, payload]);
  const mask = randomBytes(4);
  return Buffer.concat([head, mask, payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0))]);
}

/** A TCP connection after a good handshake, on which a test writes frames byte by byte. */
export async function aRawWebSocket(port: number): Promise<RawSocket> {
  const raw = new RawSocket(port);
  raw.write(anUpgrade());
  await waitUntil(() => raw.received.includes("\r\n\r\n"));
  raw.received = raw.received.slice(raw.received.indexOf("\r\n\r\n") + 4);
  return raw;
}

/** The text of an upgrade request; `headers` beside the usual ones, or in their place. */
export function anUpgrade(headers: Readonly<Record<string, string>> = {}, path = "/"): string {
  const all = {
    Host: "localhost",
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": randomBytes(16).toString("base64"),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return `GET ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`;
}

/** The close code in what a raw connection received, where the last frame is a close frame. */
export function closeCodeOf({ received }: RawSocket): number | undefined {
  const bytes = Buffer.from(received, "latin1");
  let at = 0;
  while (at + 2 <= bytes.length) {
    const opcode = (bytes[at] ?? 0) & 0x0f;
    let length = (bytes[at + 1] ?? 0) & 0x7f;
    let start = at + 2;
    if (length === 126) {
      length = bytes.readUInt16BE(at + 2);
      start += 2;
    } else if (length === 127) {
      length = Number(bytes.readBigUInt64BE(at + 2));
      start += 8;
    }
    if (opcode === 8) return bytes.readUInt16BE(start);
    at = start + length;
  }
  return undefined;
}
