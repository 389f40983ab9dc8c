/** The typed client: builds requests, signs them, sends them over any carrier, and repeats what got lost. */
import { type Signer, signDocument } from "../auth/signature.ts";
import { CarrierError, ERRORS } from "../errors.ts";
import { type MethodName, METHODS, type Params, type Result } from "../rpc/methods.ts";
import type { CallAuth } from "../rpc/schema.ts";
import type { Dialer, OutgoingCall } from "../rpc/transport.ts";
import type { SignedJob } from "./job.ts";
import { ownSignal } from "./on-abort.ts";
import { MAX_TIMER_MS, pause } from "./pause.ts";
import { type Expected, parseResponse } from "./response.ts";
import { retryAfterMs, RpcError } from "./rpc-error.ts";

export interface ClientOptions {
  /** The carrier; it stays the caller's to close, by `await using` where it was dialled or by `close()`. */
  readonly dialer: Dialer;
  /** Signs calls; without one only jobs signed elsewhere and methods without a credential can be sent. */
  readonly signer?: Signer;
  /** The supervisor's identity, pinned: `aud` of every signed call. Never taken from the wire. */
  readonly supervisor: string;
  /** Whose receipts are believed; whichever runner the supervisor vouches for unless told. */
  readonly pins?: Partial<Pins>;
  /** UNIX ms; the system's clock unless told. */
  readonly now?: () => number;
}

/** Public keys that the user of a client knows by himself. */
export interface Pins {
  readonly runnerKeys: readonly string[];
  /** Of those whose enrolments count. */
  readonly registrarKeys: readonly string[];
}

export interface CallOptions {
  /** Ends the call with its reason; what was sent may be carried out all the same. */
  readonly signal?: AbortSignal;
  /** Everything together, repeats included, in ms. 30 s unless told (or the carrier's own), more by the wait of a call that waits. */
  readonly deadlineMs?: number;
}

/** The request as it goes out; the same object again is the identical bytes. */
interface Request {
  readonly id: string;
  readonly text: string;
}

/** What one `call` remembers between its attempts. */
interface Attempts {
  readonly endMs: number;
  waitMs: number;
  readonly signal: AbortSignal | undefined;
  backoffMs: number;
  hasCorrectedClock: boolean;
  hasSignedAgain: boolean;
  hasMetReplay: boolean;
}

const DEFAULT_DEADLINE_MS = 30_000;
/** What `wait_job` waits when it is not told (spec: api, "Methods"). */
const DEFAULT_WAIT_MS = 25_000;
/** What a repeated wait leaves of the call's time for the way there and back. */
const REPEATED_WAIT_MARGIN_MS = 10_000;
const FIRST_BACKOFF_MS = 100;
const LAST_BACKOFF_MS = 5000;
/**
 * Largest clock difference that is corrected, in seconds. The answer that tells it is not authenticated: without a bound
 * whoever sits on the way could collect calls that become good next year.
 */
const MAX_CLOCK_OFFSET_SECONDS = 86_400;

/** Calls one supervisor over one carrier. Every method is idempotent, so that a call whose answer was lost is repeated. */
export class SupervisorClient {
  readonly #dialer: Dialer;
  readonly #signer: Signer | undefined;
  /** Its pinned identity. */
  readonly supervisor: string;
  readonly pins: Pins;
  readonly #now: () => number;
  /** Random for each client, so that ids are unique in the process whatever else calls. */
  readonly #idPrefix = randomHex(8);
  #lastId = 0;
  /** The supervisor's clock minus ours, in seconds; 0 until it told us. */
  #clockOffset = 0;

  constructor({ dialer, signer, supervisor, pins, now = Date.now }: ClientOptions) {
    this.#dialer = dialer;
    this.#signer = signer;
    this.supervisor = supervisor;
    this.pins = { runnerKeys: [], registrarKeys: [], ...pins };
    this.#now = now;
  }

  /** Where the carrier pushes: as {@link Dialer.onNotification}. */
  get onNotification(): Dialer["onNotification"] {
    return this.#dialer.onNotification?.bind(this.#dialer);
  }

  /** As {@link Dialer.closed}. */
  get closed(): AbortSignal | undefined {
    return this.#dialer.closed;
  }

  /** Longest `wait_ms` worth asking for over this carrier. */
  get maxWaitMs(): number {
    return this.#dialer.maxWaitMs;
  }

  /**
   * Calls a method and gives its result. A signed call that got lost is signed again with a fresh nonce; everything else
   * is repeated as the identical bytes; with growing pauses, until the deadline.
   * @throws RpcError the supervisor's refusal; `tooLarge` also where the carrier met its limit.
   * @throws CarrierError no answer within the deadline, or at once where none can come (`isFinal`); `applied` says whether
   * it may have been carried out.
   * @throws TypeError a signed method without a signer, or parameters without canonical text.
   */
  async call<Name extends MethodName>(
    name: Name,
    params: Params<Name>,
    options: CallOptions = {},
  ): Promise<Result<Name>> {
    const waitMs = this.#waitMs(name, params);
    // Carriers listen to it one by one, and a program may end a thousand calls with one signal.
    const { signal, release } = ownSignal(options.signal);
    const attempts: Attempts = {
      endMs: this.#now() + (options.deadlineMs ?? this.#defaultDeadlineMs(waitMs)),
      waitMs,
      signal,
      backoffMs: FIRST_BACKOFF_MS,
      hasCorrectedClock: false,
      hasSignedAgain: false,
      hasMetReplay: false,
    };
    try {
      return await this.#untilAnswered(name, params, attempts);
    } finally {
      release();
    }
  }

  async #untilAnswered<Name extends MethodName>(
    name: Name,
    params: Params<Name>,
    attempts: Attempts,
  ): Promise<Result<Name>> {
    const isSigned = METHODS[name].credential === "call";
    let request = await this.#build(name, params);
    for (;;) {
      const text = await this.#send(request, attempts);
      const answer = text === undefined ? undefined : await this.#read(text, { name, id: request.id }, attempts);
      if (answer !== undefined) return answer.result;
      if (!isSigned) continue;
      const fitting = this.#fitting(name, params, attempts);
      attempts.waitMs = this.#waitMs(name, fitting);
      request = await this.#build(name, fitting);
    }
  }

  /**
   * Submits a signed job; the identical bytes again when the answer was lost, which is safe: the id is the idempotency key.
   * A refusal of such a repeat says nothing of the first: only `get_job` tells whether the job is there.
   */
  async submitJob(signed: SignedJob, options: CallOptions = {}): Promise<Result<"create_job">> {
    return this.call("create_job", signed, options);
  }

  /** The answer's text, or undefined when it got lost and the call is worth repeating now. */
  async #send(request: Request, attempts: Attempts): Promise<string | undefined> {
    const { signal, waitMs, endMs } = attempts;
    signal?.throwIfAborted();
    const call: OutgoingCall = {
      ...request,
      waitMs,
      deadlineMs: Math.min(Math.max(1, endMs - this.#now()), MAX_TIMER_MS),
      ...(signal === undefined ? {} : { signal }),
    };
    try {
      return await this.#dialer.call(call);
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof CarrierError)) throw error;
      if (error.limit !== undefined) {
        throw new RpcError(ERRORS.tooLarge.code, error.message, { limit: error.limit });
      }
      if (error.isFinal) throw error;
      await this.#beforeRepeat(error, attempts);
      return undefined;
    }
  }

  /**
   * The result, or undefined when the call is worth repeating: its refusal is mended by a new signature, once a call each,
   * or it came too soon. A change that came too soon is the caller's to decide about.
   */
  async #read<Name extends MethodName>(
    text: string,
    expected: Expected<Name>,
    attempts: Attempts,
  ): Promise<{ readonly result: Result<Name> } | undefined> {
    try {
      return { result: parseResponse(text, expected) };
    } catch (error) {
      if (METHODS[expected.name].effect === "read" && (await this.#hasWaited(error, attempts))) return undefined;
      if (METHODS[expected.name].credential !== "call" || !this.#isMended(error, attempts)) throw error;
      return undefined;
    }
  }

  /** Our clock was wrong, and is corrected now; or the answer got lost with the bytes delivered twice. */
  #isMended(error: unknown, attempts: Attempts): boolean {
    if (!(error instanceof RpcError)) return false;
    if (error.code === ERRORS.replay.code && this.#dialer.mayDeliverTwice === true && !attempts.hasMetReplay) {
      attempts.hasMetReplay = true;
      return this.#now() < attempts.endMs;
    }
    if (attempts.hasCorrectedClock || !this.#correctClock(error)) return false;
    attempts.hasCorrectedClock = true;
    return true;
  }

  /** Waits as long as the supervisor asks for; false where it asks for nothing, or for more time than there is. */
  async #hasWaited(error: unknown, { endMs, signal }: Attempts): Promise<boolean> {
    const toldMs = retryAfterMs(error);
    if (toldMs === undefined) return false;
    const pauseMs = Math.max(toldMs, FIRST_BACKOFF_MS);
    if (this.#now() + pauseMs >= endMs) return false;
    await pause(pauseMs, signal, this.closed);
    return true;
  }

  #defaultDeadlineMs(waitMs: number): number {
    const { defaultDeadlineMs = DEFAULT_DEADLINE_MS, waitMarginMs = defaultDeadlineMs } = this.#dialer;
    return waitMs === 0 ? defaultDeadlineMs : waitMs + waitMarginMs;
  }

  /** Waits as long as a repeat should; throws the error when there is no time or sense left. */
  async #beforeRepeat(error: CarrierError, attempts: Attempts): Promise<void> {
    // The carrier has repeated already, and what is lost is one answer: no pause, but only once.
    if (error.mustSignAgain) {
      if (attempts.hasSignedAgain || this.#now() >= attempts.endMs) throw error;
      attempts.hasSignedAgain = true;
      return;
    }
    // Jitter: callers that lost the same supervisor at the same time come back one by one.
    const pauseMs = attempts.backoffMs * (0.5 + Math.random() / 2);
    if (this.#now() + pauseMs >= attempts.endMs) throw error;
    attempts.backoffMs = Math.min(attempts.backoffMs * 2, LAST_BACKOFF_MS);
    await pause(pauseMs, attempts.signal, this.closed);
  }

  async #build<Name extends MethodName>(method: Name, params: Params<Name>): Promise<Request> {
    this.#lastId += 1;
    const id = `${this.#idPrefix}-${this.#lastId}`;
    const isSigned = METHODS[method].credential === "call";
    const sent = isSigned ? { ...params, auth: await this.#sign(method, params) } : params;
    return { id, text: JSON.stringify({ jsonrpc: "2.0", id, method, params: sent }) };
  }

  async #sign(method: MethodName, params: object): Promise<CallAuth> {
    const signer = this.#signer;
    if (signer === undefined) throw new TypeError(`${method} is a signed call: give the client a signer.`);
    const iat = Math.floor(this.#now() / 1000) + this.#clockOffset;
    const auth = {
      v: 1 as const,
      aud: this.supervisor,
      key: signer.publicKey,
      iat,
      exp: iat + this.#dialer.validitySeconds,
      nonce: randomHex(16),
    };
    const { signature } = await signDocument(signer, "call", { ...auth, method, params });
    return { ...auth, sig: signature };
  }

  /** Takes over the supervisor's clock from a `stale` refusal; false when it is none or the difference is no clock's. */
  #correctClock(error: RpcError): boolean {
    if (error.code !== ERRORS.stale.code) return false;
    const { data } = error;
    if (typeof data !== "object" || data === null || !("now" in data) || typeof data.now !== "number") return false;
    const offset = data.now - Math.floor(this.#now() / 1000);
    if (!Number.isSafeInteger(offset) || Math.abs(offset) > MAX_CLOCK_OFFSET_SECONDS) return false;
    this.#clockOffset = offset;
    return true;
  }

  /** A repeat waits only as long as its answer can still come: a shorter wait gives the state as it is then. */
  #fitting<Name extends MethodName>(name: Name, params: Params<Name>, { endMs, waitMs }: Attempts): Params<Name> {
    const { waits } = METHODS[name];
    const leftMs = Math.max(0, Math.floor(endMs - this.#now() - REPEATED_WAIT_MARGIN_MS));
    return waits === undefined || waitMs <= leftMs ? params : { ...params, [waits]: leftMs };
  }

  #waitMs(name: MethodName, params: object): number {
    const { waits } = METHODS[name];
    if (waits === undefined) return 0;
    const told = new Map<string, unknown>(Object.entries(params)).get(waits);
    const untold = name === "wait_job" ? DEFAULT_WAIT_MS : 0;
    return Math.min(typeof told === "number" ? told : untold, this.#dialer.maxWaitMs);
  }
}

function randomHex(bytes: number): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join(
    "",
  );
}
