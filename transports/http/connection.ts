/** One HTTP connection as the dispatcher sees it, and the bounds on what it may have in progress and unsent. */
import type { ServerResponse } from "node:http";
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
  /** A reader that takes nothing of its answer for this long is gone, ms. */
  readonly stalledMs: number;
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
  /** How whoever speaks it says that nobody known would miss it. */
  isStranger: (() => boolean) | undefined;
  /** The parser or the clock has refused what came last: nothing more is read. */
  isBroken = false;
  readonly #concurrency: number;
  readonly #stalledMs: number;
  readonly #queue: (() => Promise<void>)[] = [];
  /** Requests whose answer has not left whole, in their order: pipelined answers wait for those before them. */
  readonly #unanswered = new Set<ServerResponse>();
  readonly #leaving = new Set<() => void>();
  #latest: ServerResponse | undefined;
  #inProgress = 0;
  #receiving = 0;
  #controller: AbortController | undefined;
  #isOver = false;

  constructor(socket: Socket, { maxWaitMs, maxAnswerBytes, concurrency, stalledMs }: ConnectionLimits) {
    const { remoteAddress: address } = socket;
    this.peer = address === undefined ? { transport: "http" } : { transport: "http", address: plainAddress(address) };
    this.maxWaitMs = maxWaitMs;
    this.maxAnswerBytes = maxAnswerBytes;
    this.socket = socket;
    this.#concurrency = concurrency;
    this.#stalledMs = stalledMs;
  }

  /** Made when first asked for: most calls never do. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isOver) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  /** The newest request of this connection, answered or not. */
  get latest(): ServerResponse | undefined {
    return this.#latest;
  }

  /**
   * What would be lost with it: nothing (silent, idle, or still sending a head), another protocol's connection on which
   * nobody has shown who he is, a body or an answer on its way, or a call at work.
   */
  get state(): "idle" | "stranger" | "receiving" | "sending" | "working" {
    if (this.isUpgraded) return this.isStranger?.() === true ? "stranger" : "working";
    if (this.#inProgress > 0) return this.#inProgress === this.#receiving ? "receiving" : "working";
    return this.#unanswered.size === 0 ? "idle" : "sending";
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

  /** Carries out one request now, or as soon as there is room among those in progress and for what they answer. */
  run(response: ServerResponse, answer: () => Promise<void>): void {
    this.#latest = response;
    this.#unanswered.add(response);
    response.once("close", () => this.#left(response));
    if (this.#queue.length === 0 && this.#hasRoom()) {
      void this.#work(answer);
    } else if (this.#queue.length < MAX_QUEUED) {
      this.#queue.push(answer);
    } else {
      this.socket.destroy();
    }
  }

  /** Resolves when every answer but the given one has left; never on a connection that ends before. */
  async answered(except?: ServerResponse): Promise<void> {
    while ([...this.#unanswered].some((response) => response !== except)) {
      await new Promise<void>((resolve) => this.#leaving.add(resolve));
    }
  }

  async #work(first: () => Promise<void>): Promise<void> {
    this.#inProgress++;
    await first();
    this.#watchReader();
    this.#inProgress--;
    this.#workOn();
  }

  #workOn(): void {
    while (this.#hasRoom()) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      void this.#work(next);
    }
  }

  /** Judged before adding: one large answer alone is nobody's slowness. */
  #hasRoom(): boolean {
    if (this.#inProgress >= this.#concurrency) return false;
    let unsentBytes = 0;
    for (const { writableLength } of this.#unanswered) unsentBytes += writableLength;
    return unsentBytes <= this.maxAnswerBytes;
  }

  #left(response: ServerResponse): void {
    this.#unanswered.delete(response);
    this.#watchReader();
    this.#workOn();
    for (const resolve of this.#leaving) resolve();
    this.#leaving.clear();
  }

  /** The time counts while an answer is leaving, never while a call is at work. Node itself times an idle connection. */
  #watchReader(): void {
    const [first] = this.#unanswered;
    if (first === undefined) return;
    if (!first.writableEnded) first.socket?.setTimeout(0);
    else if (first.writableLength > 0) first.socket?.setTimeout(this.#stalledMs);
  }
}
