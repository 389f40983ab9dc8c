/** Request bodies: read with bounded memory, copied only where they come in pieces. */
import type { IncomingMessage } from "node:http";

/** Room for the second piece of a body whose length is unknown. */
const FIRST_ROOM = 16 * 1024;
/** So many of the largest bodies may be on their way at a time, or more that are smaller. */
const BODIES_AT_ONCE = 32;

/** `busy`: too much is on its way already. `gone`: the other side is, or its time was over. */
export type Body = Uint8Array | "too-large" | "busy" | "gone";

/** Reads bodies, all of a listener within one bound of memory. */
export class BodyReader {
  readonly #maxBytes: number;
  /** Bytes that may still be set aside for bodies not yet whole. */
  #left: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#left = maxBytes * BODIES_AT_ONCE;
  }

  /** Whether the length that the head declares, if any, is within the limit. */
  fits(request: IncomingMessage): boolean {
    return (declaredLength(request) ?? 0) <= this.#maxBytes;
  }

  /** Gives up as soon as it is known that it must, with the rest still to be discarded. */
  async read(request: IncomingMessage): Promise<Body> {
    const declared = declaredLength(request);
    return new Promise((resolve) => {
      const parts = new Parts(declared);
      const finish = (body: Body): void => {
        request.removeListener("data", add);
        this.#left += parts.held;
        parts.held = 0;
        resolve(body);
      };
      const add = (part: Buffer): void => {
        if (parts.length + part.length > this.#maxBytes) {
          finish("too-large");
          return;
        }
        const heldBefore = parts.held;
        parts.add(part);
        this.#left -= parts.held - heldBefore;
        if (this.#left < 0) finish("busy");
      };
      request.on("data", add);
      request.once("end", () => finish(parts.whole));
      request.once("close", () => finish("gone"));
    });
  }
}

/**
 * The parts of one body. One alone is kept as it came; more are copied together, into room of at most twice their size,
 * however small they are: a list of one-byte chunks would cost a hundred times as much.
 */
class Parts {
  length = 0;
  /** Bytes set aside. */
  held = 0;
  readonly #declared: number | undefined;
  #first: Buffer | undefined;
  #room: Buffer | undefined;

  constructor(declared: number | undefined) {
    this.#declared = declared;
  }

  get whole(): Uint8Array {
    return this.#room?.subarray(0, this.length) ?? this.#first ?? new Uint8Array();
  }

  add(part: Buffer): void {
    if (this.#first === undefined) {
      this.#first = part;
    } else {
      const room = this.#roomFor(this.length + part.length, this.#first);
      part.copy(room, this.length);
    }
    this.length += part.length;
  }

  /** Twice of what is needed where more may come, never beyond what was declared. */
  #roomFor(needed: number, first: Buffer): Buffer {
    if (this.#room !== undefined && this.#room.length >= needed) return this.#room;
    const room = Buffer.allocUnsafe(Math.min(this.#declared ?? Infinity, Math.max(FIRST_ROOM, needed * 2)));
    (this.#room ?? first).copy(room);
    this.#room = room;
    this.held = room.length;
    return room;
  }
}

/** Undefined where none is declared; Node's parser has refused what is no number. */
function declaredLength({ headers }: IncomingMessage): number | undefined {
  const length = headers["content-length"];
  return length === undefined ? undefined : Number(length);
}

/**
 * Lets the rest of a refused body run into the void, so that the answer is read before the connection is reset; but
 * not more than `maxBytes` of it.
 */
export function discardBody(request: IncomingMessage, maxBytes: number): void {
  let length = 0;
  request.on("data", (part: Buffer) => {
    length += part.length;
    if (length > maxBytes) request.socket.destroy();
  });
}
