/** The client's end of WebSocket: one connection for all calls, made with the first of them and again after a loss. */
import { CarrierError, errorText } from "../../src/errors.ts";
import type { Dialer, OutgoingCall } from "../../src/rpc/transport.ts";
import { type ClientSocket, openSocket } from "./client-socket.ts";
import { readIncoming } from "./incoming.ts";

const MIB = 1024 * 1024;
const CLOSED = "the dialer is closed";

export interface WebSocketDialerOptions {
  /** Longest answer taken, bytes; where the platform lets one choose. Default 10 MiB. */
  readonly maxAnswerBytes?: number;
  /** Silence during a call that ended unanswered, after which the connection is given up, ms. Default 5,000. */
  readonly silenceMs?: number;
}

/** @throws Error for what is no ws or wss URL, or holds a password: calls are signed, not logged in. */
export function createWebSocketDialer(url: string, options: WebSocketDialerOptions = {}): Dialer & AsyncDisposable {
  return new WebSocketDialer(url, options);
}

/** A call on its way; settled once, whoever is first. */
interface Pending {
  readonly resolve: (text: string) => void;
  readonly reject: (error: CarrierError) => void;
  /** Undefined: not sent yet. By the platform's monotonic clock. */
  sentMs: number | undefined;
  /** Of its text. */
  readonly bytes: number;
}

class WebSocketDialer implements Dialer, AsyncDisposable {
  readonly url: string;
  readonly validitySeconds = 120;
  readonly maxWaitMs = 25_000;
  readonly #maxAnswerBytes: number;
  readonly #silenceMs: number;
  readonly #pending = new Map<string, Pending>();
  readonly #listeners = new Set<(text: string | undefined) => void>();
  #connection: Promise<ClientSocket> | undefined;
  #socket: ClientSocket | undefined;
  /** Of the longest message sent on this connection. */
  #longestBytes = 0;
  /** When the last message came. */
  #heardMs = 0;
  readonly #closing = new AbortController();

  constructor(url: string, { maxAnswerBytes = 10 * MIB, silenceMs = 5000 }: WebSocketDialerOptions) {
    this.url = checkedUrl(url);
    this.#maxAnswerBytes = maxAnswerBytes;
    this.#silenceMs = silenceMs;
  }

  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  async call(call: OutgoingCall): Promise<string> {
    if (this.closed.aborted) throw this.#failure(CLOSED, {});
    const { id, signal } = call;
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", giveUp);
        if (this.#pending.get(id) === pending) this.#pending.delete(id);
      };
      const pending: Pending = {
        resolve: (text) => {
          settle();
          resolve(text);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
        sentMs: undefined,
        bytes: new TextEncoder().encode(call.text).length,
      };
      const end = (reason: string): void => pending.reject(this.#failure(reason, pending));
      const giveUp = (): void => end("given up by the caller");
      const timer = setTimeout(() => {
        this.#suspect(pending);
        end(`no answer within ${call.deadlineMs} ms`);
      }, call.deadlineMs);
      this.#pending.set(id, pending);
      if (signal?.aborted === true) giveUp();
      else {
        signal?.addEventListener("abort", giveUp);
        void this.#send(call, pending);
      }
    });
  }

  onNotification(callback: (text: string | undefined) => void): () => void {
    this.#listeners.add(callback);
    return () => {
      this.#listeners.delete(callback);
    };
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#socket?.close();
    this.#lose(CLOSED);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #send({ id, text }: OutgoingCall, pending: Pending): Promise<void> {
    try {
      const socket = await this.#connect();
      // Given up, or lost again, while the connection was made.
      if (this.#pending.get(id) !== pending || this.#socket !== socket) return;
      pending.sentMs = performance.now();
      this.#longestBytes = Math.max(this.#longestBytes, pending.bytes);
      socket.send(text);
    } catch (error) {
      if (error instanceof CarrierError) pending.reject(error);
      else pending.reject(new CarrierError(`${this.url}: ${errorText(error)}`, "unknown", error));
    }
  }

  /** The connection there is, or the one being made; a failed one is made anew by the next call. */
  async #connect(): Promise<ClientSocket> {
    this.#connection ??= this.#open();
    return this.#connection;
  }

  async #open(): Promise<ClientSocket> {
    try {
      const socket = await openSocket(this.url, this.#maxAnswerBytes, {
        onMessage: (text) => this.#receive(text),
        onClose: (reason, limit) => this.#lose(reason, limit),
      });
      this.#socket = socket;
      if (this.closed.aborted) socket.close();
      return socket;
    } catch (error) {
      this.#connection = undefined;
      throw error;
    }
  }

  #receive(text: string): void {
    this.#heardMs = performance.now();
    const incoming = readIncoming(text);
    if (incoming.kind === "notification") {
      for (const callback of this.#listeners) callback(text);
    } else if (incoming.kind === "answer") {
      this.#answered(incoming.id)?.resolve(text);
    }
    // Anything else belongs to nobody: its call, if it was one's, ends at its deadline.
  }

  /** An answer without an id is to a request that could not be read: told to the one call it can belong to. */
  #answered(id: string | undefined): Pending | undefined {
    if (id !== undefined) return this.#pending.get(id);
    const [first, second] = this.#pending.values();
    return second === undefined ? first : undefined;
  }

  #lose(reason: string, limit?: string): void {
    const hadConnection = this.#socket !== undefined;
    this.#connection = undefined;
    this.#socket = undefined;
    for (const pending of this.#pending.values()) {
      // Of all that were sent the longest is beyond the limit; the others can go out again.
      const isBeyond = limit !== undefined && pending.sentMs !== undefined && pending.bytes === this.#longestBytes;
      pending.reject(isBeyond ? this.#tooLarge(pending, limit) : this.#failure(reason, pending));
    }
    this.#longestBytes = 0;
    if (hadConnection) for (const callback of this.#listeners) callback(undefined);
  }

  #tooLarge({ bytes }: Pending, limit: string): CarrierError {
    const text = `${this.url}: the call has ${bytes} bytes, more than the supervisor takes (${limit})`;
    return new CarrierError(text, "no", undefined, { limit });
  }

  #failure(reason: string, { sentMs }: Partial<Pending>): CarrierError {
    const applied = sentMs === undefined ? "no" : "unknown";
    return new CarrierError(`${this.url}: ${reason}`, applied, undefined, { isFinal: this.closed.aborted });
  }

  /** Nothing at all for long since that call went out: the other side may be gone, and no platform tells for minutes. */
  #suspect({ sentMs }: Pending): void {
    if (sentMs === undefined || performance.now() - Math.max(sentMs, this.#heardMs) < this.#silenceMs) return;
    this.#socket?.close();
    this.#lose("the connection went silent");
  }
}

function checkedUrl(text: string): string {
  const fix = "Write it like ws://127.0.0.1:8080.";
  let url: URL;
  try {
    url = new URL(text);
  } catch (error) {
    throw new Error(`${JSON.stringify(text)}: not a URL. ${fix}`, { cause: error });
  }
  if (url.protocol !== "ws:" && url.protocol !== "wss:") {
    throw new Error(`${JSON.stringify(text)}: not ws or wss. ${fix}`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new Error(`${url.host}: a URL with a password in it. Calls are signed with a key; leave it out.`);
  }
  // No server gets to see it, and the platform's constructor refuses it.
  url.hash = "";
  return url.href;
}
