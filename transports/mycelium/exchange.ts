/** One message and its reply: sent again, byte for byte, until there is an answer or nobody wants it any more. */

import { CarrierError } from "../../src/errors.ts";
import { addressOf, isAddressOf, isSameSubnet, parseAddress } from "./address.ts";
import type { OverlayMessage } from "./daemon-answers.ts";
import { DaemonError } from "./daemon-request.ts";
import type { Destination, MyceliumDaemon } from "./daemon.ts";
import type { Governor } from "./governor.ts";
import { pause } from "./pause.ts";

/** Whom messages go to, and through what. */
export interface Route {
  readonly daemon: MyceliumDaemon;
  readonly governor: Governor;
  readonly to: Destination;
  readonly topic: string;
}

/** One message. */
export interface Sending {
  /** Already of a size that arrives. */
  readonly payload: Uint8Array;
  /** The first repeat comes after so long, each further one after twice as long, in ms. */
  readonly repeatAfterMs: number;
  /** Nobody waits any more. */
  readonly signal: AbortSignal;
  /** Called with true before bytes may leave, with false when it turns out that none ever did. */
  readonly onSent: (isSent: boolean) => void;
  /** Called with what went wrong at each attempt, for the message of the error at the deadline. */
  readonly onTrouble: (what: string) => void;
}

const RETRY_FIRST_MS = 100;
const RETRY_LAST_MS = 2_000;
/** A daemon that has waited for this part of the time it was given has waited, by whosever clock. */
const WAITED = 1 / 2;
/** A daemon that was never there is not waited for longer than a restart takes. */
const ABSENT_DAEMON_MS = 5_000;

/**
 * Sends until a reply comes from the node that was addressed; gives its payload.
 * @throws CarrierError when it is pointless: no daemon, or it refuses the message
 * @throws DaemonError of kind `stopped`, or the reason of the signal, when the signal aborts
 */
export async function exchange(route: Route, sending: Sending): Promise<Uint8Array> {
  const state = { attempts: 0, waitMs: sending.repeatAfterMs, retryMs: RETRY_FIRST_MS };
  /** When the daemon was first asked: the wait for the governor is not its absence. */
  let firstAskedAt: number | undefined;
  for (;;) {
    await route.governor.acquire(sending.signal);
    const askedAt = performance.now();
    firstAskedAt ??= askedAt;
    try {
      sending.onSent(true);
      const reply = await route.daemon.push({
        to: route.to,
        topic: route.topic,
        payload: sending.payload,
        replyTimeoutSeconds: Math.max(1, Math.ceil(state.waitMs / 1000)),
        signal: sending.signal,
      });
      state.attempts += 1;
      if (reply !== undefined && isFrom(route.to, reply)) {
        return reply.payload;
      }
      // A forged reply used up the daemon's wait for the true one: only a repeat can fetch that.
      sending.onTrouble(reply === undefined ? "" : "a reply came from another node and was ignored");
      if (performance.now() - askedAt >= state.waitMs * WAITED) {
        state.waitMs *= 2;
        state.retryMs = RETRY_FIRST_MS;
        continue;
      }
    } catch (error) {
      const failure = judge(error, performance.now() - firstAskedAt, state.attempts);
      state.attempts += failure.kind === "refused" ? 0 : 1;
      sending.onSent(state.attempts > 0);
      sending.onTrouble(failure.message);
    }
    // Nothing came, and sooner than it should: each message costs the daemon and the peer, so not as fast as it goes.
    await pause(state.retryMs, sending.signal);
    state.retryMs = Math.min(state.retryMs * 2, RETRY_LAST_MS);
  }
}

/** What to try again; the rest is thrown. */
function judge(error: unknown, elapsedMs: number, attempts: number): DaemonError {
  if (!(error instanceof DaemonError) || error.kind === "stopped") {
    throw error;
  }
  if (error.kind === "refused" && attempts === 0 && elapsedMs > ABSENT_DAEMON_MS) {
    const fix = "Start it, or name another API (--mycelium-api).";
    throw new CarrierError(`${error.message}. ${fix}`, "no", error);
  }
  if (error.kind === "status" && (error.status ?? 0) < 500) {
    throw new CarrierError(error.message, attempts === 0 ? "no" : "unknown", error);
  }
  return error;
}

/** The reply's key and address belong together, and to the node that was addressed (spec: mycelium, facts). */
function isFrom(to: Destination, reply: OverlayMessage): boolean {
  if (!isAddressOf(reply.srcPk, reply.srcIp)) {
    return false;
  }
  if ("pk" in to) {
    return to.pk === reply.srcPk;
  }
  const wanted = parseAddress(to.ip);
  return wanted !== undefined && isSameSubnet(wanted, addressOf(reply.srcPk));
}
