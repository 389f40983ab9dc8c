/** What a handler gets beside its parameters, and the shape of all handlers together. */
import type { Caller } from "../auth/policy.ts";
import type { Reach } from "./method.ts";
import type { MethodName, Params, Result } from "./methods.ts";
import type { Connection } from "./transport.ts";

export interface CallContext {
  /** Who signed this call (or is bound to its connection), and how far their roles reach in it. */
  readonly caller?: Caller & { readonly reach: Reach };
  /** `params.signatures` as it came, for the credential `signatures`: the handler verifies it. */
  readonly signatures?: unknown;
  /**
   * `params.auth` of a verified call, as JSON text together with method and params: what was signed, for storage. Absent
   * where nothing was: a read on a connection that is bound to its caller.
   */
  readonly signedCall?: string;
  readonly connection: Connection;
  /** Ends with the connection or the call's deadline. */
  readonly signal: AbortSignal;
  /** In every log line of this call, and in the data of an internal error. */
  readonly requestId: string;
  /** Tells transport and audit trail who was verified, and which document, where the handler verifies by itself. */
  readonly verified: (principal: string, key: string, digest?: string) => void;
  /** Tells log and audit trail the W3C trace context of the job this call is about, where its handler has read the job. */
  readonly tracedBy: (traceparent: string | undefined) => void;
  /** What must not overtake the answer (notifications about it): called once it is on its way, if it is a result. */
  readonly afterAnswer: (callback: () => void) => void;
}

export type Handler<Name extends MethodName> = (params: Params<Name>, context: CallContext) => Promise<Result<Name>>;

/** One handler for each method of the table: a missing one is a compile error. */
export type Handlers = { readonly [Name in MethodName]: Handler<Name> };
