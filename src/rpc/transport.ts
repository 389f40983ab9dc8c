/**
 * The boundary between the inside (`src`) and the carriers (`transports`): types only.
 * A transport moves bytes and reports facts; it never decides who somebody is or what they may do.
 */

export type TransportName = "in-process" | "http" | "websocket" | "mycelium";

/** What a transport knows about the other side. Facts, never decisions. */
export interface Peer {
  readonly transport: TransportName;
  /** Socket or overlay address, without port. Rate limits before any signature work are kept by it. */
  readonly address?: string;
  /** Overlay node key, `x25519:` + 64 hex: who carried the message, never who asked. */
  readonly node?: string;
}

/** What a transport offers for one request: facts, an end, and how much it can hold. */
export interface Connection {
  readonly peer: Peer;
  /** Aborts when the other side is gone or the listener must stop: nobody will read an answer. */
  readonly signal: AbortSignal;
  /** Longest wait (`wait_job`, log followers) the carrier holds open, in ms. */
  readonly maxWaitMs: number;
  /** Largest answer the carrier takes, in bytes; a batch entry beyond it becomes `tooLarge`. */
  readonly maxAnswerBytes: number;
  /** Where the carrier has connections that last: the place a login is kept. Opaque to the transport. */
  readonly session?: { value?: unknown };
  /** Where the carrier can push: sends a notification; false when the other side reads too slowly. */
  readonly notify?: (message: Uint8Array) => boolean;
  /**
   * Beside `notify`: resolves when little is left unsent, when the other side takes nothing at all, or at the end of the
   * connection. Who sends much waits for it between pieces, so that only a reader that stands still is too slow.
   */
  readonly drained?: () => Promise<void>;
}

/** An answer and what a carrier may do with it. */
export interface Answer {
  /** Absent: nothing is to be said (notifications). */
  readonly bytes?: Uint8Array;
  /** Principals and keys whose signature was found good; empty for unauthenticated or refused calls. */
  readonly principals: readonly string[];
  readonly keys: readonly string[];
  /** May be given again for the same bytes: authenticated, and no transient error in it. */
  readonly isRepeatable: boolean;
  /** Whatever must not overtake this answer: a carrier with `notify` calls it once the answer is on its way. */
  readonly afterSent?: () => void;
}

/** The inside, as a transport sees it. */
export interface RequestHandler {
  /** Takes the bytes of one JSON-RPC message (request or batch). Never throws. */
  handle(bytes: Uint8Array, connection: Connection): Promise<Answer>;
  /** Calls back with each key whose rights have just ended; returns the way to stop that. */
  onRevoked(callback: (key: string) => void): () => void;
}

export interface ListenerStatus {
  readonly name: TransportName;
  readonly isUp: boolean;
  /** Where callers reach it: `http://127.0.0.1:8080`, `mycelium://<key>`. */
  readonly url?: string;
  /** Why it is not up, or what to know, in words. */
  readonly detail?: string;
}

/** An overlay node seen by a listener. */
export interface PeerSeen {
  readonly node: string;
  readonly address: string;
  readonly lastMessageMs: number;
  readonly calls: number;
  readonly refused: number;
  /** A message to it and its receipt, newest measurement. */
  readonly roundTripMs?: number;
}

/** Serves a {@link RequestHandler} over one carrier. */
export interface Listener {
  readonly name: TransportName;
  /** Resolves when it serves, or (Mycelium) when it has begun to try. */
  start(): Promise<void>;
  /** Takes nothing new, answers what it took until `deadline` aborts, then closes. */
  stop(deadline: AbortSignal): Promise<void>;
  status(): ListenerStatus;
  peersSeen?(): readonly PeerSeen[];
  /** Applies changed certificates and the like (SIGHUP). */
  reload?(): Promise<void>;
}

/** One request as a client hands it to a carrier. */
export interface OutgoingCall {
  /** The JSON-RPC id inside `text`, unique among all calls of the process: carriers that batch match answers by it. */
  readonly id: string;
  /** The request object as JSON text. */
  readonly text: string;
  /** The call waits on purpose (`wait_job`): it travels alone. In ms; 0 where it does not wait. */
  readonly waitMs: number;
  /** Give up after this many ms. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
}

/** What a client uses to reach a supervisor over one carrier. */
export interface Dialer {
  readonly url: string;
  /** Validity of a signed call over this carrier, in seconds (spec: signing, "Every other call"). */
  readonly validitySeconds: number;
  /** Longest `wait_ms` the carrier holds. */
  readonly maxWaitMs: number;
  /** What a call gets beside its wait unless told, in ms; 30 s where the carrier has no wish of its own. */
  readonly defaultDeadlineMs?: number;
  /** What a call that waits gets beside its wait unless told, in ms; as `defaultDeadlineMs` where the carrier does not say. */
  readonly waitMarginMs?: number;
  /**
   * The carrier may deliver the same bytes more than once: a used nonce then says that the first answer was lost, and the
   * call has to be signed once more (spec: mycelium, "The dialer").
   */
  readonly mayDeliverTwice?: boolean;
  /**
   * Sends one request and resolves with the text of its response object.
   * @throws CarrierError when no answer came; its `applied` says whether the other side may have acted.
   */
  call(call: OutgoingCall): Promise<string>;
  /**
   * Where the carrier pushes: calls back with the text of each notification, and with undefined when the connection was
   * lost, and with it whatever was agreed on it (a login, subscriptions). Returns the way to stop that.
   */
  onNotification?(callback: (text: string | undefined) => void): () => void;
  /** Ends all calls at once; they and all later ones fail with a CarrierError that is final. */
  close(): Promise<void>;
  /** Aborts with `close()`: who pauses between two calls need not wait to be told by the next. */
  readonly closed?: AbortSignal;
}
