/**
 * Every error a caller can see: one table of names, JSON-RPC codes and public messages.
 * Numbers appear nowhere else. What is not a SupervisorError becomes `internal`, its text kept for the log.
 */

/** JSON-RPC code, public message and, where it never changes, data for each error name (spec: signing, "Policy"; JSON-RPC 2.0 §5.1). */
export const ERRORS = {
  parse: { code: -32700, message: "Parse error" },
  invalidRequest: { code: -32600, message: "Invalid Request" },
  methodNotFound: { code: -32601, message: "Method not found" },
  invalidParams: { code: -32602, message: "Invalid params" },
  internal: { code: -32603, message: "Internal error" },
  unauthenticated: {
    code: -32001,
    message: "Unauthenticated",
    // The same for every fault: it must not say how far a forger got.
    data: {
      fix:
        "Sign with an enrolled key: a call in params.auth, a job in params.signatures. How: info.description of rpc.discover. " +
        "The supervisor command and the client library sign by themselves.",
    },
  },
  stale: { code: -32002, message: "Outside the time window" },
  forbidden: { code: -32003, message: "Forbidden" },
  notFound: { code: -32004, message: "Not found" },
  replay: { code: -32005, message: "Nonce already used" },
  wrongAudience: { code: -32006, message: "Wrong audience" },
  conflict: { code: -32009, message: "The id is taken by other content" },
  wrongState: { code: -32010, message: "Wrong state for this operation" },
  tooLarge: { code: -32013, message: "Too large" },
  tooMany: { code: -32029, message: "Too many" },
  unavailable: { code: -32053, message: "Unavailable" },
} as const;

export type ErrorName = keyof typeof ERRORS;

/** What a caller may read beside code and message: plain JSON. */
export type ErrorData = Readonly<Record<string, unknown>>;

interface SupervisorErrorOptions {
  /** Replaces the table's public message; never holds secrets, Redis text or another caller's data. */
  readonly message?: string;
  readonly data?: ErrorData;
  readonly cause?: unknown;
}

/** The only error whose message and data reach a caller. `name` is a key of {@link ERRORS}. */
export class SupervisorError extends Error {
  override readonly name: ErrorName;
  readonly data: ErrorData | undefined;

  constructor(name: ErrorName, options: SupervisorErrorOptions = {}) {
    const known: { readonly message: string; readonly data?: ErrorData } = ERRORS[name];
    super(options.message ?? known.message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = name;
    this.data = options.data ?? known.data;
  }

  get code(): number {
    return ERRORS[this.name].code;
  }
}

/** Whether a request that failed was carried out all the same. */
export type Applied = "no" | "unknown";

/** What repeating a call can do. Unless told: the identical bytes may get an answer. */
type CallFate = Partial<Pick<CarrierError, "mustSignAgain" | "isFinal" | "limit">>;

/** A call never got its answer: no connection, cut, timed out, or the answer is not one. Thrown by dialers. */
export class CarrierError extends Error {
  override readonly name = "CarrierError";
  /** `no`: the bytes never left, repeating is free. `unknown`: the other side may have acted. */
  readonly applied: Applied;
  /** The answer is lost for good: only a call signed again, with a fresh nonce, can get one (spec: mycelium, "The dialer"). */
  readonly mustSignAgain: boolean;
  /** The same call over the same dialer meets the same end: it is not repeated. */
  readonly isFinal: boolean;
  /** The limit that the call's bytes are beyond, as `x-limits` names it: clients tell it as `tooLarge`. */
  readonly limit: string | undefined;

  constructor(message: string, applied: Applied, cause?: unknown, fate: CallFate = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.applied = applied;
    this.mustSignAgain = fate.mustSignAgain ?? false;
    this.limit = fate.limit;
    this.isFinal = fate.isFinal ?? fate.limit !== undefined;
  }
}

/** Is it sure that what failed was not carried out, and will not be? */
export function wasRefused(error: unknown): boolean {
  return error instanceof SupervisorError && error.data?.["applied"] === "no";
}

/** Text of anything thrown, for logs and for people; a typed error's data stands behind it. */
export function errorText(error: unknown): string {
  if (error instanceof SupervisorError && error.data !== undefined)
    return `${error.message} ${JSON.stringify(error.data)}`;
  return error instanceof Error ? error.message : String(error);
}
