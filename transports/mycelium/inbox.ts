/** What lies in the daemon's inbox for one topic: the next message, held for or polled. */

import type { Log } from "../../src/log.ts";
import type { OverlayMessage } from "./daemon-answers.ts";
import { DaemonError } from "./daemon-request.ts";
import type { MyceliumDaemon } from "./daemon.ts";
import { pause } from "./pause.ts";

/** What an {@link Inbox} needs. */
export interface InboxParts {
  readonly daemon: MyceliumDaemon;
  readonly topic: string;
  /** Asks again and again instead of having a read wait in the daemon. */
  readonly isPolled: boolean;
  readonly log: Log;
}

/** A held read ends after so long, so that others who share the daemon get their turn. */
const HOLD_SECONDS = 1;
/** A held read that finds nothing so soon was not held. */
const NOT_HELD_MS = 50;
const POLL_FIRST_MS = 10;
const POLL_LAST_MS = 100;
/** So many empty asks in a row before the pause grows: a caller that calls again and again is met at once. */
const POLL_PATIENCE = 50;
const POLL_GROWTH = 1.5;
/** More unreadable messages than this in a row are logged as debug. */
const UNREADABLE_TOLD = 10;

/** Reads one topic. */
export class Inbox {
  readonly #parts: InboxParts;
  /** Asks in a row that found nothing. */
  #emptyPolls = 0;
  /** Messages in a row that could not be read. */
  #unreadable = 0;

  constructor(parts: InboxParts) {
    this.#parts = parts;
  }

  /** The oldest message, left where it is; undefined when none came for a while. @throws DaemonError */
  async next(signal: AbortSignal): Promise<OverlayMessage | undefined> {
    const { daemon, topic, isPolled } = this.#parts;
    const askedAt = performance.now();
    try {
      const message = await daemon.peek(topic, isPolled ? 0 : HOLD_SECONDS, signal);
      // Our own requests cut held reads short too, but not so many in a row while nothing comes.
      const isPoll = isPolled || performance.now() - askedAt < NOT_HELD_MS;
      this.#emptyPolls = message === undefined && isPoll ? this.#emptyPolls + 1 : 0;
      this.#unreadable = 0;
      if (message === undefined && (isPolled || this.#emptyPolls > POLL_PATIENCE)) {
        const growth = POLL_GROWTH ** Math.max(0, this.#emptyPolls - POLL_PATIENCE);
        await pause(Math.min(POLL_FIRST_MS * growth, POLL_LAST_MS), signal);
      }
      return message;
    } catch (error) {
      if (!(error instanceof DaemonError) || error.kind !== "malformed") {
        throw error;
      }
      await this.#dropUnread(error, signal);
      return undefined;
    }
  }

  /** Too large or unreadable: left where it is, it would block the topic for ever. */
  async #dropUnread({ message }: DaemonError, signal: AbortSignal): Promise<void> {
    const { daemon, topic, log } = this.#parts;
    this.#unreadable += 1;
    const level = this.#unreadable > UNREADABLE_TOLD ? "debug" : "error";
    log[level]({ event: "mycelium_dropped", error: message }, "Dropped a message that cannot be read.");
    await daemon.discard(topic);
    // One after the other: it is the daemon that talks nonsense, and would do so as fast as it is asked.
    await pause(Math.min(POLL_FIRST_MS * this.#unreadable, POLL_LAST_MS), signal);
  }
}
