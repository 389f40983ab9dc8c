/** The simulated overlay: nodes, links with faults, and the facts of how messages travel (spec: mycelium, facts). */

import { addressOf, formatAddress, isSameSubnet, parseAddress } from "../../transports/mycelium/address.ts";
import { SimulatedDaemon } from "./mycelium-daemon.ts";

/** How one link between two nodes behaves. All members may be changed while it is in use. */
export interface Link {
  /**
   * One-way delay in ms. A message needs five of them: opening, its acknowledgement, data, acknowledgement, end. Its
   * sender knows after a sixth.
   */
  delayMs: number;
  /** Probability that one of these five packets is lost, which costs a tick each. */
  loss: number;
  /** Probability that a message that arrived is delivered once more (a relay's replay). */
  duplication: number;
  /** A message may take up to so much longer than the next one, in ms. */
  reorderMs: number;
  isPartitioned: boolean;
}

/** A message on its way, or in an inbox. */
export interface CarriedMessage {
  readonly id: string;
  readonly isReply: boolean;
  readonly srcIp: string;
  readonly srcPk: string;
  readonly dstIp: string;
  readonly dstPk: string;
  readonly topic: Buffer;
  readonly payload: Buffer;
}

/** Settings of an overlay. */
export interface OverlayOptions {
  /** Seed of everything random. Default 1. */
  readonly seed?: number;
  /** The sender's retry interval in ms; a link without delay needs one a message. Default 100, as the daemon's. */
  readonly tickMs?: number;
  /** How long a sender tries, in ms. Default 300,000. */
  readonly sendWindowMs?: number;
  /** What new links are like. Default: 1 ms, no faults. */
  readonly link?: Partial<Link>;
}

/** Steps of one message between its first packet and its delivery. */
const PACKETS = 5;
const DEFAULT_TICK_MS = 100;
const DEFAULT_SEND_WINDOW_MS = 300_000;
const REPLAY_AFTER_MS = 50;

/** Several daemons and the links between them, in one process. */
export class SimulatedOverlay {
  readonly tickMs: number;
  readonly #sendWindowMs: number;
  readonly #template: Link;
  readonly #links = new Map<string, Link>();
  readonly #nodes = new Map<string, SimulatedDaemon>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #seed: number;

  constructor(options: OverlayOptions = {}) {
    this.#seed = options.seed ?? 1;
    this.tickMs = options.tickMs ?? DEFAULT_TICK_MS;
    this.#sendWindowMs = options.sendWindowMs ?? DEFAULT_SEND_WINDOW_MS;
    this.#template = { delayMs: 1, loss: 0, duplication: 0, reorderMs: 0, isPartitioned: false, ...options.link };
  }

  /** A new node whose API listens on a free loopback port. */
  async createNode(): Promise<SimulatedDaemon> {
    const key = this.randomHex(32);
    const node = new SimulatedDaemon(this, { publicKey: key, address: formatAddress(addressOf(key)) });
    this.#nodes.set(key, node);
    await node.start();
    return node;
  }

  /** The link between two nodes, the same in both directions. */
  link(one: SimulatedDaemon, other: SimulatedDaemon): Link {
    const name = [one.publicKey, other.publicKey].toSorted().join("-");
    const link = this.#links.get(name) ?? { ...this.#template };
    this.#links.set(name, link);
    return link;
  }

  /** The next random number in [0, 1): the same sequence for the same seed (mulberry32). */
  random(): number {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Random hex digits of so many bytes. */
  randomHex(bytes: number): string {
    return Array.from({ length: bytes }, () =>
      Math.floor(this.random() * 256)
        .toString(16)
        .padStart(2, "0"),
    ).join("");
  }

  /** The node that owns an address' subnet. */
  nodeAt(address: string): SimulatedDaemon | undefined {
    const wanted = parseAddress(address);
    return [...this.#nodes.values()].find(
      (node) => wanted !== undefined && isSameSubnet(wanted, addressOf(node.publicKey)),
    );
  }

  /**
   * Carries a message as long as `isCurrent` says so: tries each tick until the receiver takes it or the send window
   * is over. `onOpened` and `onReceived` are the acknowledgements that reach the sender.
   */
  carry(
    from: SimulatedDaemon,
    message: CarriedMessage,
    hooks: { readonly isCurrent: () => boolean; readonly onOpened: () => void; readonly onReceived: () => void },
  ): void {
    const giveUpAt = performance.now() + this.#sendWindowMs;
    const attempt = (): void => {
      const to = this.nodeAt(message.dstIp);
      if (!hooks.isCurrent() || performance.now() > giveUpAt) {
        return;
      }
      // To oneself: accepted, never delivered. To nobody: pending until the window ends.
      if (to === undefined || to === from || this.link(from, to).isPartitioned || !to.isRunning) {
        this.later(this.tickMs, attempt);
        return;
      }
      if (!hooks.isCurrent() || !to.accept({ ...message, dstPk: to.publicKey })) {
        this.later(this.tickMs, attempt);
        return;
      }
      this.later(this.link(from, to).delayMs, hooks.onReceived);
      if (this.random() < this.link(from, to).duplication) {
        this.later(REPLAY_AFTER_MS * (1 + this.random()), () => to.accept({ ...message, dstPk: to.publicKey }));
      }
    };
    const to = this.nodeAt(message.dstIp);
    if (to !== undefined && to !== from && to.isRunning && !this.link(from, to).isPartitioned) {
      this.later(2 * this.link(from, to).delayMs, hooks.onOpened);
    }
    this.later(to === undefined ? this.tickMs : this.#transferMs(from, to), attempt);
  }

  /** The receiver's notice to the sender that somebody has read a message. */
  tellRead(by: SimulatedDaemon, { id, srcIp }: CarriedMessage): void {
    const sender = this.nodeAt(srcIp);
    if (sender !== undefined) {
      this.later(this.link(by, sender).delayMs, () => sender.markRead(id));
    }
  }

  /** Runs something later, unless the overlay is closed before. */
  later(delayMs: number, run: () => void): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, delayMs);
    this.#timers.add(timer);
    return timer;
  }

  /** Resolves later; never once the overlay is closed. */
  async pause(ms: number): Promise<void> {
    if (ms > 0) await new Promise<void>((resolve) => void this.later(ms, resolve));
  }

  /** Stops all nodes and forgets what is on its way. */
  async close(): Promise<void> {
    for (const timer of this.#timers) {
      clearTimeout(timer);
    }
    this.#timers.clear();
    await Promise.all([...this.#nodes.values()].map((node) => node.stop()));
  }

  #transferMs(from: SimulatedDaemon, to: SimulatedDaemon): number {
    const link = this.link(from, to);
    let ms = link.delayMs === 0 ? this.tickMs : PACKETS * link.delayMs;
    for (let packet = 0; packet < PACKETS; packet += 1) {
      while (this.random() < link.loss) {
        ms += this.tickMs;
      }
    }
    return ms + this.random() * link.reorderMs + from.outboxDelayMs;
  }
}
