/** What the overlay's benches share: nodes, a supervisor on one of them, a client on another, Redis and a load generator. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { readSeed } from "../../src/auth/key-file.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { SupervisorClient } from "../../src/client/index.ts";
import { dataPaths } from "../../src/data-directory.ts";
import { MyceliumDialer } from "../../transports/mycelium/dialer.ts";
import { Governor } from "../../transports/mycelium/governor.ts";
import { type Nodes, type PairNode, realNodes, simulatedNodes } from "../support/mycelium-pair.ts";
import { Part, Program } from "./part.ts";
import { RedisServer } from "./redis-server.ts";
import type { Figures } from "./report.ts";
import type { Comparison } from "./rounds.ts";
import { RUNNER } from "./system.ts";

/** One way. */
export const LINK_MS = 10;

/** Where messages are not to be slowed down: rounds are short, and what is measured is the carrier. */
const UNGOVERNED = 1000;

export interface Overlay extends AsyncDisposable {
  /** For titles: real daemons, or simulated ones. */
  readonly kind: string;
  readonly nodes: Nodes;
  readonly redis: RedisServer;
  readonly program: Program;
  readonly port: number;
  readonly load: Part;
  readonly client: SupervisorClient;
  readonly supervisor: string;
  readonly seed: string;
  /** Two more that nobody else uses. */
  openBare(): Promise<Nodes>;
}

export interface OverlayOptions {
  /** Messages a second, of client and supervisor; as fast as it goes unless told. */
  readonly messagesPerSecond?: number;
}

/** On real daemons where MYCELIUM_BIN names the program, else on simulated ones. */
export async function withOverlay(
  run: (overlay: Overlay) => Promise<readonly Comparison[]>,
  options: OverlayOptions = {},
): Promise<Figures> {
  const binary = process.env["MYCELIUM_BIN"] ?? "";
  await using overlay = await startOverlay(binary, options.messagesPerSecond ?? UNGOVERNED);
  const missing = "MYCELIUM_BIN is not set: the figures of the overlay are of simulated daemons.";
  return { comparisons: await run(overlay), notMeasured: binary === "" ? [missing] : [] };
}

async function startOverlay(binary: string, messagesPerSecond: number): Promise<Overlay> {
  const open = async (): Promise<Nodes> =>
    binary === "" ? simulatedNodes({ delayMs: LINK_MS }) : realNodes(binary, { delayMs: LINK_MS });
  const directory = await mkdtemp(join(tmpdir(), "horus-bench-overlay-"));
  const [nodes, redis] = [await open(), await RedisServer.start()];
  const [near, far] = pairOf(nodes);
  const env = {
    SUPERVISOR_REDIS_URL: `unix://${redis.socket}`,
    SUPERVISOR_DATA_DIR: directory,
    SUPERVISOR_MYCELIUM_API: far.api,
    SUPERVISOR_MYCELIUM_MESSAGES_PER_SECOND: String(messagesPerSecond),
    SUPERVISOR_RPC_ADDRESS_CALLS_PER_SECOND: "1000000",
    SUPERVISOR_RPC_ADDRESS_BURST: "1000000",
  };
  const { program, match } = await Program.start(["--port", "0", "--mycelium"], /"http:\/\/127\.0\.0\.1:(\d+)\/?"/u, {
    env,
  });
  const port = Number(match[1]);
  const url = { SUPERVISOR_URL: `http://127.0.0.1:${port}` };
  await Program.run(["runner", "register", RUNNER, "--slots", "64"], { env: { ...env, ...url } });
  const paths = dataPaths(directory);
  const seed = await readSeed(paths.owner);
  const supervisor = createNativeSigner(await readSeed(paths.identity)).publicKey;
  const dialer = aDialer(near, far, messagesPerSecond);
  const load = await Part.start("load", {});
  return {
    kind: binary === "" ? "simulated daemons" : "real daemons",
    nodes,
    redis,
    program,
    port,
    load,
    client: new SupervisorClient({ dialer, signer: createNativeSigner(seed), supervisor }),
    supervisor,
    seed,
    openBare: open,
    [Symbol.asyncDispose]: async () => {
      await dialer.close();
      await load[Symbol.asyncDispose]();
      await program[Symbol.asyncDispose]();
      await redis[Symbol.asyncDispose]();
      await nodes.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export function pairOf({ nodes }: Nodes): readonly [PairNode, PairNode] {
  const [near, far] = nodes;
  if (near === undefined || far === undefined) throw new Error("A bench needs two nodes.");
  return [near, far];
}

/** From one node to the supervisor on the other. */
export function aDialer(near: PairNode, far: PairNode, messagesPerSecond = UNGOVERNED): MyceliumDialer {
  const governor = new Governor({ perSecond: messagesPerSecond, burst: messagesPerSecond });
  return new MyceliumDialer({ api: near.api, url: `mycelium://${far.publicKey}`, governor });
}
