/** Signatures that hold by the equation alone, as OpenSSL judges them, and that the verification rule refuses. */
import { createPublicKey, verify } from "node:crypto";

import { Point } from "@noble/ed25519";

import type { SignatureEntry } from "../../src/rpc/schema.ts";
import { forge, scalarHex } from "../support/corner-cases.ts";
import { testSeed } from "../support/node.ts";

/** DER of SubjectPublicKeyInfo up to the 32 key bytes (RFC 8410 §4). */
const SPKI_PREFIX = "302a300506032b6570032100";
const ORDER = Point.CURVE().n;

/** By nobody: for a key of order 1 this signature fits every message. */
export function byKeyOfOrderOne(): SignatureEntry {
  return { public_key: `ed25519:01${"00".repeat(31)}`, signature: Point.BASE.double().toHex() + scalarHex(2n) };
}

/** By bob under a second public key of his, with a torsion part; made again until OpenSSL takes it. */
export function byKeyWithTorsion(input: Uint8Array): SignatureEntry {
  for (let r = 1n; ; r += 1n) {
    const { key, signature } = forge({ seed: testSeed("bob"), input, torsionOfKey: 4, r });
    if (isTaken(key, signature, input)) return { public_key: key, signature };
  }
}

/** By bob, with an R of order 1. */
export function withIdentityAsR(input: Uint8Array): SignatureEntry {
  const { key, signature } = forge({ seed: testSeed("bob"), input, r: 0n });
  return { public_key: key, signature };
}

/** The same signature with the group's order added to S: a second spelling. */
export function malleated({ public_key, signature }: SignatureEntry): SignatureEntry {
  // Little-endian, as RFC 8032 writes integers.
  const s = Buffer.from(signature.slice(64), "hex").reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  return { public_key, signature: signature.slice(0, 64) + scalarHex(s + ORDER) };
}

/** By OpenSSL alone, without the rule's other half. */
export function isTaken(key: string, signature: string, input: Uint8Array): boolean {
  const der = Buffer.from(SPKI_PREFIX + key.replace("ed25519:", ""), "hex");
  return verify(null, input, createPublicKey({ key: der, format: "der", type: "spki" }), Buffer.from(signature, "hex"));
}
