/** Unique secrets through every flow: none of them is ever in a log line, the audit trail, an error, or a key's name in Redis. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { RpcError } from "../../src/client/index.ts";
import { aCall, aCreateJob } from "../support/calls.ts";
import { type Node, startNode, testSigner } from "../support/node.ts";
import { allKeys } from "../support/redis.ts";
import { registerRunner } from "../support/registration.ts";
import { objectOf } from "../support/signing.ts";

const CANARY = "canary-6f1d2c";
const SECRETS = {
  payload: `${CANARY}-payload`,
  env: `${CANARY}-env`,
  context: `${CANARY}-context`,
  member: `${CANARY}_member`,
  method: `${CANARY}-method`,
};

let node: Node;
const lines: string[] = [];
const answers: unknown[] = [];

beforeAll(async () => {
  node = await startNode({
    keys: {
      alice: { roles: ["submitter"] },
      bob: { roles: ["submitter"] },
      ops: { roles: ["registrar"] },
      root: { roles: ["admin"] },
      eve: { roles: ["observer"] },
    },
    requirements: [{ runner: "prod", principals: ["root"], atLeast: 1 }],
    onLog: (line) => lines.push(line),
  });
  await registerRunner(node, "build");
  await registerRunner(node, "prod");
});

afterAll(async () => node[Symbol.asyncDispose]());

async function send(message: unknown): Promise<void> {
  answers.push(await node.send(message));
}

/** Calls by somebody else than the owner, whatever comes of them. */
async function ask(
  by: string,
  method: "get_job" | "cancel_job" | "delete_job" | "get_job_logs",
  id: string,
): Promise<void> {
  try {
    answers.push(await node.client(by).call(method, { id }));
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    answers.push({ message: error.message, data: error.data });
  }
}

describe("secrets", () => {
  test("stay in the job's record and its owner's answers", async () => {
    const wanted = {
      supervisor: node.identity,
      payload: SECRETS.payload,
      env_vars: { TOKEN: SECRETS.env },
      context_id: SECRETS.context,
    };
    const good = await aCreateJob(testSigner("alice"), wanted);
    const { job, signatures } = good.params;
    const { id } = job;
    // Admitted, repeated, in conflict, forged, without rights, unapproved, malformed in several ways.
    await send(good);
    await send(good);
    await send(await aCreateJob(testSigner("alice"), { ...wanted, id, timeout: 5 }));
    await send({ ...good, params: { job: { ...job, timeout: 7 }, signatures } });
    await send(await aCreateJob(testSigner("eve"), wanted));
    await send(await aCreateJob(testSigner("mallory"), wanted));
    await send(await aCreateJob(testSigner("alice"), { ...wanted, runner: "prod" }));
    await send({ ...good, params: { job: { ...job, timeout: "x" }, signatures } });
    await send({ ...good, params: { job: { ...job, payload: 5, runner: SECRETS.payload }, signatures } });
    await send({ ...good, params: { job, signatures: [{ public_key: SECRETS.payload, signature: SECRETS.env }] } });
    await send({ ...good, method: SECRETS.method });
    await send(`{"jsonrpc":"2.0","id":1,"method":"create_job","params":{"job":{"payload":"${SECRETS.payload}`);
    await send(await aCall("get_job", { id: SECRETS.payload }, { aud: node.identity, signer: testSigner("alice") }));
    for (const by of ["bob", "eve", "mallory"]) {
      await ask(by, "get_job", id);
      await ask(by, "get_job_logs", id);
      await ask(by, "cancel_job", id);
      await ask(by, "delete_job", id);
    }
    await node.client("root").call("cancel_job", { id });
    await node.client("alice").call("delete_job", { id });

    const shown = JSON.stringify(answers);
    // An answer repeats what is wrong in a name or a member, never a value of payload or environment.
    expect(shown).not.toContain(SECRETS.payload);
    expect(shown).not.toContain(SECRETS.env);
    expect(lines.join("")).not.toContain(CANARY);
    expect((await allKeys(node.redis.client())).join("\n")).not.toContain(CANARY);
    const [first] = signatures;
    expect(lines.join("")).not.toContain(objectOf(JSON.stringify(first))["signature"]);
  });

  test("are not in the audit trail, which has a line for each of these decisions", () => {
    const trail = lines.filter((line) => line.includes('"event":"audit"'));
    const decisions = trail.map((line) => {
      const { what, outcome, code } = objectOf(line);
      return `${String(what)} ${String(outcome)} ${String(code)}`;
    });

    expect(new Set(decisions)).toEqual(
      new Set([
        "register_runner done 0",
        "create_job done 0",
        "create_job refused -32009",
        "create_job refused -32001",
        "create_job refused -32003",
        "create_job refused -32602",
        "get_job refused -32602",
        "get_job refused -32004",
        "get_job refused -32001",
        "get_job_logs refused -32004",
        "get_job_logs refused -32003",
        "get_job_logs refused -32001",
        "cancel_job refused -32004",
        "cancel_job refused -32003",
        "cancel_job refused -32001",
        "delete_job refused -32004",
        "delete_job refused -32003",
        "delete_job refused -32001",
        "cancel_job done 0",
        "delete_job done 0",
      ]),
    );
    expect(trail.join("")).not.toMatch(/payload|env_vars|"sig"|signature/u);
    expect(trail.find((line) => line.includes("-32009"))).toMatch(/"digest":"[0-9a-f]{64}"/u);
  });
});
