/**
 * Connections bound to a key (spec: signing, "A WebSocket connection may log in once"). A connection is *unbound*; with
 * a challenge it is *challenged*; a good login over that challenge makes it *bound*, until it ends, the key loses its
 * rights or the time is over. A challenge is used up by whatever login comes first.
 */
import { randomBytes } from "node:crypto";

import { SupervisorError } from "../errors.ts";
import type { Connection } from "../rpc/transport.ts";
import type { RevocationStore } from "../store/store.ts";
import type { Authenticator } from "./authenticate.ts";
import type { Caller } from "./policy.ts";

/** Time to answer a challenge, in ms. */
const CHALLENGE_MS = 60_000;
const CHALLENGE_BYTES = 32;

export interface SessionsOptions {
  readonly authenticator: Pick<Authenticator, "verifyLogin" | "findCaller">;
  readonly revocations: Pick<RevocationStore, "isRevoked">;
  /** A login ends after this time, in ms. */
  readonly lifetimeMs: number;
  /** UNIX ms, only to say when something ends. */
  readonly now: () => number;
  /** A clock that never jumps, in ms, by which it ends: a wall clock that is set back would prolong it. */
  readonly monotonicMs: () => number;
}

/** Kept in the connection's slot, which ends with it. Ends are monotonic. */
class Session {
  challenge: { readonly text: string; readonly endMs: number } | undefined;
  login: { readonly key: string; readonly endMs: number } | undefined;
}

export class Sessions {
  readonly #options: SessionsOptions;

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /**
   * A fresh challenge in place of the one before, with its end in UNIX ms.
   * @throws SupervisorError `wrongState` where the carrier keeps no logins.
   */
  challenge(connection: Connection): { readonly challenge: string; readonly endMs: number } {
    const session = sessionOf(connection);
    const { now, monotonicMs } = this.#options;
    const text = randomBytes(CHALLENGE_BYTES).toString("hex");
    session.challenge = { text, endMs: monotonicMs() + CHALLENGE_MS };
    return { challenge: text, endMs: now() + CHALLENGE_MS };
  }

  /**
   * Judges `params.auth` of a login; binds nothing yet.
   * @throws SupervisorError as a signed call does; `wrongState` where the carrier keeps no logins.
   */
  async verify(connection: Connection, auth: unknown): Promise<Caller> {
    const session = sessionOf(connection);
    const { challenge } = session;
    // Used up before anything is judged: of two logins at a time only one can be good.
    session.challenge = undefined;
    const isLate = challenge === undefined || this.#options.monotonicMs() > challenge.endMs;
    const { authenticator } = this.#options;
    return authenticator.verifyLogin({ auth, challenge: isLate ? undefined : challenge.text, peer: connection.peer });
  }

  /** Binds the connection to a key that {@link verify} found good. @returns when the login ends, UNIX ms. */
  bind(connection: Connection, key: string): number {
    const { now, monotonicMs, lifetimeMs } = this.#options;
    sessionOf(connection).login = { key, endMs: monotonicMs() + lifetimeMs };
    return now() + lifetimeMs;
  }

  /** Whom the connection is bound to; undefined where it is not, or not any more. @throws SupervisorError `unavailable`. */
  async find(connection: Connection): Promise<Caller | undefined> {
    const session = connection.session?.value;
    if (!(session instanceof Session) || session.login === undefined) return undefined;
    const { key, endMs } = session.login;
    const caller = this.#options.monotonicMs() < endMs ? await this.callerOf(connection, key) : undefined;
    if (caller === undefined && session.login?.key === key) session.login = undefined;
    return caller;
  }

  /**
   * Whom a key stands for at this moment, by the keyring and by what other supervisors revoked.
   * @throws SupervisorError `unavailable` when that can not be asked: nobody, rather than somebody revoked.
   */
  async callerOf({ peer }: Connection, key: string): Promise<Caller | undefined> {
    if (await this.#options.revocations.isRevoked(key)) return undefined;
    // After the await: the keyring may have been read again meanwhile.
    return this.#options.authenticator.findCaller(key, peer);
  }
}

function sessionOf({ session, peer }: Connection): Session {
  if (session === undefined) throw noSession(peer);
  if (session.value instanceof Session) return session.value;
  const made = new Session();
  session.value = made;
  return made;
}

function noSession({ transport }: Connection["peer"]): SupervisorError {
  const message = `A login needs a connection that lasts (WebSocket), and this is ${transport}: sign each call instead`;
  return new SupervisorError("wrongState", { message });
}
