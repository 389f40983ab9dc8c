/** One HTTP connection as the dispatcher sees it, and the bound on what it may have in progress. */
import type { Socket } from "node:net";

import type { Connection, Peer } from "../../src/rpc/transport.ts";
import { plainAddress } from "./guard.ts";

/** Pipelined requests that wait behind those in progress; who sends more is no client. */
const MAX_QUEUED = 256;

export interface ConnectionLimits {
  /** Longest wait held open, ms. */
  readonly maxWaitMs: number;
  readonly maxAnswerBytes: number;
  /** Requests in progress at a time. */
  readonly concurrency: number;
}

/** Made once a connection; all requests on it share it. */
export class HttpConnection implements Connection {
  readonly peer: Peer;
  readonly maxWaitMs: number;
  readonly maxAnswerBytes: number;
  /** The TCP socket, below TLS where there is TLS. */
  readonly socket: Socket;
  /** A Host header that was found good on this connection. */
  trustedHost: string | undefined;
  /** Another protocol has taken over; whoever speaks it ends it. */
  isUpgraded = false;
  readonly #concurrency: number;
  readonly #queue: (() => Promise<void>)[] = [];
  #inProgress = 0;
  #receiving = 0;
  #controller: AbortController | undefined;
  #isOver = false;

  constructor(socket: Socket, { maxWaitMs, maxAnswerBytes, concurrency }: ConnectionLimits) {
    const { remoteAddress: address } = socket;
    this.peer = address === undefined ? { transport: "http" } : { transport: "http", address: plainAddress(address) };
    this.maxWaitMs = maxWaitMs;
    this.maxAnswerBytes = maxAnswerBytes;
    this.socket = socket;
    this.#concurrency = concurrency;
  }

  /** Made when first asked for: most calls never do. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isOver) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  /** Requests taken and not yet answered. */
  get inProgress(): number {
    return this.#inProgress;
  }

  /** What would be lost with it: nothing (silent, idle, or still sending a head), a body on its way, or a call at work. */
  get state(): "idle" | "receiving" | "working" {
    if (this.isUpgraded) return "working";
    if (this.#inProgress === 0) return "idle";
    return this.#inProgress === this.#receiving ? "receiving" : "working";
  }

  /** Waits for something the other side sends. */
  async receive<T>(work: Promise<T>): Promise<T> {
    this.#receiving++;
    try {
      return await work;
    } finally {
      this.#receiving--;
    }
  }

  /** Nobody waits any more: the other side is gone, or this one stops. */
  end(): void {
    this.#isOver = true;
    this.#controller?.abort();
  }

  /** Carries out one request now, or as soon as one of those in progress is answered. */
  run(answer: () => Promise<void>): void {
    if (this.#inProgress < this.#concurrency) {
      this.#inProgress++;
      void this.#work(answer);
    } else if (this.#queue.length < MAX_QUEUED) {
      this.#queue.push(answer);
    } else {
      this.socket.destroy();
    }
  }

  async #work(first: () => Promise<void>): Promise<void> {
    for (let answer: (() => Promise<void>) | undefined = first; answer !== undefined; answer = this.#queue.shift()) {
      await answer();
    }
    this.#inProgress--;
  }
}
