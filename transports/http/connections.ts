/** All open connections of a listener: found by socket, bounded in number, ended together. */
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

import { type ConnectionLimits, HttpConnection } from "./connection.ts";

export interface ConnectionsLimits extends ConnectionLimits {
  readonly maxConnections: number;
}

/** So many are told at a time that there is no place; who comes meanwhile is closed without a word. */
const MAX_TURNED_AWAY = 64;
/**
 * Who makes room, in this order, and among the same the oldest: what has nothing to lose, WebSockets without a good
 * signature as well (a newcomer stays before strangers who come back again and again); who is slow in sending a body;
 * who is slow in reading an answer.
 */
const EXPENDABLE: readonly ReadonlySet<HttpConnection["state"]>[] = [
  new Set(["idle", "stranger"]),
  new Set(["receiving"]),
  new Set(["sending"]),
];

export class Connections {
  readonly #limits: ConnectionsLimits;
  /** In the order they came. */
  readonly #all = new Set<HttpConnection>();
  readonly #bySocket = new Map<Duplex, HttpConnection>();
  /** Leads from a TLS socket to the TCP socket below it, which Node does not show. */
  readonly #byPeer = new Map<string, HttpConnection>();
  readonly #turnAway: (socket: Socket) => void;
  #turnedAway = 0;

  /** `turnAway` refuses a connection that there is no place for, and ends it soon. */
  constructor(limits: ConnectionsLimits, turnAway: (socket: Socket) => void) {
    this.#limits = limits;
    this.#turnAway = turnAway;
  }

  /**
   * Takes a TCP connection in. Where all places are taken, another one makes room: who opens many sockets and says nothing
   * locks nobody out.
   */
  add(socket: Socket): void {
    // Given back after an offer that is ignored.
    if (this.#bySocket.has(socket)) return;
    const peer = peerOf(socket);
    if (peer === undefined) {
      socket.destroy();
      return;
    }
    if (this.#all.size >= this.#limits.maxConnections && !this.#makeRoom()) {
      this.#refuse(socket);
      return;
    }
    const connection = new HttpConnection(socket, this.#limits);
    this.#all.add(connection);
    this.#bySocket.set(socket, connection);
    this.#byPeer.set(peer, connection);
    socket.once("close", () => {
      connection.end();
      this.#forget(connection, peer);
    });
  }

  /** Undefined for one that was closed. */
  find(socket: Duplex): HttpConnection | undefined {
    return this.#bySocket.get(socket);
  }

  /** TLS is up on one of them: from now on requests come from this socket. */
  secure(socket: Socket): void {
    const peer = peerOf(socket);
    const connection = peer === undefined ? undefined : this.#byPeer.get(peer);
    // Known: given back after an offer that is ignored.
    if (connection === undefined || this.#bySocket.has(socket)) return;
    this.#bySocket.set(socket, connection);
    socket.once("close", () => this.#bySocket.delete(socket));
  }

  /** Ends all held waits. */
  endAll(): void {
    for (const connection of this.#all) connection.end();
  }

  /**
   * Closes those with nothing in progress, and each of the others once its last answer has left; a request that is on its
   * way on one of them is lost.
   */
  closeIdle(): void {
    for (const connection of this.#all) void closeAnswered(connection);
  }

  destroyAll(): void {
    for (const { socket } of this.#all) socket.destroy();
  }

  #refuse(socket: Socket): void {
    if (this.#turnedAway >= MAX_TURNED_AWAY) {
      socket.destroy();
      return;
    }
    this.#turnedAway += 1;
    socket.once("close", () => (this.#turnedAway -= 1));
    this.#turnAway(socket);
  }

  #makeRoom(): boolean {
    for (const states of EXPENDABLE) {
      for (const connection of this.#all) {
        if (!states.has(connection.state)) continue;
        this.#all.delete(connection);
        connection.socket.destroy();
        return true;
      }
    }
    return false;
  }

  #forget(connection: HttpConnection, peer: string): void {
    this.#all.delete(connection);
    this.#bySocket.delete(connection.socket);
    // Its port may have been used again since.
    if (this.#byPeer.get(peer) === connection) this.#byPeer.delete(peer);
  }
}

async function closeAnswered(connection: HttpConnection): Promise<void> {
  await connection.answered();
  if (connection.state === "idle") connection.socket.destroy();
}

/** Undefined where the other side is gone already. */
function peerOf({ remoteAddress, remotePort }: Socket): string | undefined {
  return remoteAddress === undefined ? undefined : `${remoteAddress} ${remotePort}`;
}
