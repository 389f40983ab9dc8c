/** A supervisor on a real Redis, reached over WebSocket, with a runner whose work the test does by hand. */
import { randomBytes } from "node:crypto";

import { buildJob, signJob, SupervisorClient } from "../../src/client/index.ts";
import type { LogEntry } from "../../src/rpc/schema.ts";
import type { Dialer } from "../../src/rpc/transport.ts";
import type { Lease } from "../../src/runner/source.ts";
import type { RedisJobSource } from "../../src/store/redis-source.ts";
import { createWebSocketDialer } from "../../transports/websocket/dialer.ts";
import { aCall, loginParams } from "./calls.ts";
import { type Node, type NodeOptions, startNode, testSigner } from "./node.ts";
import { attachSource } from "./registration.ts";
import { objectOf } from "./signing.ts";
import { aPlainClient, aWebSocketListener, type PlainClient, type StartedWebSocketListener } from "./websocket.ts";

export interface WebSocketNode extends AsyncDisposable {
  readonly node: Node;
  readonly server: StartedWebSocketListener;
  readonly source: RedisJobSource;
  /** A job of this caller, waiting. */
  submit(by: string): Promise<string>;
  /** The job that waits, claimed. */
  claim(): Promise<Lease>;
  /** A client with its own connection, by the caller's key. */
  connect(by: string): { readonly client: SupervisorClient; readonly dialer: Dialer } & AsyncDisposable;
}

const KEYS: NodeOptions["keys"] = {
  alice: { roles: ["submitter"] },
  "alice-phone": { roles: ["submitter"], principal: "alice" },
  bob: { roles: ["submitter"] },
  eve: { roles: ["observer"] },
  root: { roles: ["admin"] },
  ops: { roles: ["registrar"] },
  "build-1": { roles: ["runner"] },
};

type Wishes = Partial<NodeOptions> & { readonly limits?: Parameters<typeof aWebSocketListener>[0] };

/** Starts all of it, with runner `build-1` attached. */
export async function startWebSocketNode({ limits, ...wanted }: Wishes = {}): Promise<WebSocketNode> {
  const node = await startNode({ keys: KEYS, ...wanted });
  const server = await aWebSocketListener({ ...limits, handler: node.handler });
  const source = await attachSource({
    name: "build-1",
    registrar: node.client("ops"),
    supervisor: node.identity,
    redisUrl: node.redis.url,
  });
  return {
    node,
    server,
    source,
    async submit(by) {
      const { publicKey: caller } = testSigner(by);
      const job = buildJob({ supervisor: node.identity, caller, runner: "build-1", payload: "true" });
      const { id } = await node.client(by).submitJob(await signJob(testSigner(by), job));
      return id;
    },
    async claim() {
      const [claimed] = await source.claim(1, randomBytes(16).toString("hex"));
      if (claimed === undefined) throw new Error("No job was waiting.");
      return claimed.lease;
    },
    connect(by) {
      const dialer = createWebSocketDialer(server.url);
      const client = new SupervisorClient({ dialer, signer: testSigner(by), supervisor: node.identity });
      return { client, dialer, [Symbol.asyncDispose]: async () => dialer.close() };
    },
    async [Symbol.asyncDispose]() {
      await source.stop();
      await server[Symbol.asyncDispose]();
      await node[Symbol.asyncDispose]();
    },
  };
}

export function aLine(seq: number, text = `line ${seq}`): LogEntry {
  return { attempt: 1, seq, time_ms: 1, stream: "stdout", text };
}

/** A connection whose calls a test writes by hand. */
export class Conversation implements AsyncDisposable {
  readonly plain: PlainClient;
  readonly #identity: string;
  #lastId = 0;

  constructor(plain: PlainClient, identity: string) {
    this.plain = plain;
    this.#identity = identity;
  }

  static async open({ node, server }: WebSocketNode): Promise<Conversation> {
    return new Conversation(await aPlainClient(server.url), node.identity);
  }

  /** Sends a call without a signature. Gives its result, or its error's code. */
  async ask(method: string, params: object = {}): Promise<unknown> {
    this.#lastId += 1;
    const id = `ask-${this.#lastId}`;
    this.plain.send({ jsonrpc: "2.0", id, method, params });
    return this.#answer(id);
  }

  /** The same, signed. */
  async askAs(by: string, method: string, params: object = {}): Promise<unknown> {
    const call = await aCall(method, params, { aud: this.#identity, signer: testSigner(by) });
    return this.ask(method, call.params);
  }

  /** `params` of a login over this challenge. */
  async loginParams(by: string, challenge: string, times: object = {}): Promise<object> {
    return loginParams(challenge, { aud: this.#identity, signer: testSigner(by) }, times);
  }

  async challenge(): Promise<string> {
    return String(objectOf(JSON.stringify(await this.ask("auth_challenge")))["challenge"]);
  }

  async logIn(by: string): Promise<unknown> {
    return this.ask("auth_login", await this.loginParams(by, await this.challenge()));
  }

  /** Every `job_event` so far: a state's name, a log line's text, or an end's reason. */
  get events(): readonly string[] {
    return this.plain.messages.flatMap((message) => {
      const { method, params } = objectOf(JSON.stringify(message));
      if (method !== "job_event") return [];
      const { event } = objectOf(JSON.stringify(params));
      const { type, job, entry, reason } = objectOf(JSON.stringify(event));
      if (type === "state") return [String(objectOf(JSON.stringify(job))["state"])];
      return [type === "log" ? String(objectOf(JSON.stringify(entry))["text"]) : `end: ${String(reason)}`];
    });
  }

  async #answer(id: string): Promise<unknown> {
    for (let seen = 0; ; seen = this.plain.messages.length) {
      const messages = await this.plain.waitForMessages(seen + 1);
      for (const message of messages) {
        const { id: answered, result, error } = objectOf(JSON.stringify(message));
        if (answered === id) return result ?? objectOf(JSON.stringify(error))["code"];
      }
      if (this.plain.closed !== undefined) return "closed";
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.plain[Symbol.asyncDispose]();
  }
}
