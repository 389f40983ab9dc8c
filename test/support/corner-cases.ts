/** Signatures and keys at the edges of Ed25519, made with the secrets at hand: what libraries disagree about. */
import { Point, utils } from "@noble/ed25519";
import { sha512 } from "@noble/hashes/sha2.js";

import { createSigner } from "../../src/auth/signature.ts";
import { seededRandom } from "./signing.ts";

const ORDER = Point.CURVE().n;
const P = Point.CURVE().p;
const EIGHT = Point.fromHex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a");

/** All points of order 1, 2, 4 and 8: the multiples of one of order 8. */
export const TORSION: readonly Point[] = [0, 1, 2, 3, 4, 5, 6, 7].map((count) => times(EIGHT, count));

function times(point: Point, count: number): Point {
  let sum = Point.ZERO;
  for (let done = 0; done < count; done += 1) sum = sum.add(point);
  return sum;
}

/** 32 bytes, little-endian, as RFC 8032 writes integers. */
export function scalarHex(scalar: bigint): string {
  const bytes = Buffer.alloc(32);
  for (let at = 0, rest = scalar; at < 32; at += 1, rest >>= 8n) bytes[at] = Number(rest & 0xffn);
  return bytes.toString("hex");
}

function scalarOf(bytes: Uint8Array): bigint {
  return bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

/** Every 32 bytes that decode, by the loosest rule, to a point of small order. */
export function smallOrderEncodings(): readonly string[] {
  const numbers = TORSION.map((point) => point.toAffine().y).flatMap((y) => [y, y + P]);
  const fitting = numbers.filter((number) => number < 2n ** 255n);
  return [...new Set(fitting.flatMap((number) => [scalarHex(number), scalarHex(number + 2n ** 255n)]))];
}

/** Encodings of y ≥ p, which name a point a second time or none at all. */
export function nonCanonicalEncodings(): readonly string[] {
  return Array.from({ length: 19 }, (_, y) => [scalarHex(P + BigInt(y)), scalarHex(P + BigInt(y) + 2n ** 255n)]).flat();
}

function challenge(r: Uint8Array, a: Uint8Array, input: Uint8Array): bigint {
  return scalarOf(sha512(Buffer.concat([r, a, input]))) % ORDER;
}

export interface Forgery {
  readonly seed: string;
  readonly input: Uint8Array;
  /** How many times the point of order 8 is added to R; 0 makes an honest signature. */
  readonly torsionOfR?: number;
  /** The same for the public key, which is then not the seed's own. */
  readonly torsionOfKey?: number;
  /** The secret half of R; 0 leaves R nothing but its torsion. */
  readonly r?: bigint;
}

/** A signature by a key's owner who does not follow the rules: the cofactored equation always holds. */
export function forge({ seed, input, torsionOfR = 0, torsionOfKey = 0, r = 12_345n }: Forgery): {
  readonly key: string;
  readonly signature: string;
} {
  // Gives noble its hash, which the next line needs.
  createSigner(seed);
  const { scalar, point } = utils.getExtendedPublicKey(Buffer.from(seed, "hex"));
  const a = point.add(TORSION[torsionOfKey] ?? Point.ZERO).toBytes();
  const base = r === 0n ? Point.ZERO : Point.BASE.multiply(r);
  const rBytes = base.add(TORSION[torsionOfR] ?? Point.ZERO).toBytes();
  const s = (r + challenge(rBytes, a, input) * scalar) % ORDER;
  return {
    key: `ed25519:${Buffer.from(a).toString("hex")}`,
    signature: Buffer.from(rBytes).toString("hex") + scalarHex(s),
  };
}

/** One question for a verifier; `isValid` is what the spec's rule says. */
export interface CornerCase {
  readonly title: string;
  readonly key: string;
  readonly signature: string;
  readonly input: Uint8Array;
  readonly isValid: boolean;
}

/** Draws numbers from 0 to below the limit. */
type Draw = (limit: number) => number;

type Maker = (draw: Draw) => CornerCase;

function draws(seed: number): Draw {
  const random = seededRandom(seed);
  return (limit) => Math.floor(random() * limit);
}

/** Few seeds, so that verifiers meet their keys again. */
function seedFrom(draw: Draw): string {
  return (draw(5) + 1).toString(16).padStart(2, "0").repeat(32);
}

function bytesFrom(draw: Draw, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => draw(256));
}

function inputFrom(draw: Draw): Uint8Array {
  return bytesFrom(draw, draw(80));
}

function honest(draw: Draw): Forgery {
  return { seed: seedFrom(draw), input: inputFrom(draw), r: BigInt(1 + draw(2 ** 31)) };
}

function flipped(hex: string, bit: number): string {
  const bytes = Buffer.from(hex, "hex");
  const at = Math.floor(bit / 8);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit % 8));
  return bytes.toString("hex");
}

function pick(values: readonly string[], draw: Draw): string {
  return values[draw(values.length)] ?? "";
}

const MAKERS: readonly Maker[] = [
  (draw) => {
    const wish = honest(draw);
    return { title: "honest", ...forge(wish), input: wish.input, isValid: true };
  },
  (draw) => {
    const wish = { ...honest(draw), torsionOfR: 1 + draw(7) };
    return { title: `R with torsion ${wish.torsionOfR}`, ...forge(wish), input: wish.input, isValid: false };
  },
  (draw) => {
    const wish = { ...honest(draw), torsionOfKey: 1 + draw(7) };
    return { title: `key with torsion ${wish.torsionOfKey}`, ...forge(wish), input: wish.input, isValid: false };
  },
  (draw) => {
    const torsion = 1 + draw(7);
    const wish = { ...honest(draw), torsionOfKey: torsion, torsionOfR: 8 - torsion };
    return { title: `R and key with torsion ${torsion}`, ...forge(wish), input: wish.input, isValid: false };
  },
  (draw) => {
    const wish = { ...honest(draw), r: 0n, torsionOfR: draw(8) };
    return { title: `R of small order ${wish.torsionOfR}`, ...forge(wish), input: wish.input, isValid: false };
  },
  (draw) => {
    const wish = honest(draw);
    const { key, signature } = forge(wish);
    const s = scalarOf(Buffer.from(signature.slice(64), "hex")) + ORDER * BigInt(1 + draw(14));
    return {
      title: "S plus L",
      key,
      signature: signature.slice(0, 64) + scalarHex(s),
      input: wish.input,
      isValid: false,
    };
  },
  (draw) => {
    const wish = honest(draw);
    const { key, signature } = forge(wish);
    const bit = draw(512);
    return {
      title: `signature bit ${bit}`,
      key,
      signature: flipped(signature, bit),
      input: wish.input,
      isValid: false,
    };
  },
  (draw) => {
    const wish = { ...honest(draw), input: bytesFrom(draw, 1 + draw(80)) };
    const bit = draw(wish.input.length * 8);
    const input = Buffer.from(flipped(Buffer.from(wish.input).toString("hex"), bit), "hex");
    return { title: `input bit ${bit}`, ...forge(wish), input, isValid: false };
  },
  (draw) => {
    const wish = honest(draw);
    const { key, signature } = forge(wish);
    const bit = draw(256);
    const changed = `ed25519:${flipped(key.slice("ed25519:".length), bit)}`;
    return { title: `key bit ${bit}`, key: changed, signature, input: wish.input, isValid: false };
  },
  (draw) => {
    // R = SB - kA by guessing k modulo the order of A: a signature without any secret, good once in eight tries.
    const key = pick(smallOrderEncodings(), draw);
    const r = Point.BASE.multiply(2n).add(TORSION[draw(8)] ?? Point.ZERO);
    const signature = r.toHex() + scalarHex(2n);
    return { title: `key ${key}`, key: `ed25519:${key}`, signature, input: inputFrom(draw), isValid: false };
  },
  (draw) => {
    const key = pick(nonCanonicalEncodings(), draw);
    const signature = Buffer.from(bytesFrom(draw, 63)).toString("hex");
    return {
      title: `key ${key}`,
      key: `ed25519:${key}`,
      signature: `${signature}00`,
      input: inputFrom(draw),
      isValid: false,
    };
  },
  (draw) => {
    const { key } = forge(honest(draw));
    const r = pick([...nonCanonicalEncodings(), ...smallOrderEncodings()], draw);
    const s = scalarHex(BigInt(draw(2 ** 31)));
    return { title: `R ${r}`, key, signature: r + s, input: inputFrom(draw), isValid: false };
  },
  (draw) => {
    const { key, signature } = forge(honest(draw));
    const swapped = signature.slice(64) + signature.slice(0, 64);
    return { title: "R and S swapped", key, signature: swapped, input: inputFrom(draw), isValid: false };
  },
];

/** That many cases, the kinds in turn; the same seed gives the same cases. */
export function* cornerCases(seed: number, count: number): Generator<CornerCase, void, undefined> {
  const draw = draws(seed);
  for (let made = 0; made < count; made += 1) {
    const make = MAKERS[made % MAKERS.length];
    if (make !== undefined) yield make(draw);
  }
}
