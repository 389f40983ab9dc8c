/** One connection from the first byte to the end: what came back, read just closely enough to tell an answer from none. */
import { connect, type Socket } from "node:net";

import { serverFrames } from "../support/websocket.ts";
import { type Carrier, PROBE_ID } from "./inputs.ts";

/** How it ended. `silent`: rightly nothing, and the connection is still served. */
export type Ending = "answered" | "closed" | "silent" | "unanswered";

export interface Outcome {
  readonly ending: Ending;
  /** HTTP status or WebSocket close code, where there was one. */
  readonly code?: number;
  /** Bodies and messages that came back, but for the probe's. */
  readonly text: string;
}

export interface Sent {
  readonly carrier: Carrier;
  readonly pieces: readonly Uint8Array[];
  readonly isHalfClosed: boolean;
  readonly mayBeSilent: boolean;
}

/** What is known so far; `ending` is there once nothing more need be waited for. */
interface Reading {
  readonly ending?: Ending;
  readonly code?: number;
  readonly text: string;
}

/** Sends it and waits for its end, at most until the deadline. Rejects only where the port takes no connection. */
export async function exchange(port: number, sent: Sent, deadlineMs: number): Promise<Outcome> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return await new Exchange(socket, sent).end(deadlineMs);
  } finally {
    // A reset leaves no address behind that would be blocked for a minute; libuv refuses it behind a shutdown.
    if (sent.isHalfClosed) socket.destroy();
    else socket.resetAndDestroy();
  }
}

class Exchange {
  readonly #socket: Socket;
  readonly #sent: Sent;
  readonly #parts: Buffer[] = [];

  constructor(socket: Socket, sent: Sent) {
    this.#socket = socket;
    this.#sent = sent;
  }

  async end(deadlineMs: number): Promise<Outcome> {
    const ended = new Promise<Outcome>((resolve) => {
      const timer = setTimeout(() => resolve({ ...this.#read(), ending: "unanswered" }), deadlineMs);
      const finish = (outcome: Outcome): void => {
        clearTimeout(timer);
        resolve(outcome);
      };
      const look = (): void => {
        const { ending, ...reading } = this.#read();
        if (ending !== undefined) finish({ ...reading, ending });
      };
      this.#socket.on("data", (part: Buffer) => {
        this.#parts.push(part);
        look();
      });
      const over = (): void => {
        const { ending = "closed", ...reading } = this.#read();
        finish({ ...reading, ending });
      };
      this.#socket.on("end", over);
      this.#socket.on("close", over);
      // A reset is a closed connection too.
      this.#socket.on("error", over);
    });
    await this.#write();
    return ended;
  }

  async #write(): Promise<void> {
    for (const piece of this.#sent.pieces) {
      this.#socket.write(piece);
      // So that the pieces are read one by one.
      if (this.#sent.pieces.length > 1) await new Promise((resolve) => setImmediate(resolve));
    }
    if (this.#sent.isHalfClosed) this.#socket.end();
  }

  #read(): Reading {
    const bytes = this.#parts.length === 1 ? (this.#parts[0] ?? Buffer.alloc(0)) : Buffer.concat(this.#parts);
    const http = readHttp(bytes);
    if (http.code !== 101 || this.#sent.carrier === "http") {
      return http.code === 101 ? { ...http, ending: "answered" } : http;
    }
    return readFrames(bytes.subarray(http.end), this.#sent.mayBeSilent);
  }
}

/** The first final answer; `end` is where its head ends. */
function readHttp(bytes: Buffer): Reading & { readonly end: number } {
  let start = 0;
  for (;;) {
    const end = bytes.indexOf("\r\n\r\n", start) + 4;
    if (end < 4) return { text: "", end };
    const head = bytes.subarray(start, end).toString("latin1");
    const code = Number(/^HTTP\/1\.1 (\d{3}) /u.exec(head)?.[1] ?? Number.NaN);
    if (code === 100) {
      start = end;
      continue;
    }
    const length = Number(/^content-length: (\d+)\r$/imu.exec(head)?.[1] ?? 0);
    const body = bytes.subarray(end, end + length);
    const isWhole = code !== 101 && body.length === length;
    return { code, text: body.toString(), end, ...(isWhole ? { ending: "answered" as const } : {}) };
  }
}

const TEXT = 1;
const CLOSE = 8;
/** RFC 6455 §7.1.5: a close frame without a code. */
const NO_STATUS = 1005;

function readFrames(bytes: Buffer, mayBeSilent: boolean): Reading {
  const texts: string[] = [];
  let isProbed = false;
  for (const { opcode, payload } of serverFrames(bytes)) {
    if (opcode === CLOSE) {
      const code = payload.length >= 2 ? payload.readUInt16BE() : NO_STATUS;
      return { ending: "closed", code, text: texts.join("\n") };
    }
    if (opcode !== TEXT) continue;
    const text = payload.toString();
    if (text.includes(`"id":"${PROBE_ID}"`)) isProbed = true;
    else texts.push(text);
  }
  const text = texts.join("\n");
  if (texts.length > 0) return { ending: "answered", text };
  return isProbed && mayBeSilent ? { ending: "silent", text } : { text };
}
