/** Requests that ask for a protocol nobody speaks here are served as if they had not asked (RFC 9110 §7.8). */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";

import type { Server } from "./server.ts";

/** What belongs to the offer alone: Java's and curl's clients offer HTTP/2 with every first request. */
const OFFER: ReadonlySet<string> = new Set(["upgrade", "http2-settings"]);

export function isWebSocket({ headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === "websocket";
}

/**
 * Gives the connection back to the server with the request's head as it came, but for the offer. Node hands over every
 * request with an offer once somebody listens for one kind, and has let go of the connection by then.
 */
export function ignoreUpgrade(server: Server, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  const { method, url, httpVersion } = request;
  const lines = [`${method} ${url} HTTP/${httpVersion}`, ...headersWithoutOffer(request.rawHeaders)];
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"), head]));
  server.emit(socket instanceof TLSSocket ? "secureConnection" : "connection", socket);
}

/** Names and values were found good by Node's parser: none holds a line break. */
function* headersWithoutOffer(rawHeaders: readonly string[]): Generator<string> {
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? "";
    const value = rawHeaders[index + 1] ?? "";
    if (name.toLowerCase() === "connection") {
      const options = value.split(",").filter((option) => !OFFER.has(option.trim().toLowerCase()));
      if (options.length > 0) yield `${name}: ${options.join(",")}`;
    } else if (!OFFER.has(name.toLowerCase())) {
      yield `${name}: ${value}`;
    }
  }
}
