/**
 * Pages whose origin is listed: without these headers a browser lets them ask and never read, and does not even ask with
 * JSON (Fetch standard, "HTTP-CORS protocol"). Nothing of it for anybody else, and no cookies for anybody.
 */
import type { IncomingMessage, ServerResponse } from "node:http";

/** How long a browser may keep the permission, in seconds; a setting that is taken back counts at once all the same. */
const KEPT_SECONDS = 600;

/** Marks the answer as this origin's to read. Only for a request whose Origin was found good. */
export function permitReading({ headers: { origin } }: IncomingMessage, response: ServerResponse): void {
  if (origin === undefined) return;
  response.setHeader("Access-Control-Allow-Origin", origin);
  response.setHeader("Vary", "Origin");
}

/** A browser asks whether its page may send a call. */
export function isPreflight({ method, headers }: IncomingMessage): boolean {
  return method === "OPTIONS" && headers.origin !== undefined && headers["access-control-request-method"] !== undefined;
}

/** It may, with a call's method and content type; whatever else it asked for is not among what it may. */
export function permitCalls(response: ServerResponse): void {
  response.setHeader("Access-Control-Allow-Methods", "POST");
  response.setHeader("Access-Control-Allow-Headers", "content-type");
  response.setHeader("Access-Control-Max-Age", String(KEPT_SECONDS));
}
