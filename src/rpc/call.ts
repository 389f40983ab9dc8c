/** One call while it is carried out: what its handler sees of it, its end, and its deadline. */
import { setMaxListeners } from "node:events";

import type { Caller } from "../auth/policy.ts";
import { SupervisorError } from "../errors.ts";
import type { Verified } from "./answer.ts";
import type { CallContext } from "./context.ts";
import type { Reach } from "./method.ts";
import type { Connection } from "./transport.ts";

/** What a call is about, for the audit trail: members that the schema bounds, and a digest; never content. */
export interface Subject {
  readonly job?: string;
  readonly runner?: string;
  /** Of the job: whoever traces it finds what was decided about it. */
  readonly traceparent?: string;
  /** Who the caller said it is. Nothing is verified. */
  readonly claimedKey?: string;
}

/**
 * A handler's context. Signal and request id cost something and few calls ask for them: both are made when first
 * looked at.
 */
export class Call implements CallContext {
  readonly connection: Connection;
  caller?: Caller & { readonly reach: Reach };
  signatures?: unknown;
  signedCall?: string;
  readonly found: Verified[] = [];
  subject: Subject = {};
  /** Digest of the verified job. */
  digest?: string;
  /** What the caller was told instead of a result. */
  refusal?: SupervisorError;
  /** What is called once the answer is on its way. */
  readonly after: (() => void)[] = [];
  readonly #ids: { newRequestId(): string };
  #requestId: string | undefined;
  #controller: AbortController | undefined;
  #end: (() => void) | undefined;
  #isOver = false;

  constructor(connection: Connection, ids: { newRequestId(): string }) {
    this.connection = connection;
    this.#ids = ids;
  }

  get requestId(): string {
    return (this.#requestId ??= this.#ids.newRequestId());
  }

  get signal(): AbortSignal {
    if (this.#controller !== undefined) return this.#controller.signal;
    const controller = new AbortController();
    this.#controller = controller;
    const { signal } = this.connection;
    if (this.#isOver || signal.aborted) {
      controller.abort();
    } else {
      this.#end = () => controller.abort();
      // Many calls of one connection listen at a time; Node would warn of a leak at the eleventh.
      setMaxListeners(0, signal);
      signal.addEventListener("abort", this.#end);
    }
    return controller.signal;
  }

  /** A function of its own, so that handlers may take it out of the context. */
  get verified(): CallContext["verified"] {
    return (principal, key, digest) => {
      if (digest !== undefined) this.digest = digest;
      this.addVerified(principal, key);
    };
  }

  get tracedBy(): CallContext["tracedBy"] {
    return (traceparent) => {
      if (traceparent !== undefined) this.subject = { ...this.subject, traceparent };
    };
  }

  get afterAnswer(): CallContext["afterAnswer"] {
    return (callback) => void this.after.push(callback);
  }

  addVerified(principal: string, key: string): void {
    this.found.push({ principal, key });
  }

  /**
   * Waits for the work, but not longer than `ms`; then the signal ends and nobody knows what the handler still does.
   * @throws SupervisorError `unavailable` at the deadline.
   */
  async within<T>(ms: number, work: Promise<T>): Promise<T> {
    // Promise.race would cost several times as much, on every call.
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#close();
        const message = `Unavailable: no result within ${ms} ms`;
        reject(new SupervisorError("unavailable", { message, data: { limit: "call_ms", applied: "unknown" } }));
      }, ms);
      const end = (): void => {
        clearTimeout(timer);
        this.#close();
      };
      work.then(
        (value) => {
          end();
          return resolve(value);
        },
        (error: unknown) => {
          end();
          reject(error);
        },
      );
    });
  }

  /** Work that goes on after the answer learns that nobody waits, and the connection forgets this call. */
  #close(): void {
    this.#isOver = true;
    if (this.#end === undefined) return;
    this.connection.signal.removeEventListener("abort", this.#end);
    this.#end();
  }
}
