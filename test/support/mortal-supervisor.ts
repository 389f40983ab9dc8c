/** A supervisor whose process can be killed at any step of its overlay listener, and started again on the same Redis. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Answer, Connection, RequestHandler } from "../../src/rpc/transport.ts";
import { MyceliumListener } from "../../transports/mycelium/listener.ts";
import { DyingDaemon, type Step } from "./dying-daemon.ts";
import { until, within } from "./mycelium-harness.ts";
import type { PairNode } from "./mycelium-pair.ts";
import { unlimited } from "./mycelium-setup.ts";
import { type Node, type NodeOptions, startNode } from "./node.ts";
import { quietLog } from "./runner-harness.ts";

export class MortalSupervisor implements AsyncDisposable {
  readonly #at: PairNode;
  readonly #options: NodeOptions;
  readonly #directory: string;
  #node: Node;
  #daemon: DyingDaemon;
  #listener: MyceliumListener | undefined;
  /** Those that died: what they hold outside the process is let go of at the end. */
  readonly #dead: Node[] = [];

  private constructor(at: PairNode, parts: { options: NodeOptions; directory: string; node: Node }) {
    this.#at = at;
    this.#options = parts.options;
    this.#directory = parts.directory;
    this.#node = parts.node;
    this.#daemon = new DyingDaemon({ api: at.api });
  }

  static async start(at: PairNode, options: NodeOptions): Promise<MortalSupervisor> {
    const directory = await mkdtemp(join(tmpdir(), "horus-mortal-"));
    const mortal = new MortalSupervisor(at, { options, directory, node: await startNode(options) });
    await mortal.#listen();
    return mortal;
  }

  /** Of the living one. */
  get node(): Node {
    return this.#node;
  }

  /** Dies the next time it comes to this step; resolves with false when it did not come there while `isWorthWaiting`. */
  async kill(step: Step, isWorthWaiting: () => boolean): Promise<boolean> {
    const daemon = this.#daemon;
    daemon.dieAt = step;
    await until(() => daemon.isDead || !isWorthWaiting(), 600_000);
    if (!daemon.isDead) daemon.dieAt = undefined;
    return daemon.isDead;
  }

  /** After {@link kill}: a new process, with nothing but what stands in Redis and in the data directory. */
  async revive(): Promise<void> {
    this.#dead.push(this.#node);
    this.#node = await startNode(this.#options);
    this.#daemon = new DyingDaemon({ api: this.#at.api });
    await this.#listen();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#listener?.stop(within(1000));
    this.#daemon.close();
    for (const node of [...this.#dead, this.#node]) await node[Symbol.asyncDispose]();
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #listen(): Promise<void> {
    const daemon = this.#daemon;
    const handler = new MortalHandler(this.#node.handler, daemon);
    const settings = { api: this.#at.api, dataDir: this.#directory, unauthenticatedPerSecond: 100 };
    this.#listener = new MyceliumListener(settings, { handler, log: quietLog, daemon, governor: unlimited() });
    await this.#listener.start();
  }
}

/** Dies when a message was carried out, before anybody learns of it. */
class MortalHandler implements RequestHandler {
  readonly #inside: RequestHandler;
  readonly #daemon: DyingDaemon;

  constructor(inside: RequestHandler, daemon: DyingDaemon) {
    this.#inside = inside;
    this.#daemon = daemon;
  }

  async handle(bytes: Uint8Array, connection: Connection): Promise<Answer> {
    return this.#daemon.dieIn("handle", await this.#inside.handle(bytes, connection));
  }

  onRevoked(callback: (key: string) => void): () => void {
    return this.#inside.onRevoked(callback);
  }
}
