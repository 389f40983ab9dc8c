/** The examples of the OpenRPC document: each is carried out by a supervisor, and its bytes are taken as they stand. */
import { Compile } from "typebox/compile";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { createAuthenticator } from "../../../src/auth/authenticate.ts";
import { Keyring } from "../../../src/auth/keyring.ts";
import { createVerifier } from "../../../src/auth/native-verifier.ts";
import { signDocument } from "../../../src/auth/signature.ts";
import type { CallContext } from "../../../src/rpc/context.ts";
import { EXAMPLE_KEYS, SIGNED_JOB } from "../../../src/rpc/examples.ts";
import { METHODS } from "../../../src/rpc/methods.ts";
import { DEFAULT_SERVERS, openRpcDocument, type OpenRpcMethod } from "../../../src/rpc/openrpc.ts";
import { aDispatcher, ask } from "../../support/dispatcher.ts";
import { testSigner } from "../../support/node.ts";
import { startServedNode, type ServedNode } from "../../support/served-node.ts";
import { anEnrolledKey, objectOf } from "../../support/signing.ts";
import { waitUntil } from "../../support/wait.ts";
import { aPlainClient, type PlainClient } from "../../support/websocket.ts";

const { methods } = openRpcDocument({ version: "1.2.3", servers: DEFAULT_SERVERS, limits: {} });
/** When the examples were signed, UNIX seconds. */
const SIGNED = 1_790_000_030;
const CHALLENGE = "f".repeat(64);
const METHODS_WITHOUT_AUTH = new Set(
  Object.entries(METHODS).flatMap(([name, { credential }]) => (credential === "none" ? [name] : [])),
);

interface Call {
  readonly params: object;
  readonly context: CallContext;
  readonly result: unknown;
}

function paramsOf({ examples: [example] }: OpenRpcMethod): Readonly<Record<string, unknown>> {
  return Object.fromEntries(example?.params.map(({ name, value }) => [name, value]) ?? []);
}

describe("The bytes of an example", () => {
  const authenticator = createAuthenticator({
    identity: EXAMPLE_KEYS.supervisor,
    keyring: new Keyring([anEnrolledKey({ roles: ["submitter", "admin"] })], () => SIGNED * 1000),
    verifier: createVerifier({ crypto: "native", maxInFlight: 4 }),
    replay: {
      claimNonce: async ({ iat, exp }) =>
        iat <= SIGNED && SIGNED < exp ? { outcome: "fresh" } : { outcome: "stale", now: SIGNED },
    },
    now: () => SIGNED * 1000,
  });

  /** The result, for a job only if its signatures are good. */
  async function verified(name: string, call: Call): Promise<unknown> {
    const { signatures, connection } = call.context;
    if (name !== "create_job") return call.result;
    await authenticator.verifyJobSignatures({ job: SIGNED_JOB.job, signatures, peer: connection.peer });
    expect(call.params).toStrictEqual({ job: SIGNED_JOB.job });
    return call.result;
  }

  test.each(methods)("of $name are good at their time, and get the answer they promise", async (method) => {
    const { name, examples } = method;
    const result = examples[0]?.result.value;
    const handler = aDispatcher({
      handlers: { [name]: async (params: object, context: CallContext) => verified(name, { params, context, result }) },
      authenticate: async (call) => authenticator.authenticateCall(call),
      sessions: {
        verify: async ({ peer }, auth) => authenticator.verifyLogin({ auth, challenge: CHALLENGE, peer }),
        find: async () => undefined,
      },
    });

    const answer = await ask(handler, { jsonrpc: "2.0", id: 1, method: name, params: paramsOf(method) });

    expect(answer).toStrictEqual({ jsonrpc: "2.0", result, id: 1 });
  });
});

/** In this order each finds what it needs. `wait_job` is asked before `cancel_job`, which ends it. */
const ORDER = [
  ["get_info", "whoami", "list_peers"],
  ["register_runner", "list_runners", "get_runner_status"],
  ["create_job", "get_job", "list_jobs", "get_job_logs"],
  ["auth_challenge", "auth_login", "subscribe_job", "unsubscribe_job"],
  ["wait_job", "cancel_job", "delete_job"],
  ["remove_runner"],
].flat();

describe("An example, signed anew for a supervisor that runs,", () => {
  let served: ServedNode;
  let socket: PlainClient;
  const results = new Map<string, unknown>();
  const caller = testSigner("alice");

  beforeAll(async () => {
    const keys = { alice: { roles: ["submitter", "admin"] }, ops: { roles: ["registrar"] } } as const;
    served = await startServedNode({ keys, runner: "spare" });
    socket = await aPlainClient(served.webSocketUrl);
    for (const name of ORDER) {
      socket.send({ jsonrpc: "2.0", id: name, method: name, params: await freshParams(name) });
      if (name !== "wait_job") await waitUntil(() => answers().has(name));
    }
    await waitUntil(() => answers().has("wait_job"));
    for (const [id, answer] of answers()) results.set(id, answer["result"] ?? answer["error"]);
  });
  afterAll(async () => {
    await socket[Symbol.asyncDispose]();
    await served[Symbol.asyncDispose]();
  });

  function answers(): ReadonlyMap<string, Readonly<Record<string, unknown>>> {
    const all = socket.received.map(objectOf).filter(({ id }) => id !== undefined);
    return new Map(all.map((answer) => [String(answer["id"]), answer]));
  }

  /** The example's params with the keys, the identity and the time that are now, and signatures over that. */
  async function freshParams(name: string): Promise<object> {
    const method = methods.find((each) => each.name === name);
    if (method === undefined) throw new Error(`No method ${name} in the document`);
    const { auth: _auth, ...params } = objectOf(fresh(JSON.stringify(paramsOf(method))));
    if (name === "create_job") return served.jobParams(objectOf(JSON.stringify(params["job"])));
    if (name === "register_runner") {
      const registration = objectOf(JSON.stringify(params["registration"]));
      const { signature } = await signDocument(testSigner("build-1"), "runner", registration);
      return served.callParams(name, { registration, signature });
    }
    if (name === "auth_login") return login();
    return METHODS_WITHOUT_AUTH.has(name) ? params : served.callParams(name, params);
  }

  function fresh(text: string): string {
    const later = Math.floor(Date.now() / 1000) - SIGNED;
    return text
      .replaceAll(EXAMPLE_KEYS.caller, caller.publicKey)
      .replaceAll(EXAMPLE_KEYS.runner, testSigner("build-1").publicKey)
      .replaceAll(EXAMPLE_KEYS.supervisor, served.node.identity)
      .replaceAll(/\b1790\d{6}\b/gu, (time) => String(Number(time) + later));
  }

  async function login(): Promise<object> {
    const { result } = answers().get("auth_challenge") ?? {};
    const { challenge } = objectOf(JSON.stringify(result));
    const iat = Math.floor(Date.now() / 1000);
    const body = { v: 1, aud: served.node.identity, key: caller.publicKey, challenge, iat, exp: iat + 60 };
    const { signature } = await signDocument(caller, "login", body);
    return { auth: { ...body, sig: signature } };
  }

  test("stands in a document that says where this supervisor is", () => {
    const { servers } = objectOf(served.node.supervisor.openRpcText);

    expect(servers).toStrictEqual([
      { name: "http", url: served.httpUrl },
      { name: "websocket", url: served.httpUrl.replace("http", "ws") },
    ]);
  });

  test("is one of every method", () => {
    expect(ORDER.toSorted()).toStrictEqual(methods.map(({ name }) => name).toSorted());
  });

  test.each(methods)("gets a result of $name that its published schema takes to the letter", ({ name, result }) => {
    expect(Compile(result.schema).Errors(results.get(name))).toStrictEqual([]);
  });
});
