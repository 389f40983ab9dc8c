/** What the HTTP listener is given. */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";

import type { Log } from "../../src/log.ts";
import type { RequestHandler } from "../../src/rpc/transport.ts";

export interface HttpLimits {
  readonly maxBodyBytes: number;
  readonly maxAnswerBytes: number;
  /** Open connections; beyond them the oldest idle one makes room. */
  readonly maxConnections: number;
  /** Time to send a request's head, and its whole; idle time before a kept connection is closed. */
  readonly headersMs: number;
  readonly requestMs: number;
  readonly keepAliveMs: number;
  /** Requests of one connection (HTTP pipelining) answered at a time. */
  readonly concurrency: number;
  /** Time a reader may take nothing of its answer, ms. Default 10,000. */
  readonly stalledMs?: number;
}

/** Whether new work can be taken, and what stands behind it. */
export interface ReadinessReport {
  readonly ready: boolean;
  readonly checks: Readonly<Record<string, unknown>>;
}

export interface HttpOptions {
  readonly handler: RequestHandler;
  /** Address or name to bind. */
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Host names served beside loopback and the bound address; ports do not count. */
  readonly allowedHosts: readonly string[];
  /** Browser origins that may call: `https://example.org`. */
  readonly allowedOrigins: readonly string[];
  readonly limits: HttpLimits;
  /** Longest wait held open for `wait_job` and log followers, ms. */
  readonly maxWaitMs: number;
  readiness(): ReadinessReport | Promise<ReadinessReport>;
  /** The OpenRPC document as JSON text. */
  openrpc(): string;
  /** Prometheus text; without it there is no `/metrics`. */
  metrics?(): Promise<string>;
  /** PEM files; with them the listener serves https alone. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
  /**
   * Takes over connections that ask for an upgrade, once Host and Origin were found good. Who takes a socket ends it.
   * Without it such requests are answered as if they had not asked. Returns how to ask whether nobody known would miss the
   * connection now: where all places are taken, such a one makes room.
   */
  onUpgrade?(request: IncomingMessage, socket: Duplex, head: Buffer): (() => boolean) | undefined;
  readonly log: Log;
}
