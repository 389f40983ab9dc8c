/** Empties the inbox of replies that came too late: they have no topic, and nobody waits for them. */

import { DaemonError } from "./daemon-request.ts";
import type { MyceliumDaemon } from "./daemon.ts";
import { isAnswer, parseBytes } from "./rpc-text.ts";

const NO_TOPIC = "";
/** At most so many at a time: what is in there is in nobody's way. */
const MAX_AT_A_TIME = 20;

/** Discards messages without a topic; none is ever answered. */
export class LateReplies {
  readonly #daemon: MyceliumDaemon;
  readonly #isOwn: boolean;

  /** @param isOwn the daemon is ours alone; else only what reads as a JSON-RPC answer is discarded */
  constructor(daemon: MyceliumDaemon, isOwn: boolean) {
    this.#daemon = daemon;
    this.#isOwn = isOwn;
  }

  /** Discards some. @throws DaemonError when the daemon does not answer */
  async drain(signal: AbortSignal): Promise<void> {
    for (let count = 0; count < MAX_AT_A_TIME; count += 1) {
      if (!(await this.#drainOne(signal))) {
        return;
      }
    }
  }

  async #drainOne(signal: AbortSignal): Promise<boolean> {
    if (this.#isOwn) {
      return this.#daemon.discard(NO_TOPIC, signal);
    }
    try {
      const message = await this.#daemon.peek(NO_TOPIC, 0, signal);
      const isLateReply = message !== undefined && isAnswer(parseBytes(message.payload));
      return isLateReply && (await this.#daemon.discard(NO_TOPIC, signal));
    } catch (error) {
      if (error instanceof DaemonError && error.kind === "malformed") {
        // Somebody else's, and beyond what we read: theirs to take.
        return false;
      }
      throw error;
    }
  }
}
