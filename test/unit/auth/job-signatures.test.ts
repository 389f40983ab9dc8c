import { Compile } from "typebox/compile";
import { describe, expect, test } from "vitest";

import { createAuthenticator, type VerifiedJob } from "../../../src/auth/authenticate.ts";
import { canonicalText } from "../../../src/auth/canonical-json.ts";
import { type EnrolledKey, Keyring } from "../../../src/auth/keyring.ts";
import { createVerifier, type Verifier } from "../../../src/auth/native-verifier.ts";
import { createSigner } from "../../../src/auth/signature.ts";
import { ERRORS } from "../../../src/errors.ts";
import { JobDocument } from "../../../src/rpc/schema.ts";
import type { Peer } from "../../../src/rpc/transport.ts";
import {
  aSignedJob,
  aSigner,
  anEnrolledKey,
  outcomeOf,
  refusalOf,
  seededRandom,
  VECTORS,
} from "../../support/signing.ts";
import { isSoak } from "../../support/soak.ts";

const { caller, approver, supervisorA, supervisorB } = VECTORS.keys;
const NODE = `x25519:${"ab".repeat(32)}`;
const http: Peer = { transport: "http", address: "127.0.0.1" };
const alice = anEnrolledKey();
const boss = anEnrolledKey({ name: "boss", principal: "boss", key: approver, roles: [] });

interface Incoming {
  readonly job: JobDocument;
  readonly signatures: unknown;
  readonly peer?: Peer;
}

function aVerification({
  keys = [alice, boss],
  during,
}: { readonly keys?: readonly EnrolledKey[]; readonly during?: (keyring: Keyring) => void } = {}): (
  incoming: Incoming,
) => Promise<VerifiedJob> {
  const keyring = new Keyring(keys, () => 0);
  const native = createVerifier({ crypto: "native", maxInFlight: 100 });
  const verify: Verifier["verify"] = async (key, signature, input) => {
    const answer = await native.verify(key, signature, input);
    during?.(keyring);
    return answer;
  };
  const authenticator = createAuthenticator({
    identity: supervisorA,
    keyring,
    verifier: { verify, assertRoom: () => undefined },
    replay: { claimNonce: async () => Promise.reject(new Error("A job needs no nonce.")) },
  });
  return async ({ job, signatures, peer = http }) => authenticator.verifyJobSignatures({ job, signatures, peer });
}

const UNAUTHENTICATED = {
  name: "unauthenticated",
  message: "Unauthenticated",
  data: ERRORS.unauthenticated.data,
};

describe("verifyJobSignatures", () => {
  test("gives text, digest, caller and signers of a good job, as the vectors have them", async () => {
    const vector = VECTORS.valid.find(({ name }) => name === "job");
    const { job, signatures } = await aSignedJob();

    await expect(aVerification()({ job, signatures })).resolves.toEqual({
      text: vector?.body,
      digest: vector?.digest,
      caller: {
        key: caller,
        name: "alice-laptop",
        principal: "alice",
        roles: ["submitter"],
        runners: ["build", "gpu-*"],
      },
      signers: [caller],
      principals: ["alice"],
      signatures: [{ public_key: caller, signature: vector?.sig }],
    });
  });

  test("takes co-signers, whatever their place and role; the caller stays the caller", async () => {
    const incoming = await aSignedJob({}, [aSigner("approver"), aSigner()]);

    await expect(aVerification()(incoming)).resolves.toMatchObject({
      caller: { principal: "alice" },
      signers: [approver, caller],
      principals: ["boss", "alice"],
    });
  });

  test("names a principal once, however many of its keys signed", async () => {
    const verify = aVerification({ keys: [alice, { ...boss, principal: "alice" }] });

    await expect(verify(await aSignedJob({}, [aSigner(), aSigner("approver")]))).resolves.toMatchObject({
      signers: [caller, approver],
      principals: ["alice"],
    });
  });

  test("takes 16 signatures and refuses the 17th", async () => {
    const signers = Array.from({ length: 17 }, (_, index) => createSigner((index + 64).toString(16).repeat(32)));
    const keys = signers.map(({ publicKey }, index) => anEnrolledKey({ name: `k${index}`, key: publicKey }));
    const verify = aVerification({ keys });
    const wanted = { caller_id: signers[0]?.publicKey ?? "" };

    await expect(verify(await aSignedJob(wanted, signers.slice(0, 16)))).resolves.toMatchObject({
      signers: signers.slice(0, 16).map(({ publicKey }) => publicKey),
    });
    expect(await refusalOf(verify(await aSignedJob(wanted, signers)))).toEqual(UNAUTHENTICATED);
  });

  const good = aSignedJob({}, [aSigner(), aSigner("approver")]);

  test.each<readonly [string, (signatures: readonly Record<string, unknown>[]) => unknown]>([
    ["absent", () => undefined],
    ["null", () => null],
    ["an empty list", () => []],
    ["one entry outside a list", ([first]) => first],
    ["text in the list", ([first]) => [first, "x"]],
    ["null in the list", ([first]) => [first, null]],
    ["a list in the list", ([first, second]) => [first, [second]]],
    ["a member more", ([first]) => [{ ...first, alg: "none" }]],
    ["a member less", ([first]) => [{ public_key: first?.["public_key"] }]],
    ["a malformed key", ([first]) => [{ ...first, public_key: NODE }]],
    ["a malformed signature", ([first]) => [{ ...first, signature: "00" }]],
    ["the same key twice", ([first]) => [first, first]],
    ["all but the caller's", ([, second]) => [second]],
    ["one good and one bad", ([first, second]) => [first, { ...second, signature: first?.["signature"] }]],
    ["one bad and one good", ([first, second]) => [{ ...first, signature: second?.["signature"] }, second]],
    ["one good and one by a stranger", ([first, second]) => [first, { ...second, public_key: supervisorB }]],
  ])("answers signatures that are %s with the one message", async (_title, change) => {
    const { job, signatures } = await good;

    expect(await refusalOf(aVerification()({ job, signatures: change(signatures) }))).toEqual(UNAUTHENTICATED);
  });

  test.each([
    ["the caller is unknown", [boss]],
    ["a co-signer is unknown", [alice]],
    ["the caller is revoked", [{ ...alice, revokedAtMs: 1 }, boss]],
    ["a co-signer is revoked", [alice, { ...boss, revokedAtMs: 1 }]],
  ])("refuses when %s", async (_title, keys) => {
    expect(await refusalOf(aVerification({ keys })(await good))).toEqual(UNAUTHENTICATED);
  });

  test("names its own identity to a job for another supervisor, enrolled keys or not", async () => {
    const incoming = await aSignedJob({ aud: supervisorB });
    for (const keys of [[alice], []]) {
      expect(await refusalOf(aVerification({ keys })(incoming))).toMatchObject({
        name: "wrongAudience",
        data: { identity: supervisorA },
      });
    }
  });

  test("refuses a job by a caller_id that signed another one", async () => {
    const { job } = await good;
    const { signatures } = await aSignedJob({ payload: "something else" });

    expect(await refusalOf(aVerification()({ job, signatures }))).toEqual(UNAUTHENTICATED);
  });

  test.each([
    [{ payload: "\ud800" }, "params.job.payload"],
    [{ env_vars: { constructor: "x" } }, "params.job.env_vars.constructor"],
    [{ timeout: 0.5 }, "params.job.timeout"],
  ])("names the member of %j that can not be signed", async (wanted, path) => {
    const { job, signatures } = await good;

    expect(await refusalOf(aVerification()({ job: { ...job, ...wanted }, signatures }))).toMatchObject({
      name: "invalidParams",
      data: { path },
    });
  });

  test("lets any relay carry a job, unless the caller's key is bound to overlay nodes", async () => {
    const incoming = await good;
    const overlay: Peer = { transport: "mycelium", node: NODE };
    const bound = aVerification({ keys: [{ ...alice, overlay: [NODE] }, boss] });
    const coSignerBound = aVerification({ keys: [alice, { ...boss, overlay: [NODE] }] });

    expect(await refusalOf(bound(incoming))).toEqual(UNAUTHENTICATED);
    await expect(bound({ ...incoming, peer: overlay })).resolves.toBeDefined();
    await expect(coSignerBound(incoming)).resolves.toBeDefined();
  });

  test("reads all signers' rights again after the signatures were checked", async () => {
    for (const left of [[alice], [boss]]) {
      const verify = aVerification({ during: (keyring) => keyring.replace(left) });
      expect(await refusalOf(verify(await good))).toEqual(UNAUTHENTICATED);
    }
    const moved = aVerification({ during: (keyring) => keyring.replace([{ ...alice, runners: [] }, boss]) });
    await expect(moved(await good)).resolves.toMatchObject({ caller: { runners: [] } });
  });
});

describe("mutations of a signed job", () => {
  const MUTATIONS = isSoak ? 20_000 : 2000;
  const isJob = Compile(JobDocument);

  test(`none of ${MUTATIONS} is accepted unless it says the same`, { timeout: 60_000 }, async () => {
    const verify = aVerification();
    const original = await aSignedJob({}, [aSigner(), aSigner("approver")]);
    const said = canonicalText(original);
    const text = JSON.stringify(original);
    const random = seededRandom(32_008);
    const accepted: string[] = [];
    let asked = 0;
    for (let count = 0; count < MUTATIONS; count += 1) {
      // One letter becomes another that JSON is likely to survive.
      const at = Math.floor(random() * text.length);
      const letters = '0123456789abcdefé \\"n';
      const mutated = text.slice(0, at) + (letters[Math.floor(random() * letters.length)] ?? "") + text.slice(at + 1);
      let parsed: unknown;
      try {
        parsed = JSON.parse(mutated);
      } catch {
        // Refused by the parser, as it will be in the dispatcher.
        continue;
      }
      if (typeof parsed !== "object" || parsed === null) continue;
      const { job, signatures }: { job?: unknown; signatures?: unknown } = parsed;
      if (!isJob.Check(job)) continue;
      asked += 1;
      if ((await outcomeOf(verify({ job, signatures }))) !== undefined) continue;
      const same = canonicalText({ job, signatures });
      if (!same.ok || !said.ok || same.text !== said.text) accepted.push(mutated);
    }

    expect(accepted).toEqual([]);
    expect(asked).toBeGreaterThan(MUTATIONS / 10);
  });
});
