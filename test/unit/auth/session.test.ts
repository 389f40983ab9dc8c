import { describe, expect, test } from "vitest";

import { createAuthenticator } from "../../../src/auth/authenticate.ts";
import { type EnrolledKey, Keyring } from "../../../src/auth/keyring.ts";
import { createVerifier } from "../../../src/auth/native-verifier.ts";
import { Sessions } from "../../../src/auth/session.ts";
import { type Kind, type Signer, signDocument } from "../../../src/auth/signature.ts";
import { ERRORS, SupervisorError } from "../../../src/errors.ts";
import type { Connection } from "../../../src/rpc/transport.ts";
import type { NonceOutcome, ReplayStore } from "../../../src/store/store.ts";
import { aConnection } from "../../support/dispatcher.ts";
import { aSigner, anEnrolledKey, objectOf, outcomeOf, refusalOf, VECTORS } from "../../support/signing.ts";

const { caller, supervisorA, supervisorB, approver } = VECTORS.keys;
const START_MS = 1_790_000_031_000;
const LIFETIME_MS = 900_000;

interface Stage {
  readonly sessions: Sessions;
  readonly keyring: Keyring;
  readonly claims: Parameters<ReplayStore["claimNonce"]>[0][];
  /** Keys that another supervisor revoked. */
  readonly revoked: Set<string>;
  nowMs: number;
  /** How far the wall clock was set back. */
  setBackMs: number;
}

function aStage({
  keys = [anEnrolledKey(), anEnrolledKey({ name: "approver", principal: "carol", key: approver })],
  nonce = { outcome: "fresh" },
}: { readonly keys?: readonly EnrolledKey[]; readonly nonce?: NonceOutcome } = {}): Stage {
  const claims: Stage["claims"] = [];
  const revoked = new Set<string>();
  const now = (): number => stage.nowMs - stage.setBackMs;
  const monotonicMs = (): number => stage.nowMs - START_MS;
  const keyring = new Keyring(keys, now);
  const authenticator = createAuthenticator({
    identity: supervisorA,
    keyring,
    verifier: createVerifier({ crypto: "native", maxInFlight: 100 }),
    replay: {
      claimNonce: async (claim) => {
        claims.push(claim);
        return nonce;
      },
    },
    now,
  });
  const revocations = {
    isRevoked: async (key: string): Promise<boolean> => {
      if (key === approver && revoked.has("down")) throw new SupervisorError("unavailable");
      return revoked.has(key);
    },
  };
  const sessions = new Sessions({ authenticator, revocations, lifetimeMs: LIFETIME_MS, now, monotonicMs });
  const stage: Stage = { sessions, keyring, claims, revoked, nowMs: START_MS, setBackMs: 0 };
  return stage;
}

/** A connection that keeps a login. */
function aLasting(): Connection {
  return aConnection({ peer: { transport: "websocket", address: "127.0.0.1" }, session: {} });
}

interface LoginWishes {
  readonly signer?: Signer;
  readonly kind?: Kind;
  readonly body?: Readonly<Record<string, unknown>>;
}

/** `params.auth` of a login over a challenge. */
async function aLogin(
  challenge: string,
  { signer = aSigner(), kind = "login", body = {} }: LoginWishes = {},
): Promise<Readonly<Record<string, unknown>>> {
  const now = START_MS / 1000;
  const signed = { v: 1, aud: supervisorA, key: signer.publicKey, challenge, iat: now, exp: now + 120, ...body };
  const { signature } = await signDocument(signer, kind, signed);
  return { ...signed, sig: signature };
}

/** Challenge, login, bound. */
async function logIn(stage: Stage, connection: Connection, signer = aSigner()): Promise<void> {
  const { challenge } = stage.sessions.challenge(connection);
  const { key } = await stage.sessions.verify(connection, await aLogin(challenge, { signer }));
  stage.sessions.bind(connection, key);
}

describe("A challenge", () => {
  test("is 64 random hex digits, each time others, and good for a minute", () => {
    const { sessions } = aStage();
    const connection = aLasting();

    const first = sessions.challenge(connection);
    const second = sessions.challenge(connection);

    expect(first.challenge).toMatch(/^[0-9a-f]{64}$/u);
    expect(second.challenge).not.toBe(first.challenge);
    expect(first.endMs).toBe(START_MS + 60_000);
  });

  test("is not given on a carrier that keeps no login", async () => {
    const { sessions } = aStage();
    const connection = aConnection({ peer: { transport: "http" } });

    expect(() => sessions.challenge(connection)).toThrow(/WebSocket.*this is http: sign each call/u);
    await expect(refusalOf(sessions.verify(connection, {}))).resolves.toMatchObject({ name: "wrongState" });
  });

  test.each<readonly [string, (stage: Stage, connection: Connection, given: string) => Promise<string>]>([
    ["used before", async (stage, connection, given) => use(stage, connection, given)],
    ["used up by a bad login", async (stage, connection, given) => use(stage, connection, given, { kind: "call" })],
    [
      "replaced by another",
      async (stage, connection, given) => {
        stage.sessions.challenge(connection);
        return given;
      },
    ],
    ["given to another connection", async (stage) => stage.sessions.challenge(aLasting()).challenge],
    [
      "too old",
      async (stage, _connection, given) => {
        stage.nowMs += 60_001;
        stage.setBackMs += 60_001;
        return given;
      },
    ],
    ["nobody's", async () => "a".repeat(64)],
  ])("is not good when it was %s", async (_what, choose) => {
    const stage = aStage();
    const connection = aLasting();
    const { challenge } = stage.sessions.challenge(connection);
    const chosen = await choose(stage, connection, challenge);

    const login = stage.sessions.verify(connection, await aLogin(chosen));

    await expect(refusalOf(login)).resolves.toEqual(UNAUTHENTICATED);
  });

  test("makes one of two logins at a time good", async () => {
    const stage = aStage();
    const connection = aLasting();
    const auth = await aLogin(stage.sessions.challenge(connection).challenge);

    const outcomes = await Promise.all([1, 2].map(async () => outcomeOf(stage.sessions.verify(connection, auth))));

    expect(outcomes).toStrictEqual([undefined, "unauthenticated"]);
  });
});

const UNAUTHENTICATED = {
  name: "unauthenticated",
  message: "Unauthenticated",
  data: ERRORS.unauthenticated.data,
};

async function use(stage: Stage, connection: Connection, challenge: string, wishes?: LoginWishes): Promise<string> {
  await outcomeOf(stage.sessions.verify(connection, await aLogin(challenge, wishes)));
  return challenge;
}

describe("A login", () => {
  test("is judged by Redis' clock and guarded against replay, by the first half of its challenge", async () => {
    const stage = aStage();
    const connection = aLasting();
    const { challenge } = stage.sessions.challenge(connection);

    await expect(stage.sessions.verify(connection, await aLogin(challenge))).resolves.toMatchObject({ key: caller });

    const now = START_MS / 1000;
    expect(stage.claims).toStrictEqual([{ key: caller, nonce: challenge.slice(0, 32), iat: now, exp: now + 120 }]);
  });

  test.each<readonly [string, NonceOutcome, string]>([
    ["seen before", { outcome: "replay" }, "replay"],
    ["outside its window", { outcome: "stale", now: 5 }, "stale"],
    ["by a key that another supervisor revoked", { outcome: "revoked" }, "unauthenticated"],
  ])("is refused when it was %s", async (_what, nonce, name) => {
    const stage = aStage({ nonce });
    const connection = aLasting();
    const { challenge } = stage.sessions.challenge(connection);

    await expect(outcomeOf(stage.sessions.verify(connection, await aLogin(challenge)))).resolves.toBe(name);
  });

  test.each<readonly [string, LoginWishes & { readonly change?: (auth: object) => unknown }, string]>([
    ["absent", { change: () => undefined }, "unauthenticated"],
    ["a list", { change: (auth) => [auth] }, "unauthenticated"],
    ["with one member more", { change: (auth) => ({ ...auth, nonce: "1" }) }, "unauthenticated"],
    ["with another member instead", { change: (auth) => ({ ...auth, v: undefined, w: 1 }) }, "unauthenticated"],
    ["of another version", { body: { v: 2 } }, "unauthenticated"],
    ["with an upper-case challenge", { change: upperCased }, "unauthenticated"],
    ["with times that are no seconds", { change: (auth) => ({ ...auth, iat: "1" }) }, "unauthenticated"],
    ["with a key that is none", { change: (auth) => ({ ...auth, key: "ed25519:00" }) }, "unauthenticated"],
    ["signed as a call", { kind: "call" }, "unauthenticated"],
    ["signed by another key", { signer: aSigner("approver"), body: { key: caller } }, "unauthenticated"],
    ["by a key that is not enrolled", { signer: aSigner("runner") }, "unauthenticated"],
    ["changed after it was signed", { change: (auth) => ({ ...auth, exp: START_MS / 1000 + 121 }) }, "unauthenticated"],
    ["for another supervisor", { body: { aud: supervisorB } }, "wrongAudience"],
    ["valid for too long", { body: { exp: START_MS / 1000 + 601 } }, "stale"],
    ["ended before it began", { body: { exp: START_MS / 1000 - 1 } }, "stale"],
  ])("is refused when it is %s", async (_what, { change = (auth) => auth, ...wishes }, name) => {
    const stage = aStage();
    const connection = aLasting();
    const { challenge } = stage.sessions.challenge(connection);

    const auth = change(await aLogin(challenge, wishes));

    await expect(outcomeOf(stage.sessions.verify(connection, auth))).resolves.toBe(name);
    expect(stage.claims).toStrictEqual([]);
  });

  test("is no way around an overlay that the key demands", async () => {
    const stage = aStage({ keys: [anEnrolledKey({ overlay: [`x25519:${"ab".repeat(32)}`] })] });
    const connection = aLasting();
    const { challenge } = stage.sessions.challenge(connection);

    await expect(refusalOf(stage.sessions.verify(connection, await aLogin(challenge)))).resolves.toEqual(
      UNAUTHENTICATED,
    );
    stage.sessions.bind(connection, caller);
    await expect(stage.sessions.find(connection)).resolves.toBeUndefined();
  });
});

describe("A bound connection", () => {
  test("stands for its caller, and no other connection does", async () => {
    const stage = aStage();
    const [bound, other] = [aLasting(), aLasting()];
    stage.sessions.challenge(other);

    await logIn(stage, bound);

    await expect(stage.sessions.find(bound)).resolves.toMatchObject({ key: caller, principal: "alice" });
    await expect(stage.sessions.find(other)).resolves.toBeUndefined();
    await expect(stage.sessions.find(aLasting())).resolves.toBeUndefined();
    await expect(stage.sessions.find(aConnection())).resolves.toBeUndefined();
  });

  test("is bound anew by another login, for the whole time again", async () => {
    const stage = aStage();
    const connection = aLasting();
    await logIn(stage, connection);
    stage.nowMs += 20_000;

    await logIn(stage, connection, aSigner("approver"));
    stage.nowMs += LIFETIME_MS - 1;

    await expect(stage.sessions.find(connection)).resolves.toMatchObject({ key: approver, principal: "carol" });
  });

  test("stays bound by its old login when a new one is refused", async () => {
    const stage = aStage();
    const connection = aLasting();
    await logIn(stage, connection);

    stage.sessions.challenge(connection);
    await expect(outcomeOf(stage.sessions.verify(connection, {}))).resolves.toBe("unauthenticated");

    await expect(stage.sessions.find(connection)).resolves.toMatchObject({ key: caller });
  });

  test.each<readonly [string, (stage: Stage) => void, (stage: Stage) => void]>([
    ["15 minutes are over", (stage) => (stage.nowMs += LIFETIME_MS), (stage) => (stage.nowMs -= LIFETIME_MS)],
    [
      "15 minutes are over, though the clock was set back",
      (stage) => {
        stage.nowMs += LIFETIME_MS;
        stage.setBackMs += LIFETIME_MS;
      },
      (stage) => (stage.nowMs -= LIFETIME_MS),
    ],
    [
      "the key is taken out of the keyring",
      (stage) => void stage.keyring.replace([]),
      (stage) => void stage.keyring.replace([anEnrolledKey()]),
    ],
    [
      "the key is marked as revoked",
      (stage) => void stage.keyring.replace([anEnrolledKey({ revokedAtMs: 1 })]),
      (stage) => void stage.keyring.replace([anEnrolledKey()]),
    ],
    [
      "another supervisor revokes the key",
      (stage) => void stage.revoked.add(caller),
      (stage) => void stage.revoked.delete(caller),
    ],
  ])("is bound no more once %s, for good", async (_what, end, undo) => {
    const stage = aStage();
    const connection = aLasting();
    await logIn(stage, connection);

    end(stage);
    await expect(stage.sessions.find(connection)).resolves.toBeUndefined();
    undo(stage);

    await expect(stage.sessions.find(connection)).resolves.toBeUndefined();
  });

  test("is nobody's while it can not be asked whether the key is revoked", async () => {
    const stage = aStage();
    const connection = aLasting();
    await logIn(stage, connection, aSigner("approver"));

    stage.revoked.add("down");
    await expect(outcomeOf(stage.sessions.find(connection))).resolves.toBe("unavailable");
    stage.revoked.delete("down");

    await expect(stage.sessions.find(connection)).resolves.toMatchObject({ key: approver });
  });
});

test("the vectors' login is good", async () => {
  const vector = VECTORS.valid.find(({ name }) => name === "login");
  const keyring = new Keyring([anEnrolledKey()], () => START_MS);
  const authenticator = createAuthenticator({
    identity: supervisorA,
    keyring,
    verifier: createVerifier({ crypto: "noble", maxInFlight: 1 }),
    replay: { claimNonce: async () => ({ outcome: "fresh" }) },
  });
  const auth = { ...objectOf(vector?.body ?? ""), sig: vector?.sig };
  const peer = aLasting().peer;

  await expect(authenticator.verifyLogin({ auth, challenge: "f".repeat(64), peer })).resolves.toMatchObject({
    key: caller,
  });
});

function upperCased(auth: object): object {
  return "challenge" in auth ? { ...auth, challenge: String(auth.challenge).toUpperCase().replace(/^./u, "A") } : auth;
}
