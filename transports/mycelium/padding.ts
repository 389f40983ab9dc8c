/** Keeps payloads off the sizes that the overlay never delivers. */

/** The sender cuts a payload into chunks of this many bytes. */
const CHUNK_BYTES = 1300;
/** The receiver drops a last chunk smaller than this, where it is not the only one. */
const MINIMUM_LAST_CHUNK_BYTES = 250;
/** Legal JSON whitespace (RFC 8259 §2), so a padded text means the same. */
const SPACE = 0x20;

/**
 * The next size, from `bytes` up, that arrives. 1300·k + r bytes with k ≥ 1 and 0 < r < 250 never do: the receiver
 * drops the last chunk and the sender gives up after five minutes without an error (spec: mycelium, facts).
 */
export function deliverableBytes(bytes: number): number {
  const last = bytes % CHUNK_BYTES;
  const isDropped = bytes > CHUNK_BYTES && last > 0 && last < MINIMUM_LAST_CHUNK_BYTES;
  return isDropped ? bytes - last + MINIMUM_LAST_CHUNK_BYTES : bytes;
}

/** `payload`, with trailing spaces where its size would not arrive. The same bytes always give the same bytes. */
export function padPayload(payload: Uint8Array): Uint8Array {
  const size = deliverableBytes(payload.length);
  if (size === payload.length) {
    return payload;
  }
  const padded = new Uint8Array(size).fill(SPACE, payload.length);
  padded.set(payload);
  return padded;
}
