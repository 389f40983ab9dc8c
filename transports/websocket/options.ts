/** What the WebSocket listener is given. */
import type { Log } from "../../src/log.ts";
import type { RequestHandler } from "../../src/rpc/transport.ts";

export interface WebSocketLimits {
  /** One message; a larger one closes with 1009. */
  readonly maxBodyBytes: number;
  readonly maxAnswerBytes: number;
  /** Frames of one message; more close with 1008. */
  readonly maxFragments: number;
  /** Messages of one connection carried out at a time; beyond it the connection is not read. */
  readonly maxInFlight: number;
  /** Left unsent on one connection; more closes with 1013. */
  readonly maxUnsentBytes: number;
  /** A reader that takes nothing for this long stands still, ms. Default 5,000. */
  readonly stallMs?: number;
  /** The other side's time to answer a close frame, from when it left, ms. Default 5,000. */
  readonly answerMs?: number;
  /** Between two pings; a connection that answered none of two is ended at the third. */
  readonly pingMs: number;
}

export interface WebSocketOptions {
  readonly handler: RequestHandler;
  readonly limits: WebSocketLimits;
  /** Longest wait held open for `wait_job` and log followers, ms. */
  readonly maxWaitMs: number;
  /** Where the HTTP listener underneath is reached; undefined while it is not up. */
  httpUrl(): string | undefined;
  readonly log: Log;
}
