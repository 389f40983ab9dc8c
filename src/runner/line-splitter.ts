/** Cuts a stream of bytes into lines of bounded length, whatever the bytes are. */

export type Piece =
  /** A line without its end, or a part of one too long. */
  | { readonly kind: "line"; readonly bytes: Uint8Array }
  /** Between these two all lines of the stream are one. */
  | { readonly kind: "split_begins" }
  | { readonly kind: "split_ends"; readonly bytes: number };

const NEWLINE = 0x0a;

export class LineSplitter {
  readonly #maxLineBytes: number;
  #rest = Buffer.alloc(0);
  /** Bytes of the present line already given; 0: it began in `#rest`. */
  #givenBytes = 0;

  constructor(maxLineBytes: number) {
    this.#maxLineBytes = maxLineBytes;
  }

  /** What can be said of the stream now; the begin of a line that has not ended is kept. */
  *push(chunk: Uint8Array): Generator<Piece, void> {
    const bytes = Buffer.concat([this.#rest, chunk]);
    let from = 0;
    while (from < bytes.length) {
      const newline = bytes.indexOf(NEWLINE, from);
      const end = newline === -1 ? bytes.length : newline;
      if (end - from > this.#maxLineBytes) {
        const cut = cutLength(bytes.subarray(from, from + this.#maxLineBytes));
        yield* this.#part(bytes.subarray(from, from + cut));
        from += cut;
      } else if (newline === -1) {
        break;
      } else {
        yield* this.#last(bytes.subarray(from, end));
        from = end + 1;
      }
    }
    // A copy: a slice would keep the whole chunk alive.
    this.#rest = Buffer.from(bytes.subarray(from));
  }

  /** The stream ended: what is left is a line though nothing ended it. */
  *end(): Generator<Piece, void> {
    if (this.#rest.length > 0 || this.#givenBytes > 0) yield* this.#last(this.#rest);
    this.#rest = Buffer.alloc(0);
  }

  *#part(bytes: Uint8Array): Generator<Piece, void> {
    if (this.#givenBytes === 0) yield { kind: "split_begins" };
    this.#givenBytes += bytes.length;
    yield { kind: "line", bytes };
  }

  *#last(bytes: Uint8Array): Generator<Piece, void> {
    if (this.#givenBytes === 0 || bytes.length > 0) yield { kind: "line", bytes };
    if (this.#givenBytes > 0) yield { kind: "split_ends", bytes: this.#givenBytes + bytes.length };
    this.#givenBytes = 0;
  }
}

/** The length without the first bytes of a UTF-8 character that does not end in it (RFC 3629 §3), so that none is torn. */
function cutLength(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length - 1); back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte < 0x80) return bytes.length;
    if (byte >= 0xc0) return characterLength(byte) > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

function characterLength(lead: number): number {
  if (lead >= 0xf0) return 4;
  return lead >= 0xe0 ? 3 : 2;
}
