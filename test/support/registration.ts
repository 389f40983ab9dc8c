/** Runners that are registered, and do by hand what a test says. */
import { type Signer, signDocument } from "../../src/auth/signature.ts";
import type { SupervisorClient } from "../../src/client/index.ts";
import type { RunnerDocument, RunnerView } from "../../src/rpc/schema.ts";
import { createRedisJobSource, type RedisJobSource } from "../../src/store/redis-source.ts";
import { quietLog } from "./dispatcher.ts";
import { type Node, testSigner } from "./node.ts";

/** Registered by the key `ops`; its own key is the one of its name. */
export async function registerRunner(
  node: Pick<Node, "identity" | "client" | "signer">,
  name: string,
  wanted: Partial<Omit<RunnerDocument, "key">> = {},
): Promise<RunnerView> {
  return register(node.client("ops"), { name, aud: node.identity, key: node.signer(name), ...wanted });
}

interface RegistrationWishes extends Partial<Omit<RunnerDocument, "key">> {
  readonly name: string;
  readonly aud: string;
  /** The runner's own. */
  readonly key: Signer;
}

async function register(registrar: SupervisorClient, { key, ...wanted }: RegistrationWishes): Promise<RunnerView> {
  const now = Math.floor(Date.now() / 1000);
  const registration: RunnerDocument = {
    v: 1,
    key: key.publicKey,
    groups: [],
    executors: [],
    slots: 1,
    iat: now,
    exp: now + 300,
    ...wanted,
  };
  const { signature } = await signDocument(key, "runner", registration);
  return registrar.call("register_runner", { registration, signature });
}

export interface SourceWishes {
  /** The runner's name, which gives its key too. */
  readonly name: string;
  readonly registrar: SupervisorClient;
  /** Identity of the supervisor. */
  readonly supervisor: string;
  readonly redisUrl: string;
}

/** Registers a runner and attaches it: the source of its jobs. Whoever asks for it stops it. */
export async function attachSource({ name, registrar, supervisor, redisUrl }: SourceWishes): Promise<RedisJobSource> {
  const key = testSigner(name);
  await register(registrar, { name, aud: supervisor, key, executors: ["default"], slots: 8 });
  const runner = { name, groups: [] };
  const source = createRedisJobSource({ url: redisUrl, prefix: "horus", runner, log: quietLog, now: Date.now });
  await source.start();
  await source.attach({ ...runner, key: key.publicKey, slots: 8, version: "1", process: "p" });
  return source;
}
