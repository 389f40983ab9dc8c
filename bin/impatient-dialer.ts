/** A dialer for people at a terminal: that nobody is there is said at once, and Ctrl-C ends a call that would be repeated. */
import { CarrierError } from "../src/errors.ts";
import type { Dialer, OutgoingCall } from "../src/rpc/transport.ts";
import type { Silence } from "./silence.ts";

/** No supervisor is at the address, at the first call already. The message says how to start or find one. */
export class NotRunningError extends Error {
  override readonly name = "NotRunningError";
}

/** The person said stop before the answer came. */
export class InterruptedError extends Error {
  override readonly name = "InterruptedError";
}

/** A connection that is cut before anything was answered may be a supervisor that ends; this often in a row it is none. */
const CUTS = 3;

/**
 * Passes calls on. The client repeats what gets lost on the way, which is right once the supervisor has answered; before
 * that a refused connection is a wrong address or a supervisor that was not started, and repeating keeps a person waiting.
 */
export function impatientDialer(carrier: Dialer, stop: AbortSignal, silence?: Silence): Dialer {
  let hasAnswered = false;
  let cuts = 0;
  const call = async (outgoing: OutgoingCall): Promise<string> => {
    const signal = outgoing.signal === undefined ? stop : AbortSignal.any([stop, outgoing.signal]);
    silence?.waits(outgoing.waitMs);
    try {
      const answer = await carrier.call({ ...outgoing, signal });
      silence?.answered();
      hasAnswered = true;
      return answer;
    } catch (error) {
      // Whoever gave the call a signal of its own knows what its end means.
      if (stop.aborted && outgoing.signal === undefined) throw interrupted(error);
      if (error instanceof CarrierError) silence?.failed();
      if (!hasAnswered) {
        cuts += isCut(error) ? 1 : 0;
        throw notRunning(carrier.url, error, cuts) ?? error;
      }
      throw error;
    }
  };
  const { url, validitySeconds, maxWaitMs, defaultDeadlineMs, waitMarginMs, mayDeliverTwice = false } = carrier;
  const onNotification = carrier.onNotification?.bind(carrier);
  const { closed } = carrier;
  return {
    url,
    validitySeconds,
    maxWaitMs,
    mayDeliverTwice,
    ...(defaultDeadlineMs === undefined ? {} : { defaultDeadlineMs }),
    ...(waitMarginMs === undefined ? {} : { waitMarginMs }),
    ...(onNotification === undefined ? {} : { onNotification }),
    ...(closed === undefined ? {} : { closed }),
    call,
    close: async () => carrier.close(),
  };
}

function interrupted(cause: unknown): InterruptedError {
  return new InterruptedError("Interrupted before the answer came; what was asked may be done all the same.", {
    cause,
  });
}

/** Undefined where repeating the call makes sense. `cuts`: connections cut so far, this one included. */
function notRunning(href: string, cause: unknown, cuts: number): NotRunningError | undefined {
  const code = cause instanceof CarrierError ? codeOf(cause) : undefined;
  if (!(cause instanceof CarrierError) || code === undefined) return undefined;
  const { isFinal } = cause;
  const says = whyNot(href.replace(/\/$/u, ""), { code, isUnsent: cause.applied === "no", isFinal, cuts });
  return says === undefined ? undefined : new NotRunningError(says, { cause });
}

interface Failure {
  readonly code: string;
  /** Nothing left this machine. */
  readonly isUnsent: boolean;
  /** No repeat changes it. */
  readonly isFinal: boolean;
  readonly cuts: number;
}

function whyNot(url: string, { code, isUnsent, isFinal, cuts }: Failure): string | undefined {
  const other = "Name the supervisor's URL with --to; its first lines tell it";
  if (code === "ECONNREFUSED") {
    const port = new URL(url).port || "80";
    return `The supervisor is not running at ${url}. Start it with: supervisor --port ${port}, or name another with --to URL.`;
  }
  if (NOT_HTTP.test(code))
    return `${url} is no supervisor: what answers there does not speak its protocol (${code}). ${other}.`;
  if (isFinal && code.startsWith("HTTP_"))
    return `${url} is no supervisor: a web server answers there (${code.replace("_", " ")}). ${other}.`;
  if (CUT.has(code)) {
    return cuts < CUTS
      ? undefined
      : `${url} takes connections and closes them without an answer (${code}): probably no supervisor. ${other}.`;
  }
  return isUnsent ? `${url} can not be reached (${code}). Name another supervisor with --to URL.` : undefined;
}

/** Not HTTP, or HTTP where TLS was expected, or the other way round: of Node's parser, and of OpenSSL. */
const NOT_HTTP = /^(?:HPE_|ERR_SSL_|EPROTO$)/u;
const CUT: ReadonlySet<string> = new Set(["UND_ERR_SOCKET", "ECONNRESET", "EPIPE"]);

function isCut(error: unknown): boolean {
  return error instanceof CarrierError && CUT.has(codeOf(error) ?? "");
}

/** The system's code for what went wrong: of the error, or of what caused it. */
function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  return "code" in error && typeof error.code === "string" ? error.code : codeOf(error.cause);
}
