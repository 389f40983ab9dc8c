/** A whole supervisor behind a Mycelium daemon, callers behind others, and a runner, all in this process. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { createVerifier } from "../../src/auth/native-verifier.ts";
import { signDocument } from "../../src/auth/signature.ts";
import { buildJob, type SignedJob, signJob, SupervisorClient } from "../../src/client/index.ts";
import type { JobDocument } from "../../src/rpc/schema.ts";
import { createJobVerifier, createRunner, openSeenJobs, parseExec } from "../../src/runner/index.ts";
import { createRedisJobSource } from "../../src/store/redis-source.ts";
import { MyceliumDialer, type MyceliumDialerOptions } from "../../transports/mycelium/dialer.ts";
import { MyceliumListener, type MyceliumListenerSettings } from "../../transports/mycelium/listener.ts";
import type { PairNode } from "./mycelium-pair.ts";
import { unlimited } from "./mycelium-setup.ts";
import { type Node, type NodeOptions, startNode } from "./node.ts";
import { quietLog } from "./runner-harness.ts";

type OverlayNodeOptions = Omit<NodeOptions, "createListeners"> & {
  /** Settings of its listener beside the daemon's address. */
  readonly listener?: Omit<MyceliumListenerSettings, "api">;
};

/** A supervisor whose one listener is at the daemon of `at`. Messages leave as fast as they can unless a rate is given. */
export async function startOverlayNode(
  at: Pick<PairNode, "api">,
  { listener = {}, ...options }: OverlayNodeOptions,
): Promise<Node> {
  const governor = listener.messagesPerSecond === undefined ? { governor: unlimited() } : {};
  return startNode({
    ...options,
    createListeners: (handler, log) => [
      new MyceliumListener({ api: at.api, ...listener }, { handler, log, ...governor }),
    ],
  });
}

/** From where, to whom, and as whom. */
export interface CallerWishes extends Partial<MyceliumDialerOptions> {
  readonly from: PairNode;
  readonly to: PairNode;
  readonly node: Node;
  /** Name of the signing key. */
  readonly as: string;
}

export interface Caller extends AsyncDisposable {
  readonly client: SupervisorClient;
  readonly dialer: MyceliumDialer;
  /** A job of this caller for `runner`, signed. */
  job(runner: string, wanted?: Partial<JobDocument>): Promise<SignedJob>;
}

/** The typed client over the overlay. */
export function anOverlayCaller({ from, to, node, as, ...options }: CallerWishes): Caller {
  const dialer = new MyceliumDialer({
    api: from.api,
    url: `mycelium://${to.publicKey}`,
    governor: unlimited(),
    ...options,
  });
  const signer = node.signer(as);
  return {
    dialer,
    client: new SupervisorClient({ dialer, signer, supervisor: node.identity }),
    job: async (runner, wanted = {}) => {
      const about = { supervisor: node.identity, caller: signer.publicKey, runner, payload: "true" };
      return signJob(signer, buildJob({ ...about, ...wanted }));
    },
    [Symbol.asyncDispose]: async () => dialer.close(),
  };
}

/** Enrols a runner by the client's key. */
export async function registerRunner(
  client: SupervisorClient,
  { node, name, slots = 4 }: { readonly node: Node; readonly name: string; readonly slots?: number },
): Promise<void> {
  const signer = node.signer(name);
  const iat = Math.floor(Date.now() / 1000);
  const about = { v: 1 as const, aud: node.identity, name, key: signer.publicKey, groups: [], slots };
  const registration = { ...about, executors: ["default"], iat, exp: iat + 300 };
  const { signature } = await signDocument(signer, "runner", registration);
  await client.call("register_runner", { registration, signature });
}

/** Starts an enrolled runner that gives each payload to `bash -s`. */
export async function startRunner(node: Node, name: string, slots = 4): Promise<AsyncDisposable> {
  const directory = await mkdtemp(join(tmpdir(), "horus-overlay-runner-"));
  const seen = await openSeenJobs({ path: join(directory, "seen"), now: Date.now });
  const about = { url: node.redis.url, prefix: "horus", runner: { name, groups: [] } };
  const source = createRedisJobSource({ ...about, log: quietLog, now: Date.now });
  await source.start();
  const executor = parseExec("bash -s");
  const verifier = createVerifier({ crypto: "native", maxInFlight: 64 });
  const trust = { supervisor: node.identity, queues: [name], verifier, now: Date.now };
  const runner = createRunner({
    name,
    groups: [],
    slots,
    version: "0.0.0-test",
    source,
    signer: node.signer(name),
    supervisor: node.identity,
    executors: new Map([[executor.name, executor]]),
    verifyJob: createJobVerifier(trust),
    seen,
    log: quietLog,
    now: Date.now,
  });
  await runner.start();
  return {
    [Symbol.asyncDispose]: async () => {
      await runner.stop();
      await seen.close();
      await source.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
