import { hashes, Point } from "@noble/ed25519";
import { describe, expect, test } from "vitest";

import {
  createSigner,
  digestOf,
  generateSeed,
  isCheckedKey,
  isCheckedSignature,
  isPublicKey,
  isSignature,
  type Kind,
  signDocument,
  signingInput,
  verifySignature,
} from "../../../src/auth/signature.ts";
import { forge, nonCanonicalEncodings, scalarHex, smallOrderEncodings, TORSION } from "../../support/corner-cases.ts";
import { aSigner, objectOf, SEEDS, VECTORS } from "../../support/signing.ts";

const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, "hex"));
const hex = (value: Uint8Array): string => Buffer.from(value).toString("hex");

/** `application/vnd.horus.<kind>.v1+json` */
function kindOf(type: string): Kind {
  const kind = (["job", "call", "login", "runner", "ticket", "receipt"] as const).find((name) =>
    type.endsWith(`.${name}.v1+json`),
  );
  if (kind === undefined) throw new Error(`No kind in ${type}`);
  return kind;
}

describe("the vectors", () => {
  test.each(VECTORS.valid)("$name: input, digest, signature and verification agree", async (vector) => {
    const kind = kindOf(vector.type);
    const input = signingInput(kind, vector.body);
    const signer = createSigner(SEEDS[vector.signer]);

    expect(hex(input)).toBe(vector.pae_hex);
    expect(digestOf(input)).toBe(vector.digest);
    expect(signer.publicKey).toBe(vector.key);
    await expect(signDocument(signer, kind, objectOf(vector.body))).resolves.toEqual({
      text: vector.body,
      digest: vector.digest,
      signature: vector.sig,
    });
    expect(verifySignature(vector.key, vector.sig, input)).toBe(true);
  });

  const signatures = VECTORS.invalid.flatMap(({ name, why, key, pae_hex, sig }) =>
    key === undefined || pae_hex === undefined || sig === undefined ? [] : [{ name, why, key, pae_hex, sig }],
  );

  test.each(signatures)("$name is refused: $why", ({ key, pae_hex, sig }) => {
    expect(verifySignature(key, sig, bytes(pae_hex))).toBe(false);
  });

  test("hold both kinds of cases", () => {
    expect(VECTORS.valid.length).toBeGreaterThanOrEqual(8);
    expect(signatures.length).toBeGreaterThanOrEqual(12);
  });

  test.each(Object.entries(VECTORS.keys))("%s is a checked key", (_name, key) => {
    expect(isCheckedKey(key)).toBe(true);
  });
});

// RFC 8032 §7.1, TEST 1 to 3.
const RFC_8032 = [
  {
    seed: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    key: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    message: "",
    signature:
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  },
  {
    seed: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    key: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    message: "72",
    signature:
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
  },
  {
    seed: "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    key: "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    message: "af82",
    signature:
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
  },
];

describe("RFC 8032", () => {
  test.each(RFC_8032)("signs and verifies the message 0x$message as in section 7.1", async (vector) => {
    const signer = createSigner(vector.seed);
    const message = bytes(vector.message);

    expect(signer.publicKey).toBe(`ed25519:${vector.key}`);
    await expect(signer.sign(message)).resolves.toBe(vector.signature);
    expect(verifySignature(signer.publicKey, vector.signature, message)).toBe(true);
  });
});

describe("signingInput", () => {
  test("counts bytes, not letters", () => {
    expect(Buffer.from(signingInput("job", '{"a":"é"}')).toString()).toBe(
      'DSSEv1 33 application/vnd.horus.job.v1+json 10 {"a":"é"}',
    );
  });

  test("gives each kind its own bytes for one text", () => {
    const kinds: readonly Kind[] = ["job", "call", "login", "runner", "ticket", "receipt"];
    expect(new Set(kinds.map((kind) => hex(signingInput(kind, "{}")))).size).toBe(kinds.length);
  });
});

describe("spelling", () => {
  const key = VECTORS.keys.caller;

  test.each([
    key.replace("d04a", "D04A"),
    key.replace("ed25519:", "x25519:"),
    key.replace("ed25519:", ""),
    key.slice(0, -1),
    `${key}0`,
    `${key}\n`,
    ` ${key}`,
    key.replace(/.$/u, "g"),
    undefined,
    null,
    7,
    true,
  ])("%j is no public key", (text) => {
    expect(isPublicKey(text)).toBe(false);
    expect(isCheckedKey(String(text))).toBe(false);
  });

  test.each(["", "0".repeat(127), "0".repeat(129), "A".repeat(128), `${"0".repeat(128)}\n`, 0, null])(
    "%j is no signature",
    (text) => {
      expect(isSignature(text)).toBe(false);
      expect(isCheckedSignature(String(text))).toBe(false);
      expect(verifySignature(key, String(text), bytes(""))).toBe(false);
    },
  );

  test("knows a key and a signature when it sees them", () => {
    expect([isPublicKey(key), isSignature("0f".repeat(64))]).toEqual([true, true]);
  });
});

describe("the verification rule", () => {
  const key = VECTORS.keys.caller;
  const input = bytes("00");
  const order = Point.CURVE().n;

  test("knows exactly 14 small-order encodings", () => {
    expect(smallOrderEncodings()).toHaveLength(14);
  });

  test.each(smallOrderEncodings())("refuses R = %s, and it is no key", (encoding) => {
    expect(isCheckedSignature(encoding + "00".repeat(32))).toBe(false);
    expect(isCheckedKey(`ed25519:${encoding}`)).toBe(false);
  });

  test("takes S below the group order and refuses the order and all above", () => {
    const r = Point.BASE.toHex();
    expect(isCheckedSignature(r + scalarHex(0n))).toBe(true);
    expect(isCheckedSignature(r + scalarHex(order - 1n))).toBe(true);
    for (const scalar of [order, order + 1n, 2n ** 253n, 2n ** 256n - 1n]) {
      expect(isCheckedSignature(r + scalarHex(scalar))).toBe(false);
    }
  });

  test("refuses keys with a torsion part, off the curve, or not in canonical encoding", () => {
    const point = Point.fromHex(key.slice("ed25519:".length));
    const mixed = TORSION.slice(1).map((torsion) => point.add(torsion).toHex());
    // y = 2 is on no point.
    const refused = [...mixed, `02${"00".repeat(31)}`, ...nonCanonicalEncodings()];

    expect(refused.filter((encoding) => isCheckedKey(`ed25519:${encoding}`))).toEqual([]);
  });

  test("refuses an R with a torsion part, which the cofactored equation takes", () => {
    const honest = forge({ seed: SEEDS.caller, input });
    const mixed = forge({ seed: SEEDS.caller, input, torsionOfR: 3 });

    expect(verifySignature(key, honest.signature, input)).toBe(true);
    expect(isCheckedSignature(mixed.signature)).toBe(true);
    expect(verifySignature(key, mixed.signature, input)).toBe(false);
  });
});

describe("createSigner", () => {
  const bare = "00".repeat(32);

  test.each([`${bare}\n`, `ed25519-seed:${bare}`, `ed25519-seed:${bare}\n`, `ed25519-seed:${bare}\r\n`])(
    "takes %j as what it says, as it stands in a key file",
    (text) => {
      expect(createSigner(text).publicKey).toBe(createSigner(bare).publicKey);
    },
  );

  test.each(["", "00".repeat(31), `${bare}00`, "ZZ".repeat(32), `${bare}\n${bare}`, `ed25519:${bare}`, ` ${bare}`])(
    "refuses the seed %j without repeating it",
    (seed) => {
      expect(() => createSigner(seed)).toThrow(RangeError);
      expect(() => createSigner(seed)).toThrow(
        /^A seed is 64 lower-case hex digits, alone or behind ed25519-seed: as in a key file\. Make one with `supervisor keygen`\.$/,
      );
    },
  );

  test("leaves a hash alone that a program has given noble", async () => {
    const theirs = hashes.sha512;
    aSigner();
    const ours = hashes.sha512;
    expect(ours).toBeDefined();
    expect(theirs === undefined || theirs === ours).toBe(true);
  });

  test("works with a fresh seed", async () => {
    const seed = generateSeed();
    const signer = createSigner(seed);
    const signature = await signer.sign(bytes("01"));

    expect(seed).toMatch(/^[0-9a-f]{64}$/);
    expect(seed).not.toBe(generateSeed());
    expect(verifySignature(signer.publicKey, signature, bytes("01"))).toBe(true);
  });
});

describe("signDocument", () => {
  test.each([
    [{ a: null }, /The job can not be signed: a: null/],
    [{ env_vars: { constructor: "1" } }, /env_vars\.constructor/],
    [{ a: 0.5 }, /a: only integers/],
  ])("refuses %j, naming the member", async (body, message) => {
    await expect(signDocument(aSigner(), "job", body)).rejects.toThrow(TypeError);
    await expect(signDocument(aSigner(), "job", body)).rejects.toThrow(message);
  });
});
