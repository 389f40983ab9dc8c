/** The replies that wait for one principal. */

/** A reply to one message. */
export interface QueuedReply {
  /** Id of the message. */
  readonly id: string;
  /** Key of the node that sent it. */
  readonly nodeKey: string;
  readonly bytes: Uint8Array;
  /** Whose signature was good; absent for unauthenticated and malformed calls, which share one small allowance. */
  readonly principal?: string;
}

/** A reply in a lane. */
export interface WaitingReply extends QueuedReply {
  readonly queuedAt: number;
}

/** A fourth of what all principals together may have waiting. */
const MAX_REPLIES = 500;
const MAX_BYTES = 16 * 1024 * 1024;

/**
 * The principal's nodes take turns, and none can fill the lane for the others: a signed job is good from any node, so who
 * holds a copy could otherwise use up what its signer has here, by having it answered again and again.
 */
export class ReplyLane {
  /** No list is empty. */
  readonly #nodes = new Map<string, WaitingReply[]>();
  #size = 0;
  #bytes = 0;

  /** Replies that wait. */
  get size(): number {
    return this.#size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Whose turn it is. */
  get first(): WaitingReply | undefined {
    const [replies] = this.#nodes.values();
    return replies?.[0];
  }

  /** Takes in a reply; false when it is dropped instead. Where the lane is full, the node that holds most gives way. */
  add(reply: WaitingReply): boolean {
    while (this.#size >= MAX_REPLIES || this.#bytes + reply.bytes.length > MAX_BYTES) {
      const measure = this.#size >= MAX_REPLIES ? countOf : bytesOf;
      const newest = this.#fullest(measure);
      const own = [...(this.#nodes.get(reply.nodeKey) ?? []), reply];
      if (newest === undefined || measure(this.#nodes.get(newest.nodeKey) ?? []) <= measure(own)) {
        return false;
      }
      this.remove(newest);
    }
    this.#put(reply);
    return true;
  }

  /** Takes a reply out, and puts its node behind the others; nothing where it gave way meanwhile. */
  remove(reply: WaitingReply): boolean {
    const replies = this.#nodes.get(reply.nodeKey) ?? [];
    const rest = replies.filter((other) => other !== reply);
    if (rest.length === replies.length) {
      return false;
    }
    this.#nodes.delete(reply.nodeKey);
    if (rest.length > 0) {
      this.#nodes.set(reply.nodeKey, rest);
    }
    this.#size -= 1;
    this.#bytes -= reply.bytes.length;
    return true;
  }

  /** Puts a reply behind all others. */
  postpone(reply: WaitingReply): void {
    if (this.remove(reply)) {
      this.#put(reply);
    }
  }

  #put(reply: WaitingReply): void {
    const replies = this.#nodes.get(reply.nodeKey) ?? [];
    replies.push(reply);
    this.#nodes.set(reply.nodeKey, replies);
    this.#size += 1;
    this.#bytes += reply.bytes.length;
  }

  /** The newest reply of the node that holds most. */
  #fullest(measure: (replies: readonly WaitingReply[]) => number): WaitingReply | undefined {
    let fullest: readonly WaitingReply[] = [];
    for (const replies of this.#nodes.values()) {
      fullest = measure(replies) > measure(fullest) ? replies : fullest;
    }
    return fullest.at(-1);
  }
}

function countOf(replies: readonly WaitingReply[]): number {
  return replies.length;
}

function bytesOf(replies: readonly WaitingReply[]): number {
  return replies.reduce((sum, { bytes }) => sum + bytes.length, 0);
}
