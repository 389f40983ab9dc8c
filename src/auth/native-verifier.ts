/** Fast signatures on Node: OpenSSL's Ed25519 on the thread pool, behind the gates that make it agree with noble. */
import {
  createPrivateKey,
  createPublicKey,
  hash,
  type KeyObject,
  sign as signBytes,
  verify as verifyBytes,
} from "node:crypto";
import { promisify } from "node:util";

import { SupervisorError } from "../errors.ts";
import { isCheckedKey, isCheckedSignature, seedOf, type Signer, verifySignature } from "./signature.ts";

/** Verifies by the whole rule of the spec (signing, "The verification rule"), whatever library does the work. */
export interface Verifier {
  /**
   * To be asked before it is known whether the keys are enrolled: under load all are refused alike.
   * @throws SupervisorError `tooMany` where so many verifications more would be too many in flight.
   */
  assertRoom(count: number): void;
  /**
   * Ask about enrolled keys only: each key asked about is kept, and a stranger must not be able to fill that place.
   * False for anything malformed; the key's rights must be read again after the await.
   * @throws SupervisorError `tooMany` before any work, when too many verifications are in flight.
   */
  verify(publicKey: string, signatureHex: string, input: Uint8Array): Promise<boolean>;
  /** Drops what is kept of a key whose rights ended. */
  forget(publicKey: string): void;
}

export interface VerifierOptions {
  /** `native`: node:crypto, about 28 times as fast; `noble`: the reference alone, on the caller's thread. */
  readonly crypto: "native" | "noble";
  /** Verifications at a time; one more is refused. A job may need 16 at once. */
  readonly maxInFlight: number;
}

/** Keys kept ready; beyond it the one unused for longest goes, and costs its checks again when it comes back. */
const MAX_KEYS = 10_000;
/** What a caller refused for overload is told to wait: the thread pool works off any backlog sooner. */
const RETRY_AFTER_MS = 250;
/** DER of SubjectPublicKeyInfo and PKCS #8 up to the 32 key bytes (RFC 8410 §4, §7). */
const SPKI_PREFIX = "302a300506032b6570032100";
const PKCS8_PREFIX = "302e020100300506032b657004220420";
const KEY_PREFIX = "ed25519:";
/** With a callback both work on the thread pool; without one they would hold the event loop. */
const verifyOnPool = promisify(verifyBytes);

/** Makes a verifier; give each supervisor or runner one. */
export function createVerifier(options: VerifierOptions): Verifier {
  return options.crypto === "native" ? new NativeVerifier(options.maxInFlight) : new NobleVerifier();
}

/** Two gates, then OpenSSL: the signature's checks every time, the key's checks once for each key kept. */
class NativeVerifier implements Verifier {
  /** In order of last use; undefined stands for a key that failed its checks. */
  readonly #keys = new Map<string, KeyObject | undefined>();
  readonly #maxInFlight: number;
  #inFlight = 0;

  constructor(maxInFlight: number) {
    this.#maxInFlight = maxInFlight;
  }

  assertRoom(count: number): void {
    if (this.#inFlight + count <= this.#maxInFlight) return;
    throw new SupervisorError("tooMany", {
      message: "Too many signatures to check at this moment",
      data: {
        limit: "max_verifications",
        allowed: this.#maxInFlight,
        present: this.#inFlight,
        retry_after_ms: RETRY_AFTER_MS,
      },
    });
  }

  async verify(publicKey: string, signatureHex: string, input: Uint8Array): Promise<boolean> {
    this.assertRoom(1);
    if (!isCheckedSignature(signatureHex)) return false;
    const key = this.#find(publicKey);
    if (key === undefined) return false;
    this.#inFlight += 1;
    try {
      return await verifyOnPool(null, input, key, Buffer.from(signatureHex, "hex"));
    } finally {
      this.#inFlight -= 1;
    }
  }

  forget(publicKey: string): void {
    this.#keys.delete(publicKey);
  }

  #find(publicKey: string): KeyObject | undefined {
    const isKept = this.#keys.has(publicKey);
    const key = isKept ? this.#keys.get(publicKey) : toKeyObject(publicKey);
    // Put back at the end: a Map is in order of insertion, so the first one is the one unused for longest.
    this.#keys.delete(publicKey);
    this.#keys.set(publicKey, key);
    if (this.#keys.size > MAX_KEYS) {
      const [oldest] = this.#keys.keys();
      if (oldest !== undefined) this.#keys.delete(oldest);
    }
    return key;
  }
}

/** The reference as it is: nothing is kept, nothing is in flight. */
class NobleVerifier implements Verifier {
  assertRoom(): void {
    // Each is over before the next one begins.
  }

  async verify(publicKey: string, signatureHex: string, input: Uint8Array): Promise<boolean> {
    return verifySignature(publicKey, signatureHex, input);
  }

  forget(): void {
    // Keeps nothing.
  }
}

/**
 * A signer by OpenSSL; the same signatures as `createSigner` gives (Ed25519 is deterministic). It signs on the calling
 * thread: one signature costs about what handing it to the thread pool and back would, and only what was verified is signed.
 * @throws RangeError when the secret is no seed; its text is never part of the message.
 */
export function createNativeSigner(secret: string): Signer {
  const der = Buffer.from(PKCS8_PREFIX + seedOf(secret), "hex");
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const spki = createPublicKey(key).export({ format: "der", type: "spki" });
  return {
    publicKey: KEY_PREFIX + spki.subarray(-32).toString("hex"),
    sign: async (input) => signBytes(null, input, key).toString("hex"),
  };
}

/** SHA-256 in hex, by OpenSSL: the same as `digestOf`, faster on large documents. */
export function nativeDigest(input: Uint8Array): string {
  return hash("sha256", input, "hex");
}

function toKeyObject(publicKey: string): KeyObject | undefined {
  if (!isCheckedKey(publicKey)) return undefined;
  const der = Buffer.from(SPKI_PREFIX + publicKey.slice(KEY_PREFIX.length), "hex");
  return createPublicKey({ key: der, format: "der", type: "spki" });
}

const SELF_TEST = {
  text: "horus self-test",
  key: "ed25519:c853ad0f0cd2b619aea92ceec4fd56a24d6499d584ce79257e45cfd8139b60a7",
  smallOrderKey: "ed25519:c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
  valid:
    "f2583fbb6a8cfa468c1c035c6e5b8fb1ec34f0b5c66d5d3b56701eb5d8d463f3ddcae515a3e5f6007f8d4829bc678fffe6a388658f1452c5a561a65a4c2ee201",
  /** Made without any secret: S = 2, R = 2B - kA. */
  bySmallOrderKey:
    "e6ff0e4955925b2100e8ceebbd4ffe93e6fdfc71c226b33409a570d916254f720200000000000000000000000000000000000000000000000000000000000000",
  /** The equation holds: R is the identity, S = ka. */
  withIdentityR:
    "0100000000000000000000000000000000000000000000000000000000000000fe8ac335a9b56dc5d556024b5dd21f6cba2c982058beaf37ce349f828803640d",
  /** The valid one with L added to S. */
  malleated:
    "f2583fbb6a8cfa468c1c035c6e5b8fb1ec34f0b5c66d5d3b56701eb5d8d463f3ca9edb72bd480959552a40cc9a616e14e7a388658f1452c5a561a65a4c2ee211",
} as const;

/**
 * Asks a verifier for answers that are known: run it at start, since a wrong or patched library must not serve.
 * @throws Error naming the first case that was answered wrongly.
 */
export async function selfTest(verifier: Verifier): Promise<void> {
  const { text, key, smallOrderKey, valid, bySmallOrderKey, withIdentityR, malleated } = SELF_TEST;
  const cases = [
    { name: "a valid signature", key, signature: valid, text, expected: true },
    { name: "a changed message", key, signature: valid, text: `${text}.`, expected: false },
    { name: "a key of small order", key: smallOrderKey, signature: bySmallOrderKey, text, expected: false },
    { name: "R of small order", key, signature: withIdentityR, text, expected: false },
    { name: "S beyond the group order", key, signature: malleated, text, expected: false },
  ];
  for (const known of cases) {
    const answer = await verifier.verify(known.key, known.signature, new TextEncoder().encode(known.text));
    if (answer === known.expected) continue;
    const said = `${answer ? "accepts" : "refuses"} ${known.name}`;
    throw new Error(
      `Signature self-test: the verifier ${said}. Set crypto = "noble", and check this Node and OpenSSL.`,
    );
  }
  verifier.forget(key);
  verifier.forget(smallOrderKey);
}
