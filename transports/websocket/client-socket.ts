/** A WebSocket to a server: the platform's own where there is one (browsers, newer Node), else the package ws. */
import { CarrierError } from "../../src/errors.ts";
import { isLasting } from "../http/status.ts";

interface Problem {
  readonly message?: string;
  readonly error?: unknown;
}

/** What both have in common, as far as it is used here (WHATWG WebSockets, "The WebSocket interface"). */
interface PlatformSocket {
  addEventListener(type: "open", listener: () => void): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: { readonly code: number; readonly reason: string }) => void): void;
  /** ws says what it was; browsers do not. */
  addEventListener(type: "error", listener: (event: Problem) => void): void;
  send(text: string): void;
  close(): void;
}

/** An open connection. */
export interface ClientSocket {
  send(text: string): void;
  /** No more events after it. */
  close(): void;
}

interface Events {
  onMessage(text: string): void;
  /** Once, unless closed by this side. `limit`: that a message of ours is beyond, as the other side names it. */
  onClose(reason: string, limit?: string): void;
}

/** Nobody comes to the phone: a server that takes a connection but no handshake. */
const HANDSHAKE_MS = 15_000;
/** As ws tells of a handshake that got another answer; browsers tell nothing. */
const ANSWERED = /^Unexpected server response: (\d{3})$/;
/** RFC 6455 §7.4.1. */
const MESSAGE_TOO_BIG = 1009;

/** Resolves with an open connection. @throws CarrierError when there is none; nothing was sent then. */
export async function openSocket(url: string, maxAnswerBytes: number, events: Events): Promise<ClientSocket> {
  const socket = await createSocket(url, maxAnswerBytes);
  return new Promise((resolve, reject) => {
    let state: "opening" | "open" | "over" = "opening";
    let problem: Problem = {};
    const close = (): void => {
      state = "over";
      clearTimeout(timer);
      socket.close();
    };
    const fail = (reason: string): void => {
      close();
      const fix = reason.includes("ECONNREFUSED") ? ". Is the supervisor running there?" : "";
      const status = ANSWERED.exec(reason)?.[1];
      const isFinal = status !== undefined && isLasting(Number(status));
      reject(new CarrierError(`${url}: ${reason}${fix}`, "no", problem.error, { isFinal }));
    };
    const timer = setTimeout(() => fail(`no connection within ${HANDSHAKE_MS} ms`), HANDSHAKE_MS);
    socket.addEventListener("open", () => {
      clearTimeout(timer);
      state = "open";
      resolve({ send: (text) => socket.send(text), close });
    });
    socket.addEventListener("message", ({ data }) => {
      if (state === "open" && typeof data === "string") events.onMessage(data);
    });
    socket.addEventListener("error", (event) => (problem = event));
    socket.addEventListener("close", ({ code, reason }) => {
      const was = state;
      state = "over";
      const { message = "" } = problem;
      const text = [String(code), reason, message].filter((part) => part !== "").join(" ");
      if (was === "opening") fail(message === "" ? `could not connect (${text})` : message);
      // With an error of this side's own it is an answer that was too big.
      const limit = code === MESSAGE_TOO_BIG && message === "" ? reason || "max_body_bytes" : undefined;
      if (was === "open") events.onClose(`the connection was closed (${text})`, limit);
    });
  });
}

async function createSocket(url: string, maxPayload: number): Promise<PlatformSocket> {
  // The types of Node promise a global that Node 20 has not.
  const { WebSocket: Platform }: { WebSocket?: new (url: string) => PlatformSocket } = globalThis;
  if (typeof Platform === "function") return new Platform(url);
  const { WebSocket: WsSocket } = await import("ws");
  return new WsSocket(url, { maxPayload, perMessageDeflate: false });
}
