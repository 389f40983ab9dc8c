/**
 * What is on its way to one reader. Three states: *flowing* (little unsent), *filled* (more than the low mark: bulk
 * waits), *stalled* (filled, and nothing left for a while: nobody waits any more, and the limit is soon reached).
 */
import type { WebSocket } from "ws";

import type { WebSocketLimits } from "./options.ts";

/** Bulk waits while more than this part of the limit is unsent. */
const LOW_PART = 1 / 16;
/** A reader that takes nothing for this long stands still. */
const STALL_MS = 5000;
/** RFC 6455 §7.4.1, "Try Again Later" in the IANA registry: too slow a reader resumes on a new connection. */
const TRY_AGAIN_LATER = 1013;

type OutboxLimits = Pick<WebSocketLimits, "maxUnsentBytes" | "stallMs">;
type Socket = Pick<WebSocket, "readyState" | "OPEN" | "send" | "close">;

export class Outbox {
  readonly #socket: Socket;
  readonly #maxUnsentBytes: number;
  readonly #stallMs: number;
  readonly #waiting = new Set<() => void>();
  #unsentBytes = 0;
  #isStalled = false;

  constructor(socket: Socket, { maxUnsentBytes, stallMs = STALL_MS }: OutboxLimits) {
    this.#socket = socket;
    this.#maxUnsentBytes = maxUnsentBytes;
    this.#stallMs = stallMs;
  }

  /** Sends one message; false when it can not be any more: closed, or closed just now because too much is unsent. */
  send(bytes: Uint8Array): boolean {
    if (this.#socket.readyState !== this.#socket.OPEN) return false;
    // Judged before adding: one large answer is nobody's slowness.
    if (this.#unsentBytes > this.#maxUnsentBytes) {
      this.#socket.close(TRY_AGAIN_LATER, "too slow a reader: max_unsent_bytes");
      this.#wake();
      return false;
    }
    this.#unsentBytes += bytes.length;
    this.#socket.send(bytes, { binary: false }, () => this.#onLeft(bytes.length));
    return true;
  }

  /** Sends an answer: many that are ready at the same time wait for their turn before the reader is called slow. */
  async answer(bytes: Uint8Array): Promise<void> {
    while (this.#unsentBytes > this.#maxUnsentBytes && this.#isFlowing()) await this.drained();
    this.send(bytes);
  }

  /** Resolves when there is little unsent, when the reader stands still, or when the connection is over. */
  async drained(): Promise<void> {
    if (!this.#isFlowing() || this.#isLow()) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#isStalled = true;
        done();
      }, this.#stallMs);
      this.#waiting.add(done);
    });
  }

  /** The connection is over: nobody waits any more. */
  end(): void {
    this.#wake();
  }

  #onLeft(bytes: number): void {
    this.#unsentBytes -= bytes;
    this.#isStalled = false;
    if (this.#isLow()) this.#wake();
  }

  /** Something can still leave. */
  #isFlowing(): boolean {
    return this.#socket.readyState === this.#socket.OPEN && !this.#isStalled;
  }

  #isLow(): boolean {
    return this.#unsentBytes <= this.#maxUnsentBytes * LOW_PART;
  }

  #wake(): void {
    for (const done of this.#waiting) done();
  }
}
