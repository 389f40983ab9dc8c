/** Writing answers: JSON-RPC bytes, pages and faults, in as few writes as they take. */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";

import { discardBody } from "./body.ts";
import { type Fault, faultBody, faultHeaders } from "./fault.ts";

/** Up to this size copying an answer costs less than writing head and body apart. */
const ONE_WRITE_BYTES = 16 * 1024;

/** 200 with the answer, 204 where nothing is to be said; `isLast`: the connection ends with it. */
export function sendAnswer(response: ServerResponse, bytes: Uint8Array | undefined, isLast: boolean): void {
  const headers =
    bytes === undefined ? [] : ["Content-Type", "application/json", "Content-Length", String(bytes.length)];
  if (isLast) headers.push("Connection", "close");
  response.writeHead(bytes === undefined ? 204 : 200, headers);
  if (bytes !== undefined && bytes.length <= ONE_WRITE_BYTES) {
    // Node puts text behind the head and writes both at once; latin1 gives every byte as it is.
    response.end(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1"), "latin1");
  } else response.end(bytes);
}

export interface Page {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

/** Something to be read with GET; no browser shall guess at its type or keep it. */
export function sendPage(response: ServerResponse, { status, type, text }: Page, isLast: boolean): void {
  const headers = ["Content-Type", type, "Content-Length", String(Buffer.byteLength(text))];
  headers.push("X-Content-Type-Options", "nosniff", "Cache-Control", "no-store");
  if (isLast) headers.push("Connection", "close");
  response.writeHead(status, headers);
  response.end(text);
}

/** Refuses a request whose body was not read (to its end). */
export function sendFault(
  request: IncomingMessage,
  response: ServerResponse,
  fault: Fault,
  { isLast, maxBytes }: { readonly isLast: boolean; readonly maxBytes: number },
): void {
  discardBody(request, maxBytes);
  for (const [name, value] of faultHeaders(fault)) response.setHeader(name, value);
  const text = faultBody(fault);
  const headers = { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text) };
  response.writeHead(fault.status, isLast ? { ...headers, Connection: "close" } : headers);
  response.end(text);
}

/** Refuses on a socket that no request object stands for (yet, or any more), and ends it. */
export function writeFault(socket: Duplex, fault: Fault): void {
  // Node listens to a socket no more once it has handed it over: a reset would end the process.
  socket.on("error", () => socket.destroy());
  socket.end(faultText(fault), () => socket.destroy());
}

/** The time a connection that is turned away has to send its request and read why. */
const FAREWELL_MS = 1000;

/**
 * Refuses a connection before its request has come. What still comes is read: a reset in answer to it would take the
 * refusal along.
 */
export function turnAway(socket: Duplex, fault: Fault): void {
  socket.on("error", () => socket.destroy());
  socket.removeAllListeners("data");
  socket.on("data", () => undefined);
  socket.on("end", () => socket.destroy());
  const timer = setTimeout(() => socket.destroy(), FAREWELL_MS);
  socket.once("close", () => clearTimeout(timer));
  socket.end(faultText(fault));
}

function faultText(fault: Fault): string {
  const text = faultBody(fault);
  const head = [
    `HTTP/1.1 ${fault.status} ${STATUS_CODES[fault.status] ?? ""}`,
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(text)}`,
    ...faultHeaders(fault).map(([name, value]) => `${name}: ${value}`),
    "Connection: close",
  ];
  return `${head.join("\r\n")}\r\n\r\n${text}`;
}
