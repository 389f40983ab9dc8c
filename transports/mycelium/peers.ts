/** What was seen of each overlay node: facts for people (`list_peers`), bounded. */

import type { PeerSeen } from "../../src/rpc/transport.ts";
import { toNodeName } from "./address.ts";

/** More nodes than this: the one unheard for longest is forgotten. */
const MAX_PEERS = 1_000;

/** The nodes that have sent something since the start. */
export class Peers {
  readonly #now: () => number;
  /** Heard longest ago first. */
  readonly #seen = new Map<string, PeerSeen>();

  /** @param now UNIX milliseconds */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** A message came from a node, sender and address checked. */
  heard(nodeKey: string, address: string): void {
    const node = toNodeName(nodeKey);
    const before = this.#seen.get(nodeKey) ?? { calls: 0, refused: 0 };
    this.#seen.delete(nodeKey);
    this.#seen.set(nodeKey, { ...before, node, address, lastMessageMs: this.#now(), calls: before.calls + 1 });
    const [oldest] = this.#seen.keys();
    if (this.#seen.size > MAX_PEERS && oldest !== undefined) {
      this.#seen.delete(oldest);
    }
  }

  /** A message of a node was dropped, or turned away for a limit of this carrier. */
  refused(nodeKey: string): void {
    const peer = this.#seen.get(nodeKey);
    if (peer !== undefined) {
      this.#seen.set(nodeKey, { ...peer, refused: peer.refused + 1 });
    }
  }

  /** A message to a node and its receipt took so long. */
  measured(nodeKey: string, roundTripMs: number): void {
    const peer = this.#seen.get(nodeKey);
    if (peer !== undefined) {
      this.#seen.set(nodeKey, { ...peer, roundTripMs });
    }
  }

  /** All of them, heard most recently first. */
  list(): readonly PeerSeen[] {
    return [...this.#seen.values()].toReversed();
  }
}
