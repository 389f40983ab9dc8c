import { describe, expect, test } from "vitest";

import { type Authenticator, createAuthenticator, type VerifiedCall } from "../../../src/auth/authenticate.ts";
import { canonicalText, isCanonicalText } from "../../../src/auth/canonical-json.ts";
import { Keyring } from "../../../src/auth/keyring.ts";
import { createVerifier, type Verifier } from "../../../src/auth/native-verifier.ts";
import { signingInput, verifySignature } from "../../../src/auth/signature.ts";
import { ERRORS, SupervisorError } from "../../../src/errors.ts";
import type { Peer } from "../../../src/rpc/transport.ts";
import type { NonceOutcome, ReplayStore } from "../../../src/store/store.ts";
import {
  aSignedCall,
  aSignedJob,
  aSigner,
  anEnrolledKey,
  type CallWishes,
  objectOf,
  outcomeOf,
  refusalOf,
  seededRandom,
  VECTORS,
} from "../../support/signing.ts";
import { isSoak } from "../../support/soak.ts";

const { caller, supervisorA, supervisorB, approver } = VECTORS.keys;
const NODE = `x25519:${"ab".repeat(32)}`;
const http: Peer = { transport: "http", address: "127.0.0.1" };
const NOW_MS = 1_790_000_031_000;

interface Stage {
  readonly authenticator: Authenticator;
  readonly keyring: Keyring;
  readonly claims: Parameters<ReplayStore["claimNonce"]>[0][];
  /** How many signatures were looked at. */
  readonly verified: () => number;
}

function aStage({
  keys = [anEnrolledKey()],
  nonce = { outcome: "fresh" },
  during,
}: {
  readonly keys?: Parameters<Keyring["replace"]>[0];
  readonly nonce?: NonceOutcome;
  /** Happens while a signature is being verified. */
  readonly during?: (keyring: Keyring) => void;
} = {}): Stage {
  const keyring = new Keyring(keys, () => NOW_MS);
  const native = createVerifier({ crypto: "native", maxInFlight: 100 });
  const claims: Parameters<ReplayStore["claimNonce"]>[0][] = [];
  let verified = 0;
  const verify: Verifier["verify"] = async (key, signature, input) => {
    verified += 1;
    const answer = await native.verify(key, signature, input);
    during?.(keyring);
    return answer;
  };
  const replay: ReplayStore = {
    claimNonce: async (claim) => {
      claims.push(claim);
      return nonce;
    },
  };
  const authenticator = createAuthenticator({
    identity: supervisorA,
    keyring,
    verifier: { verify, assertRoom: () => undefined },
    replay,
    now: () => NOW_MS,
  });
  return { authenticator, keyring, claims, verified: () => verified };
}

async function send(stage: Stage, wishes: CallWishes = {}, peer: Peer = http): Promise<VerifiedCall> {
  return stage.authenticator.authenticateCall({ ...(await aSignedCall(wishes)), peer });
}

test("under load enrolled and unknown keys are refused alike, before the keyring is asked", async () => {
  const asked: string[] = [];
  const authenticator = createAuthenticator({
    identity: supervisorA,
    keyring: {
      find: (key) => {
        asked.push(key);
        return undefined;
      },
    },
    verifier: createVerifier({ crypto: "native", maxInFlight: 0 }),
    replay: { claimNonce: async () => ({ outcome: "fresh" }) },
  });

  await expect(
    refusalOf(authenticator.authenticateCall({ ...(await aSignedCall()), peer: http })),
  ).resolves.toMatchObject({ name: "tooMany", data: { retry_after_ms: 250 } });
  await expect(
    refusalOf(authenticator.verifyJobSignatures({ ...(await aSignedJob()), peer: http })),
  ).resolves.toMatchObject({ name: "tooMany" });
  expect(asked).toEqual([]);
});

const UNAUTHENTICATED = {
  name: "unauthenticated",
  message: "Unauthenticated",
  data: ERRORS.unauthenticated.data,
};

describe("authenticateCall", () => {
  test("gives the caller of a good call and claims its nonce", async () => {
    const stage = aStage();
    const { caller: found } = await send(stage);

    expect(found).toEqual({
      key: caller,
      name: "alice-laptop",
      principal: "alice",
      roles: ["submitter"],
      runners: ["build", "gpu-*"],
    });
    expect(stage.claims).toEqual([
      { key: caller, nonce: "00112233445566778899aabbccddeeff", iat: 1_790_000_030, exp: 1_790_000_150 },
    ]);
  });

  test("accepts the vectors' call", async () => {
    const vector = VECTORS.valid.find(({ name }) => name === "call_get_job");
    const { method, params, ...auth } = objectOf(vector?.body ?? "");
    const call = {
      method: String(method),
      params: objectOf(JSON.stringify(params)),
      auth: { ...auth, sig: vector?.sig },
      peer: http,
    };

    await expect(aStage().authenticator.authenticateCall(call)).resolves.toMatchObject({ caller: { key: caller } });
  });

  test("keeps all that an offline check of the call needs", async () => {
    const { signedText } = await send(aStage());
    const { sig, ...body } = objectOf(signedText);
    const canonical = canonicalText(body);

    expect(isCanonicalText(signedText)).toBe(true);
    expect(canonical.ok && verifySignature(caller, String(sig), signingInput("call", canonical.text))).toBe(true);
  });

  test("does not mind how the parameters were spaced, ordered and escaped", async () => {
    const { auth, method } = await aSignedCall({ params: { a: 60, b: "é" } });
    const params = objectOf('{ "b": "\\u00e9", "a": 6e1 }');

    await expect(aStage().authenticator.authenticateCall({ method, params, auth, peer: http })).resolves.toMatchObject({
      caller: { key: caller },
    });
  });

  const good = aSignedCall();

  test.each<readonly [string, (auth: Record<string, unknown>) => unknown]>([
    ["absent", () => undefined],
    ["null", () => null],
    ["empty", () => ({})],
    ["a list", (auth) => [auth]],
    ["text", (auth) => JSON.stringify(auth)],
    ["v 2", (auth) => ({ ...auth, v: 2 })],
    ["v as text", (auth) => ({ ...auth, v: "1" })],
    ["no nonce", ({ nonce: _nonce, ...auth }) => auth],
    ["one member more", (auth) => ({ ...auth, alg: "none" })],
    ["another member instead", ({ v: _v, ...auth }) => ({ ...auth, version: 1 })],
    ["an upper-case key", (auth) => ({ ...auth, key: caller.toUpperCase() })],
    ["a node's key", (auth) => ({ ...auth, key: NODE })],
    ["a malformed audience", (auth) => ({ ...auth, aud: "supervisor" })],
    ["a short nonce", (auth) => ({ ...auth, nonce: "00" })],
    ["a nonce as number", (auth) => ({ ...auth, nonce: 7 })],
    ["a short signature", (auth) => ({ ...auth, sig: String(auth["sig"]).slice(2) })],
    ["a fraction as iat", (auth) => ({ ...auth, iat: 0.5 })],
    ["a negative iat", (auth) => ({ ...auth, iat: -1 })],
    ["-0 as iat", (auth) => ({ ...auth, iat: -0 })],
    ["text as exp", (auth) => ({ ...auth, exp: "1790000150" })],
    ["an empty signature", (auth) => ({ ...auth, sig: "0".repeat(128) })],
  ])("answers auth that is %s with the one message, and claims no nonce", async (_title, change) => {
    const stage = aStage();
    const { auth, ...call } = await good;
    const work = stage.authenticator.authenticateCall({ ...call, auth: change({ ...auth }), peer: http });

    expect(await refusalOf(work)).toEqual(UNAUTHENTICATED);
    expect(stage.claims).toEqual([]);
  });

  test.each<readonly [string, Partial<Parameters<Authenticator["authenticateCall"]>[0]>]>([
    ["another method", { method: "delete_job" }],
    ["other parameters", { params: { id: "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5c" } }],
    ["a parameter more", { params: { id: "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b", all: true } }],
    ["no parameters", { params: {} }],
  ])("refuses a call that was signed for %s", async (_title, change) => {
    const stage = aStage();

    expect(await refusalOf(stage.authenticator.authenticateCall({ ...(await good), peer: http, ...change }))).toEqual(
      UNAUTHENTICATED,
    );
    expect(stage.claims).toEqual([]);
  });

  test.each([
    ["unknown", []],
    ["revoked", [anEnrolledKey({ revokedAtMs: 1 })]],
    ["past its not_after", [anEnrolledKey({ notAfterMs: NOW_MS - 1 })]],
  ])("answers a key that is %s as it answers a wrong signature, without checking any", async (_title, keys) => {
    const stage = aStage({ keys });

    expect(await refusalOf(send(stage))).toEqual(UNAUTHENTICATED);
    expect(stage.verified()).toBe(0);
  });

  test("refuses another enrolled key's signature", async () => {
    const stage = aStage({ keys: [anEnrolledKey(), anEnrolledKey({ name: "bob", key: approver })] });
    const { auth, ...call } = await aSignedCall({ auth: { key: approver } });

    expect(await refusalOf(stage.authenticator.authenticateCall({ ...call, auth, peer: http }))).toEqual(
      UNAUTHENTICATED,
    );
  });

  test("names its own identity to a call for another supervisor, enrolled key or not", async () => {
    for (const keys of [[anEnrolledKey()], []]) {
      expect(await refusalOf(send(aStage({ keys }), { auth: { aud: supervisorB } }))).toMatchObject({
        name: "wrongAudience",
        data: { identity: supervisorA },
      });
    }
  });

  test.each([
    ["a second too long", { iat: 1_790_000_000, exp: 1_790_000_601 }],
    ["over before it began", { iat: 1_790_000_030, exp: 1_790_000_029 }],
  ])("refuses a validity that is %s, and tells the time", async (_title, auth) => {
    expect(await refusalOf(send(aStage(), { auth }))).toMatchObject({ name: "stale", data: { now: 1_790_000_031 } });
  });

  test.each([
    ["as long as allowed", { iat: 1_790_000_000, exp: 1_790_000_600 }],
    ["a single moment", { iat: 1_790_000_030, exp: 1_790_000_030 }],
  ])("takes a validity that is %s", async (_title, auth) => {
    await expect(send(aStage(), { auth })).resolves.toBeDefined();
  });

  test("tells a stranger no more of an enrolled key than of another one", async () => {
    const wishes: readonly CallWishes[] = [
      { auth: { iat: 0, exp: 601 } },
      { auth: { aud: supervisorB } },
      { params: { a: null } },
      {},
    ];
    const { auth } = await aSignedCall();
    for (const wish of wishes) {
      const call = { method: "get_job", params: wish.params ?? {}, auth: { ...auth, ...wish.auth }, peer: http };
      const ofEnrolled = await refusalOf(aStage().authenticator.authenticateCall(call));
      const ofUnknown = await refusalOf(aStage({ keys: [] }).authenticator.authenticateCall(call));
      expect(ofUnknown).toEqual(ofEnrolled);
    }
  });

  test("names the parameter that can not have been signed", async () => {
    const { auth } = await good;
    const work = aStage().authenticator.authenticateCall({
      method: "list_jobs",
      params: { filter: { limit: 1.5 } },
      auth,
      peer: http,
    });

    expect(await refusalOf(work)).toMatchObject({ name: "invalidParams", data: { path: "params.filter.limit" } });
  });

  test("takes a key that is bound to overlay nodes from one of them", async () => {
    const stage = aStage({ keys: [anEnrolledKey({ overlay: [NODE] })] });

    await expect(send(stage, {}, { transport: "mycelium", node: NODE, address: "400::1" })).resolves.toBeDefined();
  });

  test.each<readonly [string, Peer]>([
    ["another node", { transport: "mycelium", node: `x25519:${"cd".repeat(32)}` }],
    ["an unnamed node", { transport: "mycelium" }],
    ["HTTP", http],
    ["HTTP that claims a node", { transport: "http", node: NODE }],
  ])("refuses a key that is bound to overlay nodes from %s", async (_title, peer) => {
    const stage = aStage({ keys: [anEnrolledKey({ overlay: [NODE] })] });

    expect(await refusalOf(send(stage, {}, peer))).toEqual(UNAUTHENTICATED);
  });

  test("reads the key's rights again after the signature was checked", async () => {
    const revoked = aStage({ during: (keyring) => keyring.replace([]) });
    expect(await refusalOf(send(revoked))).toEqual(UNAUTHENTICATED);
    expect(revoked.claims).toEqual([]);

    const changed = aStage({ during: (keyring) => keyring.replace([anEnrolledKey({ roles: ["observer"] })]) });
    await expect(send(changed)).resolves.toMatchObject({ caller: { roles: ["observer"] } });
  });

  test.each<readonly [NonceOutcome, object]>([
    [{ outcome: "replay" }, { name: "replay", data: undefined }],
    [
      { outcome: "stale", now: 1_790_009_999 },
      { name: "stale", data: { now: 1_790_009_999 } },
    ],
    [{ outcome: "revoked" }, UNAUTHENTICATED],
  ])("says what the replay guard says: %j", async (nonce, refusal) => {
    expect(await refusalOf(send(aStage({ nonce })))).toMatchObject(refusal);
  });

  test("refuses when the replay guard is out of reach", async () => {
    const { authenticator } = aStage();
    const down = createAuthenticator({
      identity: supervisorA,
      keyring: new Keyring([anEnrolledKey()], () => NOW_MS),
      verifier: createVerifier({ crypto: "noble", maxInFlight: 1 }),
      replay: {
        claimNonce: async () => {
          throw new SupervisorError("unavailable", { data: { applied: "no" } });
        },
      },
    });

    await expect(authenticator.authenticateCall({ ...(await good), peer: http })).resolves.toBeDefined();
    expect(await refusalOf(down.authenticateCall({ ...(await good), peer: http }))).toMatchObject({
      name: "unavailable",
    });
  });

  test("tells the system's time where no clock is given", async () => {
    const authenticator = createAuthenticator({
      identity: supervisorA,
      keyring: new Keyring([anEnrolledKey()], () => NOW_MS),
      verifier: createVerifier({ crypto: "noble", maxInFlight: 1 }),
      replay: { claimNonce: async () => ({ outcome: "fresh" }) },
    });
    const before = Math.floor(Date.now() / 1000);
    const call = await aSignedCall({ auth: { iat: 0, exp: 601 } });
    const { data } = await refusalOf(authenticator.authenticateCall({ ...call, peer: http }));

    expect(data).toMatchObject({ max_validity_seconds: 600 });
    expect(Number(objectOf(JSON.stringify(data))["now"])).toBeGreaterThanOrEqual(before);
  });
});

/** A call as JSON text with one thing changed: a byte flipped, dropped, doubled or swapped with its neighbour. */
function mutate(text: string, random: () => number): string {
  const bytes = Buffer.from(text);
  const at = Math.floor(random() * (bytes.length - 1));
  const [before, byte, next, after] = [
    bytes.subarray(0, at),
    bytes[at] ?? 0,
    bytes[at + 1] ?? 0,
    bytes.subarray(at + 2),
  ];
  const changes = [
    [before, Buffer.of(byte ^ (1 << Math.floor(random() * 8)), next), after],
    [before, Buffer.of(next), after],
    [before, Buffer.of(byte, byte, next), after],
    [before, Buffer.of(next, byte), after],
    [before, Buffer.of(Math.floor(random() * 256), next), after],
  ];
  return Buffer.concat(changes[Math.floor(random() * changes.length)] ?? []).toString();
}

describe("mutations of a signed call", () => {
  const MUTATIONS = isSoak ? 20_000 : 2000;

  test(`none of ${MUTATIONS} is accepted unless it says the same`, { timeout: 60_000 }, async () => {
    const stage = aStage();
    const original = await aSignedCall({
      params: { id: "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b", state: "é", limit: 60 },
    });
    const said = canonicalText(original);
    const text = JSON.stringify(original);
    const random = seededRandom(20_260_824);
    const accepted: string[] = [];
    let parsed = 0;
    for (let count = 0; count < MUTATIONS; count += 1) {
      const mutated = mutate(text, random);
      let value: unknown;
      try {
        value = JSON.parse(mutated);
      } catch {
        // Refused by the parser, as it will be in the dispatcher.
        continue;
      }
      parsed += 1;
      if (typeof value !== "object" || value === null) continue;
      const { method, params, auth }: { method?: unknown; params?: unknown; auth?: unknown } = value;
      if (typeof method !== "string" || typeof params !== "object" || params === null) continue;
      const call = { method, params, auth };
      if ((await outcomeOf(stage.authenticator.authenticateCall({ ...call, peer: http }))) !== undefined) continue;
      const same = canonicalText(call);
      if (!same.ok || !said.ok || same.text !== said.text) accepted.push(mutated);
    }

    expect(accepted).toEqual([]);
    expect(parsed).toBeGreaterThan(MUTATIONS / 10);
  });

  test("a signer that is not enrolled changes nothing by signing all of it", async () => {
    expect(await refusalOf(send(aStage(), { signer: aSigner("supervisorB") }))).toEqual(UNAUTHENTICATED);
  });
});
