import { redisStoreOptions } from "../../bin/redis-options.ts";
import type { EnrolledKey, Requirement } from "../../src/auth/keyring-toml.ts";
/** A supervisor in this process on a real Redis, called without a carrier: for tests of what is behind the handler. */
import { Keyring } from "../../src/auth/keyring.ts";
import { createSigner, type Signer } from "../../src/auth/signature.ts";
import { SupervisorClient } from "../../src/client/index.ts";
import { buildConfig } from "../../src/config.ts";
import { createLog, type Log } from "../../src/log.ts";
import type { Role } from "../../src/rpc/method.ts";
import type { Answer, Connection, Dialer, Listener, RequestHandler } from "../../src/rpc/transport.ts";
import { createRedisStore } from "../../src/store/redis-store.ts";
import type { Store } from "../../src/store/store.ts";
import { Supervisor } from "../../src/supervisor.ts";
import { startRedis, type TestRedis } from "./redis.ts";

export interface KeyWish extends Partial<Omit<EnrolledKey, "key" | "roles">> {
  readonly roles: readonly Role[];
}

export interface Node extends AsyncDisposable {
  readonly identity: string;
  readonly redis: TestRedis;
  readonly store: Store;
  readonly keyring: Keyring;
  readonly supervisor: Supervisor;
  readonly handler: RequestHandler;
  /** A key by its name; the same name gives the same key, enrolled or not. */
  signer(name: string): Signer;
  client(name: string): SupervisorClient;
  /** Sends a message as it is and parses what comes back. */
  send(message: unknown, connection?: Partial<Connection>): Promise<unknown>;
}

export interface NodeOptions {
  /** Enrolled keys by name: the principal is the name unless told, all runners are granted unless told. */
  readonly keys: Readonly<Record<string, KeyWish>>;
  readonly requirements?: readonly Requirement[];
  readonly settings?: string;
  /** Between two comparisons of keyrings, in ms. */
  readonly keyringCheckMs?: number;
  readonly onLog?: (line: string) => void;
  /** Name of the identity key; "supervisor" unless told. */
  readonly identity?: string;
  /** A server of the test's own, which outlives the node; a new one unless told. */
  readonly redis?: TestRedis;
  /** The carriers; none unless told. */
  readonly createListeners?: (handler: RequestHandler, log: Log) => readonly Listener[];
}

/** Secret of a named test key: stable, so that a test can be read again. */
export function testSeed(name: string): string {
  return Buffer.from(name.padEnd(32, ".")).subarray(0, 32).toString("hex");
}

export function testSigner(name: string): Signer {
  return createSigner(testSeed(name));
}

function enrolled(keys: NodeOptions["keys"]): readonly EnrolledKey[] {
  return Object.entries(keys).map(([name, wish]) => {
    const defaults = { name, principal: name, runners: ["*"], cancelRunning: false };
    return Object.assign(defaults, wish, { key: testSigner(name).publicKey });
  });
}

/** Starts Redis and a supervisor. */
export async function startNode(options: NodeOptions): Promise<Node> {
  const { keys, settings = "", onLog } = options;
  const redis = options.redis ?? (await startRedis());
  const stopRedis = async (): Promise<void> => (options.redis === undefined ? redis.stop() : undefined);
  const config = buildConfig({ file: { path: "test", text: settings }, env: { SUPERVISOR_REDIS_URL: redis.url } });
  const sink = { write: (line: string) => onLog?.(line) };
  const log = createLog({ level: onLog === undefined ? "silent" : "debug", pretty: false }, sink);
  const keyring = new Keyring(enrolled(keys), Date.now, options.requirements);
  const store = createRedisStore(redisStoreOptions(config, log));
  let handler: RequestHandler | undefined;
  const supervisor = new Supervisor({
    config,
    store,
    keyring,
    identitySeed: testSeed(options.identity ?? "supervisor"),
    version: "0.0.0-test",
    log,
    ...(options.keyringCheckMs === undefined ? {} : { keyringCheckMs: options.keyringCheckMs }),
    createListeners: (made) => {
      handler = made;
      return options.createListeners?.(made, log) ?? [];
    },
  });
  try {
    await supervisor.start();
  } catch (error) {
    await stopRedis();
    throw error;
  }
  if (handler === undefined) throw new Error("The supervisor made no handler.");
  const made = handler;
  return {
    identity: supervisor.identity,
    redis,
    store,
    keyring,
    supervisor,
    handler: made,
    signer: testSigner,
    client: (name) =>
      new SupervisorClient({
        dialer: inProcessDialer(made),
        signer: testSigner(name),
        supervisor: supervisor.identity,
      }),
    send: async (message, connection) => answerOf(await made.handle(toBytes(message), inProcess(connection))),
    async [Symbol.asyncDispose]() {
      await supervisor.stop();
      await stopRedis();
    },
  };
}

function toBytes(message: unknown): Uint8Array {
  return new TextEncoder().encode(typeof message === "string" ? message : JSON.stringify(message));
}

function answerOf(answer: Answer): unknown {
  return answer.bytes === undefined ? undefined : JSON.parse(new TextDecoder().decode(answer.bytes));
}

/** A connection that nobody hangs up. */
export function inProcess(wanted: Partial<Connection> = {}): Connection {
  return {
    peer: { transport: "in-process" },
    signal: new AbortController().signal,
    maxWaitMs: 25_000,
    maxAnswerBytes: 10 * 1024 * 1024,
    ...wanted,
  };
}

export function inProcessDialer(handler: RequestHandler): Dialer {
  return {
    url: "in-process:",
    validitySeconds: 120,
    maxWaitMs: 25_000,
    call: async ({ text, signal }) => {
      const answer = await handler.handle(toBytes(text), inProcess(signal === undefined ? {} : { signal }));
      return new TextDecoder().decode(answer.bytes);
    },
    close: async () => undefined,
  };
}
