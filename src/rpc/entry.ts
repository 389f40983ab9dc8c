/** One entry of a message: limits, method, params, signature, rights, handler, in this order, to an outcome. */
import { MAX_SIGNATURES } from "../auth/credential.ts";
import { type Caller, reachOf } from "../auth/policy.ts";
import type { Sessions } from "../auth/session.ts";
import { isPublicKey } from "../auth/signature.ts";
import { SupervisorError } from "../errors.ts";
import type { Log } from "../log.ts";
import { errorText, type Outcome, resultText, type Verified } from "./answer.ts";
import { Call, type Subject } from "./call.ts";
import type { Handler, Handlers } from "./context.ts";
import { type Entry, isRefusal, type JsonObject, type Request, type RequestId } from "./message.ts";
import { isMethodName, METHODS, type MethodName, type Result } from "./methods.ts";
import type { Connection, Peer } from "./transport.ts";
import { ParamsValidator } from "./validator.ts";

/** One finished call, for metrics and the audit trail. */
export interface CallOutcome {
  /** A name of the method table, or `unknown`: never text of the caller's making. */
  readonly method: string;
  /** 0, or the error's code. */
  readonly code: number;
  readonly ms: number;
  readonly transport: Peer["transport"];
  readonly peer: Peer;
  /** Absent where nothing was carried out whatever the code: no method, or a notification. */
  readonly effect?: "read" | "change";
  readonly verified: readonly Verified[];
  readonly subject: Subject & { readonly digest?: string };
  /** The refusal's message: public text, nothing of the caller's making. */
  readonly reason?: string;
  /** As in the log lines of this call. */
  readonly requestId: string;
}

export interface EntryOptions {
  readonly handlers: Handlers;
  /**
   * Verifies `params.auth` of a call whose credential is `call`. `params` come without it.
   * @throws SupervisorError for every fault of the credential, its absence included.
   */
  authenticate(call: {
    readonly method: string;
    readonly params: object;
    readonly auth: unknown;
    readonly peer: Peer;
  }): Promise<{ readonly caller: Caller; readonly signedText: string }>;
  /** Connections bound to a key: logins, and the callers of reads without a signature. */
  readonly sessions: Pick<Sessions, "verify" | "find">;
  readonly limits: {
    /** Time for one call; waiting calls have their wait on top. */
    readonly callMs: number;
  };
  /** Takes `cost` calls from the peer's allowance: ms to wait before the next try, 0 for go. */
  addressLimit(peer: Peer, cost: number): number;
  /** Takes one call from the key's allowance; asked after its signature was found good. */
  keyLimit(caller: Caller): number;
  readonly log: Log;
  newRequestId(): string;
  onCall?(outcome: CallOutcome): void;
  /** A clock for durations, in ms. Default: `performance.now`. */
  readonly now?: () => number;
}

/** Anybody may ask for the document, a thousand times as long as the question: it counts as so many calls. */
const DISCOVER_COST = 20;

type Draft<Value> = { -readonly [Name in keyof Value]: Value[Name] };

/** Params without the credential, and the credential as it came. */
interface SplitParams {
  readonly params: JsonObject;
  readonly credential: unknown;
}

export class EntryRunner {
  readonly #options: EntryOptions;
  readonly #validator = new ParamsValidator();
  readonly #now: () => number;

  constructor(options: EntryOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Never throws: whatever happens becomes the outcome. */
  async run(entry: Entry, connection: Connection): Promise<Outcome> {
    const call = new Call(connection, this.#options);
    const startedMs = this.#options.onCall === undefined ? 0 : this.#now();
    const outcome = await this.#outcome(entry, call);
    this.#options.onCall?.(toCallOutcome(entry, call, outcome, this.#now() - startedMs));
    return outcome;
  }

  async #outcome(entry: Entry, call: Call): Promise<Outcome> {
    const { id } = entry;
    const verified = call.found;
    try {
      // Before all else, and for every entry whatever it holds: a batch is no way around the limit.
      this.#charge(call.connection, entry);
      if (isRefusal(entry)) throw entry.error;
      const result = await this.#carryOut(entry, call);
      if (id === undefined) return { code: 0, verified };
      return { text: resultText(id, result), code: 0, verified, after: call.after };
    } catch (error) {
      const shown = this.#toShown(error, call, isRefusal(entry) ? "unknown" : entry.method);
      call.refusal = shown;
      if (id === undefined) return { code: shown.code, verified };
      return { text: this.#errorText(id, shown, call), code: shown.code, verified };
    }
  }

  #charge({ peer }: Connection, entry: Entry): void {
    const waitMs = this.#options.addressLimit(peer, isRefusal(entry) ? 1 : costOf(entry));
    if (waitMs > 0) throw tooFast("address_calls_per_second", waitMs);
  }

  async #carryOut(request: Request, call: Call): Promise<unknown> {
    const { method: name } = request;
    if (!isMethodName(name)) throw new SupervisorError("methodNotFound");
    // A change is refused (spec: api, "Dispatcher"), and a read that nobody sees has no effect: neither is carried out.
    if (request.id === undefined) return undefined;
    const { params, credential } = splitParams(name, request.params);
    if (!this.#validator.isParams(name, params)) throw this.#validator.fault(name, params);
    call.subject = subjectOf(params, credential);
    return call.within(
      this.#options.limits.callMs + waitOf(name, params, call.connection),
      this.#authorised(name, { params, credential }, call),
    );
  }

  async #authorised<Name extends MethodName>(
    name: Name,
    { params, credential }: SplitParams,
    call: Call,
  ): Promise<Result<Name>> {
    const method = METHODS[name];
    if (method.credential === "signatures") {
      call.signatures = credential;
    } else if (method.credential !== "none") {
      const { caller, signedText } = await this.#identify(name, { params, credential }, call.connection);
      call.addVerified(caller.principal, caller.key);
      const reach = reachOf(caller.roles, method.access);
      if (reach === undefined) throw new SupervisorError("forbidden");
      const waitMs = this.#options.keyLimit(caller);
      if (waitMs > 0) throw tooFast("rate", waitMs);
      call.caller = { ...caller, reach };
      if (signedText !== undefined) call.signedCall = signedText;
    }
    const held = cutWait(name, params, call.connection);
    // Holds for what was checked with a shorter wait; asked again because only asking gives the type.
    if (!this.#validator.isParams(name, held)) throw this.#validator.fault(name, held);
    const handler: Handler<Name> = this.#options.handlers[name];
    return handler(held, call);
  }

  /** By the call's signature; a read without one by the login of its connection (spec: signing, "Every other call"). */
  async #identify(
    name: MethodName,
    { params, credential }: SplitParams,
    connection: Connection,
  ): Promise<{ readonly caller: Caller; readonly signedText?: string }> {
    const { sessions } = this.#options;
    const { credential: kind, effect } = METHODS[name];
    if (kind === "login") return { caller: await sessions.verify(connection, credential) };
    const bound = credential === undefined && effect === "read" ? await sessions.find(connection) : undefined;
    if (bound !== undefined) return { caller: bound };
    return this.#options.authenticate({ method: name, params, auth: credential, peer: connection.peer });
  }

  /** What the caller may know of it; everything else stays in the log (spec: signing, table of errors). */
  #toShown(error: unknown, call: Call, method: string): SupervisorError {
    if (error instanceof SupervisorError && error.name !== "internal") return error;
    const { requestId: request_id, subject } = call;
    const { job, traceparent } = subject;
    this.#options.log.error(
      { event: "call_failed", request_id, method: method.slice(0, 64), job, traceparent, err: error },
      "a call failed",
    );
    return new SupervisorError("internal", { data: { request_id } });
  }

  #errorText(id: RequestId, error: SupervisorError, call: Call): string {
    try {
      return errorText(id, error);
    } catch (cause) {
      return errorText(id, this.#toShown(cause, call, "error data"));
    }
  }
}

/** What a call costs before anything is known of its caller: each signature of a job is one to be checked. */
function costOf({ method, params }: Request): number {
  if (method === "rpc.discover") return DISCOVER_COST;
  const signatures = method === "create_job" && isObject(params) ? memberOf(params, "signatures") : undefined;
  return Array.isArray(signatures) ? Math.min(Math.max(signatures.length, 1), MAX_SIGNATURES) : 1;
}

function toCallOutcome(entry: Entry, call: Call, { code, verified }: Outcome, ms: number): CallOutcome {
  const method = isRefusal(entry) || !isMethodName(entry.method) ? undefined : entry.method;
  const { connection, subject, digest, refusal, requestId } = call;
  const { peer } = connection;
  const outcome: Draft<CallOutcome> = {
    method: method ?? "unknown",
    code,
    ms,
    transport: peer.transport,
    peer,
    verified,
    subject: digest === undefined ? subject : { ...subject, digest },
    requestId,
  };
  if (method !== undefined && entry.id !== undefined) outcome.effect = METHODS[method].effect;
  if (refusal !== undefined) outcome.reason = refusal.message;
  return outcome;
}

/** Of checked params: ids and names are bounded by their patterns, so that they can stand in a line. */
function subjectOf(params: JsonObject, credential: unknown): Subject {
  const { job } = params;
  const subject: Draft<Subject> = {};
  const id = params["id"] ?? memberOf(job, "id");
  if (typeof id === "string") subject.job = id;
  const runner = params["name"] ?? memberOf(params["registration"], "name") ?? memberOf(job, "runner");
  if (typeof runner === "string") subject.runner = runner;
  const traceparent = memberOf(job, "traceparent");
  if (typeof traceparent === "string") subject.traceparent = traceparent;
  const claimedKey = memberOf(credential, "key") ?? memberOf(job, "caller_id");
  if (isPublicKey(claimedKey)) subject.claimedKey = claimedKey;
  return subject;
}

function memberOf(value: unknown, name: string): unknown {
  return isObject(value) ? value[name] : undefined;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null;
}

function tooFast(limit: string, waitMs: number): SupervisorError {
  return new SupervisorError("tooMany", { data: { limit, retry_after_ms: Math.ceil(waitMs) } });
}

/** A credential on a method that takes none stays among the params, where the schema refuses it as unknown. */
function splitParams(name: MethodName, params: Request["params"]): SplitParams {
  if (isByPosition(params)) {
    throw new SupervisorError("invalidParams", { data: { path: "params", expected: "an object: parameters by name" } });
  }
  const { credential } = METHODS[name];
  if (credential === "none") return { params, credential: undefined };
  const member = credential === "signatures" ? "signatures" : "auth";
  const { [member]: taken, ...rest } = params;
  return { params: rest, credential: taken };
}

function isByPosition(params: Request["params"]): params is readonly unknown[] {
  return Array.isArray(params);
}

/** How long a call may hold on purpose, in ms; a handler's own default is at most what the carrier holds. */
function waitOf(name: MethodName, params: JsonObject, { maxWaitMs }: Connection): number {
  const parameter = waitParameter(name);
  if (parameter === undefined) return 0;
  const asked = params[parameter];
  return typeof asked === "number" ? Math.min(asked, maxWaitMs) : maxWaitMs;
}

/** The wait cut to what the carrier holds; the signature was over what was asked. */
function cutWait(name: MethodName, params: JsonObject, connection: Connection): JsonObject {
  const parameter = waitParameter(name);
  if (parameter === undefined || typeof params[parameter] !== "number") return params;
  return { ...params, [parameter]: waitOf(name, params, connection) };
}

function waitParameter(name: MethodName): string | undefined {
  const method = METHODS[name];
  return "waits" in method ? method.waits : undefined;
}
