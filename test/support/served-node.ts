/** A supervisor on a real Redis, served over HTTP and WebSocket on one port, with what a client needs to talk to it. */
import { buildJob, type JobOptions, type SignedJob, signJob } from "../../src/client/index.ts";
import { createHttpListener } from "../../transports/http/listener.ts";
import { createWebSocketListener } from "../../transports/websocket/listener.ts";
import { aCall } from "./calls.ts";
import { httpOptions } from "./http.ts";
import { type Node, type NodeOptions, startNode, testSigner } from "./node.ts";
import { registerRunner } from "./registration.ts";
import { webSocketOptions } from "./websocket.ts";

export interface ServedNode extends AsyncDisposable {
  readonly node: Node;
  readonly httpUrl: string;
  readonly webSocketUrl: string;
  /** Params of `create_job`, signed by alice, for the runner `build`. */
  jobParams(wanted?: Partial<JobOptions>): Promise<SignedJob>;
  /** Params of a call signed by alice, `ageSeconds` ago. */
  callParams(method: string, params?: object, ageSeconds?: number): Promise<object>;
}

type Wishes = Partial<NodeOptions> & {
  readonly allowedOrigins?: readonly string[];
  /** Registered by ops; `build` unless told. */
  readonly runner?: string;
};

/** Starts it on a free port of loopback; alice submits, ops registers. */
export async function startServedNode({
  allowedOrigins = [],
  runner = "build",
  ...wanted
}: Wishes = {}): Promise<ServedNode> {
  let httpUrl = "";
  const node = await startNode({
    keys: { alice: { roles: ["submitter"] }, ops: { roles: ["registrar"] } },
    createListeners: (handler) => {
      const webSocket = createWebSocketListener(webSocketOptions({ handler, httpUrl: () => http.status().url }));
      const http = createHttpListener(httpOptions({ handler, allowedOrigins, onUpgrade: webSocket.upgrade }));
      return [http, webSocket];
    },
    ...wanted,
  });
  for (const listener of node.supervisor.listeners) if (listener.name === "http") httpUrl = listener.status().url ?? "";
  await registerRunner(node, runner);
  const alice = testSigner("alice");
  return {
    node,
    httpUrl,
    webSocketUrl: httpUrl.replace(/^http/u, "ws"),
    async jobParams(members = {}) {
      const job = buildJob({
        supervisor: node.identity,
        caller: alice.publicKey,
        runner: "build",
        payload: "true",
        ...members,
      });
      return signJob(alice, job);
    },
    async callParams(method, params = {}, ageSeconds = 0) {
      const iat = Math.floor(Date.now() / 1000) - ageSeconds;
      const call = await aCall(method, params, { aud: node.identity, signer: alice, iat, exp: iat + 120 });
      return call.params;
    },
    [Symbol.asyncDispose]: async () => node[Symbol.asyncDispose](),
  };
}
