/** The demo's processes over the overlay: Redis, two daemons, a supervisor at the first, a runner. */
import { join } from "node:path";

import { SupervisorClient } from "../../src/client/index.ts";
import { RELEASES } from "../../transports/mycelium/daemon-notes.ts";
import { MyceliumDaemon } from "../../transports/mycelium/daemon.ts";
import { MyceliumDialer } from "../../transports/mycelium/dialer.ts";
import type { Child } from "./child.ts";
import { findProgram, isExecutable } from "./find-program.ts";
import { freePort } from "./port.ts";
import { startDemoRedis } from "./redis.ts";
import type { Stage } from "./stage.ts";
import { type DemoSystem, RUNNER } from "./system.ts";
import { waitUntil } from "./wait-until.ts";

/** One question is given up after so long, and asked again. */
const PATIENCE_MS = 5000;

/** @throws Error with the ways to get it, where there is no daemon to run. */
export function findDaemon(env: Readonly<Record<string, string | undefined>>): string {
  const named = env["MYCELIUM_BIN"] ?? "";
  if (named !== "" && !isExecutable(named)) throw new Error(`MYCELIUM_BIN "${named}" is no program that can be run.`);
  const program = named === "" ? findProgram(["mycelium"], env) : named;
  if (program !== undefined) return program;
  throw new Error(
    `There is no mycelium on PATH. Take the program for your system from ${RELEASES} (one file; chmod +x it), or build ` +
      "it: git clone https://github.com/threefoldtech/mycelium && cd mycelium/myceliumd && cargo build --release. Then " +
      "put it on PATH, or name it: MYCELIUM_BIN=/path/to/mycelium npm run demo:mycelium",
  );
}

/** Starts one after the other, and says so. */
export async function startOverlaySystem(stage: Stage, daemonProgram: string): Promise<DemoSystem> {
  const { terminal, directory, signal } = stage;
  const start = (name: string, argv: readonly string[]): Child => stage.start(name, argv);
  const step = (text: string): void => stage.step(text);
  const redis = await startDemoRedis({ env: terminal.env, directory, say: step, start, signal });
  stage.step(`Redis: ${redis.says}`);
  const prefix = redis.isOwn ? "horus" : `demo-${Date.now().toString(36)}`;
  const first = await startDaemon(stage, { program: daemonProgram, name: "mycelium-1" });
  stage.step(`first node: ${first.key}, its daemon at ${first.api}`);
  const peer = `tcp://127.0.0.1:${first.tcpPort}`;
  const second = await startDaemon(stage, { program: daemonProgram, name: "mycelium-2", peer });
  stage.step(`second node: ${second.key}, its daemon at ${second.api}, a peer of the first`);
  const dataDirectory = join(directory, "data");
  const env = { SUPERVISOR_REDIS_URL: redis.url, SUPERVISOR_REDIS_PREFIX: prefix, SUPERVISOR_DATA_DIR: dataDirectory };
  const words = ["--mycelium", "--no-http", "--mycelium-api", first.api, "--log-pretty"];
  const supervisor = stage.start("supervisor", [...terminal.program, ...words], env);
  const url = `mycelium://${first.key}`;
  const isSo = async (): Promise<boolean> => answers(url, second.api);
  await waitUntil({ what: "the supervisor to answer over the overlay", isSo, child: supervisor, signal });
  stage.step(`supervisor serves the first node, without an open port: ${url}`);
  stage.step("runner and caller reach it through the second node");
  const runner = stage.start(
    "runner",
    [...terminal.program, "runner", "start", RUNNER, "--exec", "bash -s", "--log-pretty"],
    { ...env, SUPERVISOR_URL: url, SUPERVISOR_MYCELIUM_API: second.api },
  );
  return { url, dataDirectory, runner, mycelium: { api: second.api } };
}

interface DaemonWish {
  readonly program: string;
  readonly name: string;
  readonly peer?: string;
}

interface DemoDaemon {
  readonly api: string;
  readonly tcpPort: number;
  readonly key: string;
}

/** Only on loopback, with a key in the demo's directory, and quiet towards the network. */
async function startDaemon(stage: Stage, { program, name, peer }: DaemonWish): Promise<DemoDaemon> {
  const tcpPort = await freePort();
  const [apiPort, rpcPort] = [await freePort(), await freePort()];
  const quiet = ["--no-tun", "--disable-quic", "--disable-peer-discovery", "--tcp-listen-port", String(tcpPort)];
  const addresses = ["--api-addr", `127.0.0.1:${apiPort}`, "--jsonrpc-addr", `127.0.0.1:${rpcPort}`];
  const peers = peer === undefined ? [] : ["--peers", peer];
  const keyFile = join(stage.directory, `${name}.bin`);
  const child = stage.start(name, [program, "-k", keyFile, ...quiet, ...addresses, ...peers]);
  const api = `http://127.0.0.1:${apiPort}/api/v1`;
  const daemon = new MyceliumDaemon({ api, deadlineMs: PATIENCE_MS });
  let key: string | undefined;
  const isSo = async (): Promise<boolean> => {
    key = await daemon.admin().then(
      (node) => node.publicKey,
      () => undefined,
    );
    return key !== undefined;
  };
  await waitUntil({ what: "the daemon to answer", isSo, child, signal: stage.signal });
  daemon.close();
  return { api, tcpPort, key: key ?? "" };
}

async function answers(url: string, api: string): Promise<boolean> {
  const dialer = new MyceliumDialer({ url, api, repeatAfterMs: 1000 });
  try {
    await new SupervisorClient({ dialer, supervisor: "" }).call("get_info", {}, { deadlineMs: PATIENCE_MS });
    return true;
  } catch {
    // No route yet, or not serving yet: asked again.
    return false;
  } finally {
    await dialer.close();
  }
}
