/** A Redis and a supervisor, in which runners are tested. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Redis } from "ioredis";

import type { Signer } from "../../src/client/index.ts";
import { killLeftovers } from "../../src/runner/leftovers.ts";
import { RedisKeys } from "../../src/store/redis-keys.ts";
import { scriptText, type ScriptName } from "../../src/store/redis-scripts.ts";
import { assemble } from "../support/assemble.ts";
import { type Node, startNode, testSigner } from "../support/node.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { registerRunner } from "../support/registration.ts";

export interface SiteWishes {
  readonly leaseMs?: number;
  /** What is acknowledged outlives a kill of Redis. */
  readonly isDurable?: boolean;
}

export interface Site extends AsyncDisposable {
  readonly node: Node;
  readonly server: TestRedis;
  /** A plain client to look and to meddle with. */
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly leaseMs: number;
  /** Whatever a runner or a job leaves running carries this path, and ends with the site. */
  readonly directory: string;
  /** Ids of the open connections to Redis. */
  connections(): Promise<readonly string[]>;
  /** Calls a script of the protocol, as a runner would. */
  call(script: ScriptName, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown>;
}

/** Neither prefix nor shards are the defaults: a runner has to be told the one and to read the other. */
export const PREFIX = "kit";
const SHARDS = 3;
/** Small, so that it is reached soon. */
export const MAX_LOG_BYTES = 100_000;
/** Registered, and nobody serves it. */
export const NOBODY = "nobody";
/** In ms. */
export const DEFAULT_LEASE_MS = 2000;

/** Owns the jobs of all checks. */
export const alice: Signer = testSigner("alice");
/** Signs beside alice. */
export const bob: Signer = testSigner("bob");
/** May submit, by the supervisor's keyring, and is on no runner's allow-list. */
export const mallory: Signer = testSigner("mallory");
/** The supervisor's own key: the kit can forge with it, which no attacker can. */
export const identity: Signer = testSigner("supervisor");

/** Starts it; `await using` leaves no process and no file behind. */
export async function openSite({ leaseMs = DEFAULT_LEASE_MS, isDurable = false }: SiteWishes = {}): Promise<Site> {
  return assemble(async (onEnd) => {
    const directory = await mkdtemp(join(tmpdir(), "horus-conformance-"));
    onEnd(async () => rm(directory, { recursive: true, force: true, maxRetries: 3 }));
    const server = await startRedis({ port: true, isOwned: true, ...(isDurable ? { aof: "always" as const } : {}) });
    onEnd(async () => server.stop());
    const node = await startNode({
      redis: server,
      keys: {
        alice: { roles: ["submitter"] },
        bob: { roles: ["submitter"] },
        mallory: { roles: ["submitter"] },
        ops: { roles: ["registrar", "admin"] },
      },
      settings: settingsText(leaseMs),
    });
    onEnd(async () => node[Symbol.asyncDispose]());
    onEnd(async () => killLeftovers(directory));
    await registerRunner(node, NOBODY);
    await mkdir(join(directory, "proofs"));
    const redis = server.client();
    return {
      node,
      server,
      redis,
      keys: new RedisKeys({ prefix: PREFIX, shards: SHARDS }),
      leaseMs,
      directory,
      connections: async () => {
        const list = String(await redis.call("CLIENT", "LIST"));
        return [...list.matchAll(/^id=(\d+) /gmu)].map(([, id = ""]) => id);
      },
      call: async (script, keys, args) => redis.eval(scriptText(script), keys.length, ...keys, ...args),
    };
  });
}

function settingsText(leaseMs: number): string {
  return `
[redis]
prefix = "${PREFIX}"
shards = ${SHARDS}

[jobs]
lease_ms = ${leaseMs}
reap_interval_ms = 100
retry_base_ms = 100
retry_max_ms = 200
max_log_bytes = ${MAX_LOG_BYTES}
`;
}
