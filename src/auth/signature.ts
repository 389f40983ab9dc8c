/** Ed25519 over DSSE signing inputs: the reference implementation with noble, which runs in browsers too. */
import { hashes, Point, getPublicKey, sign, utils } from "@noble/ed25519";
import { sha256, sha512 } from "@noble/hashes/sha2.js";
import { bytesToHex, concatBytes, hexToBytes } from "@noble/hashes/utils.js";

import { canonicalText } from "./canonical-json.ts";

/** What a signature is for. It is part of what is signed, so that no signature serves two purposes. */
export type Kind = "job" | "call" | "login" | "runner" | "ticket" | "receipt";

const PUBLIC_KEY = /^ed25519:[0-9a-f]{64}$/;
const SIGNATURE = /^[0-9a-f]{128}$/;
/** Bare, or as a key file has it. */
const SECRET = /^(?:ed25519-seed:)?([0-9a-f]{64})\r?\n?$/;
const PREFIX = "ed25519:";
/** The order of the base point (RFC 8032 §5.1, "L"). */
const ORDER = Point.CURVE().n;
const ORDER_HEX = ORDER.toString(16).padStart(64, "0");
const DIGIT_ZERO = 0x30;

/**
 * Every encoding, canonical or not, of a point of order 1, 2, 4 or 8, without the sign bit: y = 0, p, 1, p+1, p-1 and
 * the two y of order 8. Each with either sign bit makes the 14 that are refused as R.
 */
const SMALL_ORDER_Y = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
];
const SMALL_ORDER_R: ReadonlySet<string> = new Set(
  SMALL_ORDER_Y.flatMap((hex) => [hex, hex.slice(0, 62) + (Number.parseInt(hex.slice(62), 16) + 0x80).toString(16)]),
);

/** Signs inputs with one key; where the key lies (memory, agent, hardware) is its own business. */
export interface Signer {
  /** `ed25519:` + 64 hex. */
  readonly publicKey: string;
  /** The signature over exactly these bytes, 128 hex. */
  sign(input: Uint8Array): Promise<string>;
}

/** A document as it was signed. */
export interface SignedText {
  /** Canonical text of the body. */
  readonly text: string;
  /** SHA-256 of the signing input, 64 hex. */
  readonly digest: string;
  /** 128 hex. */
  readonly signature: string;
}

/**
 * The bytes a signature of this kind covers: DSSE v1 pre-authentication encoding of the canonical text
 * (spec: signing, "What is signed"). Lengths are of bytes, so no body can imitate another type.
 */
export function signingInput(kind: Kind, text: string): Uint8Array {
  const type = `application/vnd.horus.${kind}.v1+json`;
  const encoder = new TextEncoder();
  const head = `DSSEv1 ${type.length} ${type} `;
  // Most texts are ASCII, a byte a character: one encoding does; else it has counted the bytes.
  const guess = `${head}${text.length} ${text}`;
  const input = encoder.encode(guess);
  const extra = input.length - guess.length;
  return extra === 0 ? input : encoder.encode(`${head}${text.length + extra} ${text}`);
}

/** SHA-256 in hex: the digest of a document is that of its signing input. */
export function digestOf(input: Uint8Array): string {
  return bytesToHex(sha256(input));
}

/** Is this spelled as a public key? Says nothing about the point: {@link isCheckedKey} does. */
export function isPublicKey(text: unknown): text is string {
  return typeof text === "string" && PUBLIC_KEY.test(text);
}

/** Is this spelled as a signature? Strict before any decoding, since hex decoders truncate silently. */
export function isSignature(text: unknown): text is string {
  return typeof text === "string" && SIGNATURE.test(text);
}

/**
 * The key's half of the verification rule: spelled right, canonical encoding, on the curve, not of small order (anybody
 * can sign for such a key), torsion free (else one secret has eight public keys). Costs about a millisecond: run it
 * once, when a key is enrolled or first seen.
 */
export function isCheckedKey(publicKey: string): boolean {
  if (!isPublicKey(publicKey)) return false;
  const point = decodePoint(publicKey);
  return point !== undefined && !point.isSmallOrder() && point.isTorsionFree();
}

/**
 * The signature's half that needs no key: 64 bytes, R not one of the 14 small-order encodings (a key's owner could make
 * one signature fit many messages), S < L (else every signature has a second spelling; RFC 8032 §5.1.7).
 */
export function isCheckedSignature(signatureHex: string): boolean {
  if (!isSignature(signatureHex) || SMALL_ORDER_R.has(signatureHex.slice(0, 64))) return false;
  // L is a little over 2^252, so nearly every S shows by its highest digit alone that it is less.
  if (signatureHex.charCodeAt(126) === DIGIT_ZERO) return true;
  // Both big-endian and of one length, so that text order is number order.
  return reverseHex(signatureHex.slice(64)) < ORDER_HEX;
}

/**
 * The whole verification rule (spec: signing, "The verification rule"), and the reference for every faster way. The
 * equation is the cofactorless one, compared as bytes: noble's own `verify` multiplies by the cofactor and so accepts
 * an R with a torsion part, which OpenSSL refuses. Never throws; anything malformed is false.
 */
export function verifySignature(publicKey: string, signatureHex: string, input: Uint8Array): boolean {
  if (!isCheckedKey(publicKey) || !isCheckedSignature(signatureHex)) return false;
  const r = hexToBytes(signatureHex.slice(0, 64));
  const a = hexToBytes(publicKey.slice(PREFIX.length));
  const s = BigInt(`0x${reverseHex(signatureHex.slice(64))}`);
  const k = BigInt(`0x${reverseHex(bytesToHex(sha512(concatBytes(r, a, input))))}`) % ORDER;
  // R = [S]B - [k]A. Not constant time and need not be: nothing here is secret.
  const expected = Point.BASE.multiply(s, false).subtract(Point.fromBytes(a).multiply(k, false));
  return expected.toHex() === signatureHex.slice(0, 64);
}

/**
 * The seed, 64 hex, of a secret as people have it: these digits, or the text of a key file.
 * @throws RangeError for anything else; its text is never part of the message.
 */
export function seedOf(secret: string): string {
  const seed = SECRET.exec(secret)?.[1];
  if (seed !== undefined) return seed;
  throw new RangeError(
    "A seed is 64 lower-case hex digits, alone or behind ed25519-seed: as in a key file. Make one with `supervisor keygen`.",
  );
}

/**
 * A signer in memory, with noble. `secret` is 64 hex or the text of a key file.
 * @throws RangeError when it is neither; its text is never part of the message.
 */
export function createSigner(secret: string): Signer {
  provideHash();
  const seed = hexToBytes(seedOf(secret));
  return {
    publicKey: PREFIX + bytesToHex(getPublicKey(seed)),
    sign: async (input) => bytesToHex(sign(input, seed)),
  };
}

/**
 * Signs the canonical text of a body.
 * @throws TypeError naming the member, when the body has no canonical text.
 */
export async function signDocument(signer: Signer, kind: Kind, body: object): Promise<SignedText> {
  const canonical = canonicalText(body);
  if (!canonical.ok)
    throw new TypeError(`The ${kind} can not be signed: ${canonical.path || "body"}: ${canonical.reason}.`);
  const input = signingInput(kind, canonical.text);
  const signature = await signer.sign(input);
  return {
    text: canonical.text,
    signature,
    // Worked out when it is asked for: tickets and receipts, one a job, have no use for theirs.
    get digest() {
      return digestOf(input);
    },
  };
}

/** A fresh secret seed from the platform's random source, 64 hex. */
export function generateSeed(): string {
  return bytesToHex(utils.randomSecretKey());
}

/**
 * noble 3 takes SHA-512 from a slot of its module. Filled here, when the first signer is made, and not at import: a
 * program that has put its own hash there keeps it, and importing this file changes nothing. The synchronous slot is
 * used because WebCrypto exists in secure contexts only. Verification does not need it.
 */
function provideHash(): void {
  hashes.sha512 ??= sha512;
}

/** Strict decoding of RFC 8032 §5.1.3: y < p, no -0. */
function decodePoint(publicKey: string): Point | undefined {
  try {
    return Point.fromHex(publicKey.slice(PREFIX.length));
  } catch {
    // Not a point: the answer is "no key", and the text of a library adds nothing.
    return undefined;
  }
}

/** Swaps the order of bytes in a hex text: RFC 8032 writes integers little-endian. */
function reverseHex(hex: string): string {
  let reversed = "";
  for (let at = hex.length - 2; at >= 0; at -= 2) reversed += hex.slice(at, at + 2);
  return reversed;
}
