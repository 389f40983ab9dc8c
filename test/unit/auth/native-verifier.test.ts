import { describe, expect, test } from "vitest";

import {
  createNativeSigner,
  createVerifier,
  nativeDigest,
  selfTest,
  type Verifier,
} from "../../../src/auth/native-verifier.ts";
import { createSigner, digestOf, isCheckedSignature, verifySignature } from "../../../src/auth/signature.ts";
import { cornerCases } from "../../support/corner-cases.ts";
import { SEEDS, VECTORS } from "../../support/signing.ts";
import { isSoak } from "../../support/soak.ts";

const native = (maxInFlight = 1000): Verifier => createVerifier({ crypto: "native", maxInFlight });
const noble = (): Verifier => createVerifier({ crypto: "noble", maxInFlight: 1 });

/** `SOAK=1` tries as many as the rule was found with, and more. */
const CASES = isSoak ? 5200 : 520;

describe("native and noble", () => {
  test(`agree with the rule on ${CASES} corner cases`, { timeout: 120_000 }, async () => {
    const verifier = native();
    const wrong: string[] = [];
    for (const { title, key, signature, input, isValid } of cornerCases(8032, CASES)) {
      const fast = await verifier.verify(key, signature, input);
      // The reference costs 3 ms: not asked where its own cheap gate has answered.
      const slow = isCheckedSignature(signature) && verifySignature(key, signature, input);
      if (fast !== isValid || slow !== isValid) wrong.push(`${title}: native ${fast}, noble ${slow}, rule ${isValid}`);
    }

    expect(wrong).toEqual([]);
  });
});

describe.each([
  ["native", native],
  ["noble", noble],
])("the %s verifier", (_name, create) => {
  test.each(VECTORS.valid)("accepts vector $name", async ({ key, sig, pae_hex }) => {
    await expect(create().verify(key, sig, Buffer.from(pae_hex, "hex"))).resolves.toBe(true);
  });

  test.each(VECTORS.invalid.filter(({ sig }) => sig !== undefined))("refuses vector $name", async (vector) => {
    const input = Buffer.from(vector.pae_hex ?? "", "hex");
    await expect(create().verify(vector.key ?? "", vector.sig ?? "", input)).resolves.toBe(false);
  });

  test("passes the self-test", async () => {
    await expect(selfTest(create())).resolves.toBeUndefined();
  });

  test("answers the same after a key was forgotten", async () => {
    const [vector] = VECTORS.valid;
    const verifier = create();
    const ask = async (): Promise<boolean> =>
      verifier.verify(vector?.key ?? "", vector?.sig ?? "", Buffer.from(vector?.pae_hex ?? "", "hex"));

    await expect(ask()).resolves.toBe(true);
    verifier.forget(vector?.key ?? "");
    await expect(ask()).resolves.toBe(true);
  });
});

describe("the native verifier", () => {
  const [vector] = VECTORS.valid;
  const key = vector?.key ?? "";
  const signature = vector?.sig ?? "";
  const input = Buffer.from(vector?.pae_hex ?? "", "hex");

  test("refuses what is beyond the number in flight, before any work, and takes calls again afterwards", async () => {
    const verifier = native(2);
    const taken = [verifier.verify(key, signature, input), verifier.verify(key, signature, input)];

    await expect(verifier.verify("anything", "at all", input)).rejects.toMatchObject({
      name: "tooMany",
      data: { limit: "max_verifications", allowed: 2, present: 2, retry_after_ms: 250 },
    });
    await expect(Promise.all(taken)).resolves.toEqual([true, true]);
    await expect(verifier.verify(key, signature, input)).resolves.toBe(true);
  });

  test("answers rightly beyond the number of keys it keeps", async () => {
    const verifier = native();
    await verifier.verify(key, signature, input);
    for (let stranger = 0; stranger < 10_001; stranger += 1) await verifier.verify(`k${stranger}`, signature, input);

    await expect(verifier.verify(key, signature, input)).resolves.toBe(true);
    await expect(verifier.verify("k1", signature, input)).resolves.toBe(false);
  });

  test("leaves the event loop free while it works", async () => {
    const order: string[] = [];
    const verified = native()
      .verify(key, signature, input)
      .then(() => order.push("verified"));
    queueMicrotask(() => order.push("other work"));
    await verified;

    expect(order).toEqual(["other work", "verified"]);
  });
});

describe("createNativeSigner", () => {
  test.each(Object.entries(SEEDS))("gives the key and the signatures that noble gives for %s", async (name, seed) => {
    const signer = createNativeSigner(seed);
    const reference = createSigner(seed);
    const message = Buffer.from(name);

    expect(signer.publicKey).toBe(reference.publicKey);
    await expect(signer.sign(message)).resolves.toBe(await reference.sign(message));
  });

  test("refuses a seed that is none, without repeating it", () => {
    expect(() => createNativeSigner("c0ffee")).toThrow(/^A seed is 64 lower-case hex digits/);
  });
});

test("nativeDigest gives the digest that noble gives", () => {
  for (const { pae_hex, digest } of VECTORS.valid) {
    const input = Buffer.from(pae_hex, "hex");
    expect(nativeDigest(input)).toBe(digest);
    expect(digestOf(input)).toBe(digest);
  }
});

describe("selfTest", () => {
  const honest = noble();
  const broken: readonly (readonly [string, Verifier["verify"]])[] = [
    ["refuses a valid signature", async () => false],
    [
      "accepts a changed message",
      async (publicKey, signature) => honest.verify(publicKey, signature, Buffer.from("horus self-test")),
    ],
    [
      "accepts a key of small order",
      async (publicKey, signature, input) =>
        publicKey.startsWith("ed25519:c717") || honest.verify(publicKey, signature, input),
    ],
    [
      "accepts R of small order",
      async (publicKey, signature, input) => signature.startsWith("0100") || honest.verify(publicKey, signature, input),
    ],
    [
      "accepts S beyond the group order",
      async (publicKey, signature, input) => signature.endsWith("e211") || honest.verify(publicKey, signature, input),
    ],
  ];

  test.each(broken)("finds a verifier that %s", async (title, verify) => {
    await expect(selfTest({ verify, assertRoom: () => undefined, forget: () => undefined })).rejects.toThrow(title);
  });
});
