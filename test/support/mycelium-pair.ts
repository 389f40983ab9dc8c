/** Two connected Mycelium nodes for the contract suite: simulated ones, or real daemons behind a slow link. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { type Server, type Socket, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePort } from "../../bin/demo/port.ts";
import { MyceliumDaemon } from "../../transports/mycelium/daemon.ts";
import { until } from "./mycelium-harness.ts";
import { SimulatedOverlay } from "./mycelium-overlay.ts";

/** One node as the suite uses it. */
export interface PairNode {
  readonly api: string;
  readonly publicKey: string;
  readonly address: string;
  /** Ends it as a kill does. */
  stop(): Promise<void>;
  /** Starts it again, same key and API; resolves when it answers. */
  start(): Promise<void>;
}

/** Two nodes and the link between them. */
export interface Pair {
  readonly near: PairNode;
  readonly far: PairNode;
  /** One-way delay of the link, in ms. */
  readonly delayMs: number;
  close(): Promise<void>;
}

const DELAY_MS = 20;
const START_MS = 20_000;

/** Several connected nodes: each of the others is linked to the first. */
export interface Nodes {
  /** At least as many as were asked for. */
  readonly nodes: readonly PairNode[];
  readonly close: () => Promise<void>;
}

/** How nodes are linked. */
export interface NodesOptions {
  /** Two unless told. */
  readonly count?: number;
  /** One-way delay of a link, in ms; 20 unless told. 0: bare loopback, where each message waits for its sender's tick. */
  readonly delayMs?: number;
}

/** Simulated nodes, every one linked to every other. */
export async function simulatedNodes({ count = 2, delayMs = DELAY_MS }: NodesOptions = {}): Promise<Nodes> {
  const overlay = new SimulatedOverlay({ link: { delayMs } });
  const nodes: PairNode[] = [];
  while (nodes.length < count) {
    nodes.push(await overlay.createNode());
  }
  return { nodes, close: () => overlay.close() };
}

/** Real daemons on loopback, with a TCP proxy before the first that delays each way, unless there is no delay. */
export async function realNodes(
  binary: string,
  { count = 2, delayMs = DELAY_MS }: NodesOptions = {},
): Promise<Nodes & { readonly nodes: readonly RealDaemon[] }> {
  const directory = await mkdtemp(join(tmpdir(), "mycelium-nodes-"));
  const hubPort = await freePort();
  const proxy = delayMs === 0 ? undefined : await startProxy(hubPort, delayMs);
  const peer = `tcp://127.0.0.1:${proxy?.port ?? hubPort}`;
  const keyOf = (index: number): string => join(directory, `${index}.bin`);
  const hub = new RealDaemon(binary, { key: keyOf(0), tcpPort: hubPort });
  const others = Array.from(
    { length: count - 1 },
    (_, index) => new RealDaemon(binary, { key: keyOf(index + 1), peer }),
  );
  const nodes = [hub, ...others];
  const close = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.stop()));
    proxy?.close();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    for (const node of nodes) {
      await node.start();
    }
    for (const [index, node] of nodes.entries()) {
      const far = nodes[(index + 1) % nodes.length];
      await until(async () => far !== undefined && (await canReach(node, far)), START_MS);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { nodes, close };
}

/** Two simulated nodes. */
export async function simulatedPair(delayMs = DELAY_MS): Promise<Pair> {
  return toPair(await simulatedNodes({ delayMs }), delayMs);
}

/** Two real daemons. */
export async function realPair(binary: string, delayMs = DELAY_MS): Promise<Pair> {
  return toPair(await realNodes(binary, { delayMs }), delayMs);
}

function toPair({ nodes, close }: Nodes, delayMs: number): Pair {
  const [near, far] = nodes;
  if (near === undefined || far === undefined) {
    throw new Error("A pair has two nodes.");
  }
  return { near, far, delayMs, close };
}

/** One process of the real daemon. */
export class RealDaemon implements PairNode {
  publicKey = "";
  address = "";
  readonly #binary: string;
  readonly #key: string;
  readonly #peer: string | undefined;
  #tcpPort: number | undefined;
  #apiPort = 0;
  #rpcPort = 0;
  #process: ChildProcess | undefined;

  constructor(binary: string, settings: { readonly key: string; readonly tcpPort?: number; readonly peer?: string }) {
    this.#binary = binary;
    this.#key = settings.key;
    this.#tcpPort = settings.tcpPort;
    this.#peer = settings.peer;
  }

  get api(): string {
    return `http://127.0.0.1:${this.#apiPort}/api/v1`;
  }

  /** Of the running process; 0 where there is none. */
  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  async start(): Promise<void> {
    this.#tcpPort ??= await freePort();
    this.#apiPort ||= await freePort();
    this.#rpcPort ||= await freePort();
    const own = ["--tcp-listen-port", `${this.#tcpPort}`, "--api-addr", `127.0.0.1:${this.#apiPort}`];
    const quiet = ["--no-tun", "--disable-quic", "--disable-peer-discovery", "--jsonrpc-addr"];
    const peers = this.#peer === undefined ? [] : ["--peers", this.#peer];
    const options = ["-k", this.#key, ...own, ...quiet, `127.0.0.1:${this.#rpcPort}`, ...peers];
    this.#process = spawn(this.#binary, options, { stdio: "ignore" });
    const daemon = new MyceliumDaemon({ api: this.api });
    await until(async () => {
      const info = await daemon.admin().catch(() => undefined);
      this.publicKey = info?.publicKey ?? "";
      this.address = info?.address ?? "";
      return info !== undefined;
    }, START_MS);
  }

  async stop(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (running !== undefined && running.exitCode === null) {
      const ended = new Promise((resolve) => running.once("exit", resolve));
      running.kill("SIGKILL");
      await ended;
    }
  }
}

/** A message and its answer. */
async function canReach(near: PairNode, far: PairNode): Promise<boolean> {
  const daemon = new MyceliumDaemon({ api: near.api });
  const payload = new TextEncoder().encode("ping");
  const answer = daemon.push({ to: { pk: far.publicKey }, topic: "ping", payload, replyTimeoutSeconds: 1 });
  const peer = new MyceliumDaemon({ api: far.api });
  const message = await peer.peek("ping", 1);
  if (message !== undefined) {
    await peer.take("ping");
    await peer.reply(message.id, message.srcPk, message.payload);
  }
  return (await answer) !== undefined;
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const bound = server.address();
      resolve(typeof bound === "object" && bound !== null ? bound.port : 0);
    });
  });
}

async function startProxy(target: number, delayMs: number): Promise<{ readonly port: number; close(): void }> {
  const sockets = new Set<Socket>();
  const forward = (from: Socket, to: Socket): void => {
    sockets.add(from);
    from.setNoDelay(true);
    from.on("data", (data) => setTimeout(() => to.write(data), delayMs));
    from.on("error", () => to.destroy());
    from.on("close", () => setTimeout(() => to.destroy(), delayMs));
  };
  const server = createServer((client) => {
    const upstream = connect(target, "127.0.0.1");
    forward(client, upstream);
    forward(upstream, client);
  });
  const port = await listen(server);
  const close = (): void => {
    server.close();
    for (const socket of sockets) {
      socket.destroy();
    }
  };
  return { port, close };
}
