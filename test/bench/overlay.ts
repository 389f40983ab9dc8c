/** What the overlay's benches share: nodes, a supervisor on one of them, a client on another, Redis and a load generator. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { readSeed } from "../../src/auth/key-file.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { SupervisorClient } from "../../src/client/index.ts";
import { buildConfig } from "../../src/config.ts";
import { dataPaths } from "../../src/data-directory.ts";
import { MyceliumDialer } from "../../transports/mycelium/dialer.ts";
import { Governor } from "../../transports/mycelium/governor.ts";
import { assemble, type OnEnd } from "../support/assemble.ts";
import { type Nodes, type PairNode, realNodes, simulatedNodes } from "../support/mycelium-pair.ts";
import { Part, Program } from "./part.ts";
import { RedisServer } from "./redis-server.ts";
import type { Figures } from "./report.ts";
import type { Comparison } from "./rounds.ts";
import { RUNNER } from "./system.ts";

/** One way. */
export const LINK_MS = 10;

/** What a daemon is given for long, messages a second: the default of mycelium.messages_per_second. */
export const GOVERNED_PER_SECOND = buildConfig({ env: {} }).mycelium.messages_per_second;

/** Where messages are not to be slowed down: rounds are short, and what is measured is the carrier. */
const UNGOVERNED = 1000;

export interface Overlay {
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
  /** Runs something on two more nodes that nobody else uses. */
  withBare<Value>(run: (near: PairNode, far: PairNode) => Promise<Value>): Promise<Value>;
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
  const messagesPerSecond = options.messagesPerSecond ?? UNGOVERNED;
  await using overlay = await assemble(async (onEnd) => startOverlay({ binary, messagesPerSecond, onEnd }));
  const missing = "MYCELIUM_BIN is not set: the figures of the overlay are of simulated daemons.";
  return { comparisons: await run(overlay), notMeasured: binary === "" ? [missing] : [] };
}

async function startOverlay({
  binary,
  messagesPerSecond,
  onEnd,
}: {
  readonly binary: string;
  readonly messagesPerSecond: number;
  readonly onEnd: OnEnd;
}): Promise<Overlay> {
  const open = async (): Promise<Nodes> =>
    binary === "" ? simulatedNodes({ delayMs: LINK_MS }) : realNodes(binary, { delayMs: LINK_MS });
  const directory = await mkdtemp(join(tmpdir(), "horus-bench-overlay-"));
  onEnd(async () => rm(directory, { recursive: true, force: true }));
  const nodes = await open();
  onEnd(async () => nodes.close());
  const redis = await RedisServer.start();
  onEnd(async () => redis[Symbol.asyncDispose]());
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
  onEnd(async () => program[Symbol.asyncDispose]());
  const port = Number(match[1]);
  const url = { SUPERVISOR_URL: `http://127.0.0.1:${port}` };
  await Program.run(["runner", "register", RUNNER, "--slots", "64"], { env: { ...env, ...url } });
  const paths = dataPaths(directory);
  const seed = await readSeed(paths.owner);
  const supervisor = createNativeSigner(await readSeed(paths.identity)).publicKey;
  const load = await Part.start("load", {});
  onEnd(async () => load[Symbol.asyncDispose]());
  const dialer = aDialer(near, far, messagesPerSecond);
  onEnd(async () => dialer.close());
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
    withBare: async (run) => {
      const bare = await open();
      try {
        return await run(...pairOf(bare));
      } finally {
        await bare.close();
      }
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
