import { describe, expect, test } from "vitest";

import { type ErrorName, SupervisorError } from "../../../src/errors.ts";
import type { CallOutcome } from "../../../src/rpc/entry.ts";
import { SIGNED_JOB } from "../../../src/rpc/examples.ts";
import type { Answer } from "../../../src/rpc/transport.ts";
import { aConnection, aDispatcher, ALICE, anError, aRequest, ask, keptLog, send } from "../../support/dispatcher.ts";

describe("Dispatcher: errors", () => {
  test("shows a SupervisorError as it is", async () => {
    const refusal = new SupervisorError("wrongState", { message: "It runs", data: { state: "running" } });
    const handler = aDispatcher({ handlers: { get_info: async () => Promise.reject(refusal) } });

    expect(await ask(handler, aRequest("get_info"))).toStrictEqual({
      jsonrpc: "2.0",
      error: { code: -32010, message: "It runs", data: { state: "running" } },
      id: 1,
    });
  });

  const circular: Record<string, unknown> = {};
  circular["self"] = circular;
  test.each<[string, () => Promise<never>]>([
    ["an Error", async () => Promise.reject(new Error("WRONGTYPE secret"))],
    ["a string", async () => Promise.reject("secret")],
    ["undefined", async () => Promise.reject(undefined)],
    ["an internal SupervisorError", async () => Promise.reject(new SupervisorError("internal", { message: "secret" }))],
    ["an error whose data is no JSON", async () => Promise.reject(new SupervisorError("conflict", { data: circular }))],
    ["a throw before its promise", () => fail()],
  ])("says nothing of %s but an id to look for in the log", async (_name, get_info) => {
    const { log, lines } = keptLog();

    const answer = await ask(aDispatcher({ handlers: { get_info }, log }), aRequest("get_info"));

    expect(answer).toStrictEqual({
      jsonrpc: "2.0",
      error: { code: -32603, message: "Internal error", data: { request_id: "request-1" } },
      id: 1,
    });
    expect(lines.join("")).toContain('"request_id":"request-1"');
  });

  test.each([
    ["a circular one", circular],
    ["a bigint", { count: 1n }],
  ])("does not choke on a result that is no JSON: %s", async (_name, result) => {
    const { log, lines } = keptLog();
    const handler = aDispatcher({ handlers: { "rpc.discover": async () => result }, log });

    expect(await ask(handler, aRequest("rpc.discover"))).toMatchObject(anError(-32603));
    expect(lines).toHaveLength(1);
  });

  test("survives its own defects", async () => {
    const { log, lines } = keptLog();

    const answer = await aDispatcher({ onCall: fail, log }).handle(
      Buffer.from('{"jsonrpc":"2.0","id":1,"method":"x"}'),
      aConnection(),
    );

    expect(Buffer.from(answer.bytes ?? []).toString()).toBe(
      '{"jsonrpc":"2.0","error":{"code":-32603,"message":"Internal error","data":{"request_id":"request-1"}},"id":null}',
    );
    expect(answer).toMatchObject({ isRepeatable: false, keys: [] });
    expect(lines.join("")).toContain("dispatch_failed");
  });

  test("tells metrics about every entry, never with a name of the caller's making", async () => {
    const outcomes: CallOutcome[] = [];
    let now = 0;
    const handler = aDispatcher({
      onCall: (outcome) => void outcomes.push(outcome),
      now: () => (now += 5),
      limits: { concurrency: 1 },
    });
    const { id: _id, ...notification } = aRequest("whoami");

    await send(handler, [aRequest("whoami", ALICE), aRequest("x".repeat(100)), 1, notification, aRequest("whoami")]);

    const transport = "in-process";
    expect(outcomes.map(({ method, code, ms, transport: name }) => ({ method, code, ms, transport: name }))).toEqual([
      { method: "whoami", code: 0, ms: 5, transport },
      { method: "unknown", code: -32601, ms: 5, transport },
      { method: "unknown", code: -32600, ms: 5, transport },
      { method: "whoami", code: 0, ms: 5, transport },
      { method: "whoami", code: -32001, ms: 5, transport },
    ]);
  });

  test("times calls by the clock of the machine unless given one", async () => {
    const outcomes: CallOutcome[] = [];

    await send(aDispatcher({ onCall: (outcome) => void outcomes.push(outcome) }), aRequest("whoami", ALICE));

    expect(outcomes[0]?.ms).toBeGreaterThanOrEqual(0);
  });
});

describe("Dispatcher: what a carrier may do with an answer", () => {
  test("names the principals and keys that were verified, each once", async () => {
    const answer = await answerTo([
      aRequest("whoami", ALICE),
      aRequest("whoami", ALICE),
      aRequest("whoami", { auth: "root" }),
      aRequest("get_info"),
    ]);

    expect(answer).toMatchObject({
      principals: ["alice", "root"],
      keys: ["key of alice", "key of root"],
      isRepeatable: false,
    });
  });

  test("names whom a handler has verified", async () => {
    const answer = await answerTo(aRequest("create_job", { job: SIGNED_JOB.job, signatures: [] }));

    expect(answer).toMatchObject({ principals: ["alice"], keys: [SIGNED_JOB.job.caller_id], isRepeatable: true });
  });

  test.each([
    ["a verified result", aRequest("whoami", ALICE), {}, true],
    ["a final error of a verified call", aRequest("list_peers", ALICE), {}, true],
    ["not found", aRequest("whoami", ALICE), fails("notFound"), true],
    ["a replay", aRequest("whoami", ALICE), fails("replay"), false],
    ["too many", aRequest("whoami", ALICE), fails("tooMany"), false],
    ["unavailable", aRequest("whoami", ALICE), fails("unavailable"), false],
    ["a defect", aRequest("whoami", ALICE), fails("internal"), false],
    ["an open method", aRequest("get_info"), {}, false],
    ["a bad signature", aRequest("whoami"), {}, false],
    ["no JSON-RPC", 1, {}, false],
    ["an empty batch", [], {}, false],
    ["a verified batch", [aRequest("whoami", ALICE)], {}, true],
    ["a batch with one open method", [aRequest("whoami", ALICE), aRequest("get_info")], {}, false],
    ["a notification", { jsonrpc: "2.0", method: "whoami", params: ALICE }, {}, false],
  ])("may give it again: %s", async (_name, message, options, isRepeatable) => {
    expect(await answerTo(message, options)).toMatchObject({ isRepeatable });
  });
});

function fail(): never {
  throw new Error("secret");
}

async function answerTo(message: unknown, options: Parameters<typeof aDispatcher>[0] = {}): Promise<Answer> {
  return aDispatcher(options).handle(Buffer.from(JSON.stringify(message)), aConnection());
}

function fails(name: ErrorName): Parameters<typeof aDispatcher>[0] {
  return { handlers: { whoami: async () => Promise.reject(new SupervisorError(name)) } };
}
