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
type ListenerWishes = Omit<OptionWishes, "httpUrl"> & {
  readonly allowedOrigins?: readonly string[];
  /** Of the HTTP listener underneath. */
  readonly maxConnections?: number;
};

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
  maxConnections = 1000,
  ...wanted
}: ListenerWishes = {}): Promise<StartedWebSocketListener> {
  const listener = createWebSocketListener(webSocketOptions({ httpUrl: () => http.listener.status().url, ...wanted }));
  const http = await anHttpListener({ allowedOrigins, limits: { maxConnections }, onUpgrade: listener.upgrade });
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

interface FrameWishes {
  readonly isLast?: boolean;
  readonly reserved?: number;
  readonly isMasked?: boolean;
  /** Four bytes; others each time unless told. */
  readonly mask?: Uint8Array;
}

/** One frame as a client sends it (RFC 6455 §5.2), masked; `opcode` 0 continues, 1 is text, 2 binary, 8 close, 9 ping. */
export function aFrame(
  opcode: number,
  payload: Uint8Array,
  { isLast = true, reserved = 0, isMasked = true, mask = randomBytes(4) }: FrameWishes = {},
): Uint8Array {
  const first = (isLast ? 0x80 : 0) | (reserved << 4) | opcode;
  const maskBit = isMasked ? 0x80 : 0;
  const head = Buffer.concat([Buffer.of(first), lengthBytes(payload.length, maskBit)]);
  if (!isMasked) return Buffer.concat([head, payload]);
  return Buffer.concat([head, mask, payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0))]);
}

/** In as few bytes as it takes. */
function lengthBytes(length: number, maskBit: number): Buffer {
  if (length < 126) return Buffer.of(maskBit | length);
  const bytes = Buffer.alloc(length < 65_536 ? 3 : 9);
  bytes[0] = maskBit | (bytes.length === 3 ? 126 : 127);
  if (bytes.length === 3) bytes.writeUInt16BE(length, 1);
  else bytes.writeBigUInt64BE(BigInt(length), 1);
  return bytes;
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

/** The whole frames in what a server sent: unmasked. */
export function* serverFrames(bytes: Buffer): Generator<{ readonly opcode: number; readonly payload: Buffer }> {
  for (let at = 0; at + 2 <= bytes.length;) {
    const opcode = (bytes[at] ?? 0) & 0x0f;
    const { length, start } = payloadAt(bytes, at);
    if (start + length > bytes.length) return;
    yield { opcode, payload: bytes.subarray(start, start + length) };
    at = start + length;
  }
}

/** Where the payload of the frame at this place begins, and how long it is; beyond the end where that is not there yet. */
function payloadAt(bytes: Buffer, at: number): { readonly length: number; readonly start: number } {
  const length = (bytes[at + 1] ?? 0) & 0x7f;
  if (length < 126) return { length, start: at + 2 };
  const start = at + (length === 126 ? 4 : 10);
  if (start > bytes.length) return { length: 0, start: Infinity };
  return { length: length === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2)), start };
}

/** The close frame in what a raw connection received, where there is one. */
export function closeOf({ received }: RawSocket): Closed | undefined {
  for (const { opcode, payload } of serverFrames(Buffer.from(received, "latin1"))) {
    if (opcode === 8) return { code: payload.readUInt16BE(), reason: payload.subarray(2).toString() };
  }
  return undefined;
}

export function closeCodeOf(raw: RawSocket): number | undefined {
  return closeOf(raw)?.code;
}
