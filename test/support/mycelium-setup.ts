/** Listeners and dialers over simulated daemons, closed again by {@link Bench.close}. */

import type { MyceliumDaemon } from "../../transports/mycelium/daemon.ts";
import { MyceliumDialer, type MyceliumDialerOptions } from "../../transports/mycelium/dialer.ts";
import { Governor } from "../../transports/mycelium/governor.ts";
import { MyceliumListener, type MyceliumListenerSettings } from "../../transports/mycelium/listener.ts";
import type { SimulatedDaemon } from "./mycelium-daemon.ts";
import { StubHandler, captureLog, within } from "./mycelium-harness.ts";
import { type OverlayOptions, SimulatedOverlay } from "./mycelium-overlay.ts";

/** An overlay with one serving node and one calling node; more of both on demand. */
export class Bench {
  readonly overlay: SimulatedOverlay;
  readonly near: SimulatedDaemon;
  readonly far: SimulatedDaemon;
  readonly handler = new StubHandler();
  /** Lines logged by all listeners. */
  readonly lines: string[];
  readonly #log: ReturnType<typeof captureLog>["log"];
  readonly #closers: (() => Promise<void>)[] = [];

  private constructor(overlay: SimulatedOverlay, nodes: { near: SimulatedDaemon; far: SimulatedDaemon }) {
    const { log, lines } = captureLog();
    this.overlay = overlay;
    this.near = nodes.near;
    this.far = nodes.far;
    this.lines = lines;
    this.#log = log;
  }

  static async create(options: OverlayOptions = {}): Promise<Bench> {
    const overlay = new SimulatedOverlay(options);
    const [near, far] = [await overlay.createNode(), await overlay.createNode()];
    return new Bench(overlay, { near, far });
  }

  /** A listener at the far node, started. Messages leave as fast as they can unless a rate is given. */
  async listen(settings: MyceliumListenerSettings = {}, daemon?: MyceliumDaemon): Promise<MyceliumListener> {
    const { handler } = this;
    const governor = settings.messagesPerSecond === undefined ? { governor: unlimited() } : {};
    const shared = daemon === undefined ? {} : { daemon };
    const parts = { handler, log: this.#log, ...governor, ...shared };
    const listener = new MyceliumListener({ api: this.far.api, ...settings }, parts);
    if (daemon === undefined) {
      this.#closers.push(() => listener.stop(within(1_000)));
    }
    await listener.start();
    return listener;
  }

  /** A dialer at the near node. Messages leave as fast as they can unless a rate is given. */
  dial(options: Partial<MyceliumDialerOptions> = {}): MyceliumDialer {
    const url = `mycelium://${this.far.publicKey}`;
    const governor = options.messagesPerSecond === undefined ? { governor: unlimited() } : {};
    const dialer = new MyceliumDialer({ api: this.near.api, url, ...governor, ...options });
    this.#closers.push(() => dialer.close());
    return dialer;
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).toReversed()) {
      await close();
    }
    await this.overlay.close();
  }
}

/** A governor that never makes anybody wait. */
export function unlimited(): Governor {
  return new Governor({ perSecond: 1e6, burst: 1e6 });
}

/** Benches of one test file; call `close` after each test. */
export class Benches {
  readonly #open: Bench[] = [];

  async create(options?: OverlayOptions): Promise<Bench> {
    const bench = await Bench.create(options);
    this.#open.push(bench);
    return bench;
  }

  async close(): Promise<void> {
    await Promise.all(this.#open.splice(0).map((bench) => bench.close()));
  }
}
