/** Cursors that callers carry but can neither read meaning into nor forge. */
import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";

const MAC_BYTES = 32;

/**
 * A key for one purpose, derived from the identity's seed (HKDF-SHA-256, RFC 5869): supervisors that share an identity
 * derive the same, and nothing is to be learnt from it about the seed or another purpose.
 */
export function deriveKey(seedHex: string, label: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", Buffer.from(seedHex, "hex"), "", `horus.${label}.v1`, MAC_BYTES));
}

/**
 * Authenticates small JSON values: base64url of HMAC-SHA-256 and the JSON text. What a cursor belongs to (principal,
 * filter) is part of the payload, and the opener compares it.
 */
export class CursorSealer {
  readonly #key: Uint8Array;

  /** @param key secret of 32 bytes, from {@link deriveKey}. */
  constructor(key: Uint8Array) {
    this.#key = key;
  }

  seal(payload: object): string {
    const body = Buffer.from(JSON.stringify(payload));
    return Buffer.concat([this.#mac(body), body]).toString("base64url");
  }

  /** The payload as parsed JSON, or undefined for anything this key did not seal. Never throws. */
  open(text: string): unknown {
    const bytes = Buffer.from(text, "base64url");
    // Node's decoder skips what it does not know: without this one cursor would have many spellings.
    if (bytes.toString("base64url") !== text) return undefined;
    const body = bytes.subarray(MAC_BYTES);
    const mac = bytes.subarray(0, MAC_BYTES);
    if (mac.length !== MAC_BYTES || !timingSafeEqual(mac, this.#mac(body))) return undefined;
    return JSON.parse(body.toString());
  }

  #mac(body: Uint8Array): Buffer {
    return createHmac("sha256", this.#key).update(body).digest();
  }
}
