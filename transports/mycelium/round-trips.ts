/** How long a message to a node and its receipt take: measured on replies, by asking the daemon what became of them. */

import type { Delivery } from "./daemon-answers.ts";
import { pause } from "./pause.ts";

/** What {@link RoundTrips} needs. */
export interface RoundTripsParts {
  /** What the daemon says of a reply it was given. */
  readonly ask: (id: string, signal: AbortSignal) => Promise<Delivery>;
  /** Told of each measurement, in whole ms. */
  readonly onMeasured: (nodeKey: string, ms: number) => void;
  /** Milliseconds of a clock that never runs backwards. */
  readonly now: () => number;
}

/** A node is measured once in so long: each look costs the daemon its lock for a moment. */
const MEASURE_EVERY_MS = 60_000;
const MAX_AT_ONCE = 4;
/** Nodes whose last measurement is remembered. */
const MAX_NODES = 1_000;
/** Larger replies would measure the link's width. */
const MAX_BYTES = 60_000;
const LOOK_FIRST_MS = 5;
/** The pause between two looks, as a part of the time that has passed: how exact a measurement is. */
const LOOK_AGAIN = 1 / 10;
const GIVE_UP_MS = 60_000;

/**
 * From the moment the daemon has taken a reply until it has the node's receipt. That is three exchanges of packets: the
 * opening, the content, the end; what a caller waits for is this and the same for its request. The receiver's word alone:
 * nothing rests on it.
 */
export class RoundTrips {
  readonly #parts: RoundTripsParts;
  readonly #stopping = new AbortController();
  /** When a node was last measured; oldest first. */
  readonly #measuredAt = new Map<string, number>();
  #running = 0;

  constructor(parts: RoundTripsParts) {
    this.#parts = parts;
  }

  /** The daemon has just taken a reply of so many bytes. */
  sent(id: string, nodeKey: string, bytes: number): void {
    const now = this.#parts.now();
    const isFresh = now - (this.#measuredAt.get(nodeKey) ?? -Infinity) < MEASURE_EVERY_MS;
    if (isFresh || bytes > MAX_BYTES || this.#running >= MAX_AT_ONCE || this.#stopping.signal.aborted) {
      return;
    }
    this.#remember(nodeKey, now);
    this.#running += 1;
    void this.#measure(id, nodeKey, now).finally(() => {
      this.#running -= 1;
    });
  }

  /** Measures nothing any more. */
  close(): void {
    this.#stopping.abort();
  }

  async #measure(id: string, nodeKey: string, sentAt: number): Promise<void> {
    const { ask, onMeasured, now } = this.#parts;
    const { signal } = this.#stopping;
    for (let passed = 0; passed < GIVE_UP_MS && !signal.aborted; passed = now() - sentAt) {
      await pause(Math.max(LOOK_FIRST_MS, passed * LOOK_AGAIN), signal);
      // A daemon that is gone has forgotten the reply, and its loss is for others to notice.
      const delivery = await ask(id, signal).catch(() => "unknown" as const);
      if (delivery === "arrived") {
        onMeasured(nodeKey, Math.round(now() - sentAt));
      }
      if (delivery !== "under way") {
        return;
      }
    }
  }

  #remember(nodeKey: string, now: number): void {
    this.#measuredAt.delete(nodeKey);
    this.#measuredAt.set(nodeKey, now);
    const [oldest] = this.#measuredAt.keys();
    if (this.#measuredAt.size > MAX_NODES && oldest !== undefined) {
      this.#measuredAt.delete(oldest);
    }
  }
}
