/** Base64 for bytes, standard alphabet with padding: what the daemon's API speaks, in every runtime. */

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PAD = 0x3d;
const TEXT = /^[A-Za-z0-9+/]*={0,2}$/;

/** The base64 text of `bytes`. */
export function toBase64(bytes: Uint8Array): string {
  const out = new Uint8Array(Math.ceil(bytes.length / 3) * 4);
  let to = 0;
  for (let from = 0; from < bytes.length; from += 3) {
    const left = bytes.length - from;
    const group = ((bytes[from] ?? 0) << 16) | ((bytes[from + 1] ?? 0) << 8) | (bytes[from + 2] ?? 0);
    out[to] = ALPHABET.charCodeAt(group >> 18);
    out[to + 1] = ALPHABET.charCodeAt((group >> 12) & 63);
    out[to + 2] = left > 1 ? ALPHABET.charCodeAt((group >> 6) & 63) : PAD;
    out[to + 3] = left > 2 ? ALPHABET.charCodeAt(group & 63) : PAD;
    to += 4;
  }
  return new TextDecoder().decode(out);
}

/** The bytes of a base64 text; undefined where it is not one, padding included. */
export function fromBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !TEXT.test(text)) {
    return undefined;
  }
  // Decodes in native code, unlike a loop of ours; the check above leaves nothing it could refuse.
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) {
    bytes[at] = binary.charCodeAt(at);
  }
  return bytes;
}
