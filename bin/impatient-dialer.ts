/** A dialer for people at a terminal: that nobody is there is said at once, and Ctrl-C ends a call that would be repeated. */
import { CarrierError } from "../src/errors.ts";
import type { Dialer, OutgoingCall } from "../src/rpc/transport.ts";

/** Nobody is at the address, at the first call already. The message says how to start somebody there. */
export class NotRunningError extends Error {
  override readonly name = "NotRunningError";
}

/** The person said stop before the answer came. */
export class InterruptedError extends Error {
  override readonly name = "InterruptedError";
}

/**
 * Passes calls on. The client repeats what gets lost on the way, which is right once the supervisor has answered; before
 * that a refused connection is a wrong address or a supervisor that was not started, and repeating keeps a person waiting.
 */
export function impatientDialer(carrier: Dialer, stop: AbortSignal): Dialer {
  let hasAnswered = false;
  const call = async (outgoing: OutgoingCall): Promise<string> => {
    const signal = outgoing.signal === undefined ? stop : AbortSignal.any([stop, outgoing.signal]);
    try {
      const answer = await carrier.call({ ...outgoing, signal });
      hasAnswered = true;
      return answer;
    } catch (error) {
      // Whoever gave the call a signal of its own knows what its end means.
      if (stop.aborted && outgoing.signal === undefined) throw interrupted(error);
      throw hasAnswered ? error : (notRunning(carrier.url, error) ?? error);
    }
  };
  const { url, validitySeconds, maxWaitMs, defaultDeadlineMs, waitMarginMs, mayDeliverTwice = false } = carrier;
  const onNotification = carrier.onNotification?.bind(carrier);
  return {
    url,
    validitySeconds,
    maxWaitMs,
    mayDeliverTwice,
    ...(defaultDeadlineMs === undefined ? {} : { defaultDeadlineMs }),
    ...(waitMarginMs === undefined ? {} : { waitMarginMs }),
    ...(onNotification === undefined ? {} : { onNotification }),
    call,
    close: async () => carrier.close(),
  };
}

function interrupted(cause: unknown): InterruptedError {
  return new InterruptedError("Interrupted before the answer came; what was asked may be done all the same.", {
    cause,
  });
}

/** Undefined where the address was reached, or may have been. */
function notRunning(href: string, cause: unknown): NotRunningError | undefined {
  const code = cause instanceof CarrierError && cause.applied === "no" ? codeOf(cause) : undefined;
  if (code === undefined) return undefined;
  const url = href.replace(/\/$/u, "");
  const says =
    code === "ECONNREFUSED"
      ? `The supervisor is not running at ${url}. Start it with: supervisor --port ${new URL(url).port || "80"}, or name another with --to URL.`
      : `${url} can not be reached (${code}). Name another supervisor with --to URL.`;
  return new NotRunningError(says, { cause });
}

/** The system's code for what went wrong: of the error, or of what caused it. */
function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  return "code" in error && typeof error.code === "string" ? error.code : codeOf(error.cause);
}
