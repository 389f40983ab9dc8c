import * as fc from "fast-check";
import { describe, expect, test, vi } from "vitest";

import { SupervisorError } from "../../../src/errors.ts";
import type { CallContext, Handlers } from "../../../src/rpc/context.ts";
import type { DispatcherOptions } from "../../../src/rpc/dispatcher.ts";
import { JOB_ID, JOB_SUMMARY, SIGNED_JOB } from "../../../src/rpc/examples.ts";
import { METHODS } from "../../../src/rpc/methods.ts";
import type { JobSummary } from "../../../src/rpc/schema.ts";
import type { RequestHandler } from "../../../src/rpc/transport.ts";
import {
  aConnection,
  aDispatcher,
  ALICE,
  anError,
  aRequest,
  ask,
  authenticateByName,
  send,
} from "../../support/dispatcher.ts";

describe("Dispatcher", () => {
  test.each(Object.entries(METHODS).map(([name, method]) => ({ name, method })))(
    "carries out the example of $name",
    async ({ name, method }) => {
      const authenticate = async () => authenticateByName({ method: name, auth: "root" });
      const credential = { none: {}, call: {}, signatures: { signatures: [] }, login: { auth: "root" } }[
        method.credential
      ];
      const isGranted = method.credential !== "call" || "admin" in method.access;

      const answer = await ask(
        aDispatcher({ authenticate }),
        aRequest(name, { ...method.example.params, ...credential }),
      );

      expect(answer).toHaveProperty(isGranted ? "result" : "error.code", ...(isGranted ? [] : [-32003]));
    },
  );

  test("answers null where a handler gives undefined", async () => {
    // What a handler written without types may do.
    const handler = aDispatcher({ handlers: { "rpc.discover": vi.fn<Handlers["rpc.discover"]>() } });

    expect(await send(handler, aRequest("rpc.discover"))).toBe('{"jsonrpc":"2.0","result":null,"id":1}');
  });

  test("gives each carrier's own limits their names", async () => {
    const handler = aDispatcher({ limits: { maxBodyBytes: 50, maxBatch: 2 } });

    expect(await ask(handler, " ".repeat(51))).toMatchObject(
      anError(-32013, { limit: "max_body_bytes", allowed: 50, present: 51 }),
    );
    expect(await ask(handler, [1, 2, 3])).toMatchObject(
      anError(-32029, { limit: "max_batch", allowed: 2, present: 3 }),
    );
    expect(await ask(handler, [1, 2])).toHaveLength(2);
  });

  test("hands on the callbacks about revoked keys", () => {
    const stop = vi.fn<() => void>();
    const onRevoked = vi.fn<RequestHandler["onRevoked"]>(() => stop);
    const callback = vi.fn<(key: string) => void>();

    expect(aDispatcher({ onRevoked }).onRevoked(callback)).toBe(stop);
    expect(onRevoked).toHaveBeenCalledWith(callback);
  });

  test("never throws, whatever comes", async () => {
    const handler = aDispatcher();
    const members = fc.record(
      {
        jsonrpc: fc.constantFrom("2.0", "1.0", 2),
        id: fc.jsonValue(),
        method: fc.oneof(fc.constantFrom(...Object.keys(METHODS)), fc.jsonValue()),
        params: fc.jsonValue(),
      },
      { requiredKeys: [] },
    );
    const text = fc.oneof(
      fc.string(),
      members.map((value) => JSON.stringify(value)),
      fc.array(members).map((value) => JSON.stringify(value)),
    );

    const bytes = fc.oneof(
      fc.uint8Array(),
      text.map((each) => Buffer.from(each)),
    );

    await fc.assert(
      fc.asyncProperty(bytes, async (message) => {
        const { bytes: answer } = await handler.handle(message, aConnection());
        expect(Buffer.from(answer ?? "").toString()).toMatch(/^$|^\[?\{"jsonrpc":"2\.0",/);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("Dispatcher: what a handler gets", () => {
  test("holds the caller, how far they reach, and what was signed", async () => {
    const context = await contextOf({ auth: "olga" });

    expect(context.caller).toMatchObject({ principal: "olga", reach: "redacted" });
    expect(context.signedCall).toBe("wait_job by olga");
    expect(context.signatures).toBeUndefined();
    expect(context.requestId).toBe("request-1");
    expect(context.connection.peer).toStrictEqual({ transport: "in-process" });
  });

  test("holds the signatures of a job as they came, and nobody as caller", async () => {
    const contexts: CallContext[] = [];
    const create_job = async (_params: object, context: CallContext) => {
      contexts.push(context);
      throw new SupervisorError("unauthenticated");
    };
    const handler = aDispatcher({ handlers: { create_job } });

    await send(handler, aRequest("create_job", { job: SIGNED_JOB.job, signatures: { any: "thing" } }));
    await send(handler, aRequest("create_job", { job: SIGNED_JOB.job }));

    expect(contexts.map(({ signatures, caller }) => [signatures, caller])).toStrictEqual([
      [{ any: "thing" }, undefined],
      [undefined, undefined],
    ]);
  });

  test("makes one request id a call", async () => {
    let made = 0;
    const ids: string[] = [];
    const get_info = async (_params: object, context: CallContext) => {
      ids.push(context.requestId, context.requestId);
      throw new Error("defect");
    };
    const handler = aDispatcher({ handlers: { get_info }, newRequestId: () => `id-${++made}` });

    const answer = await ask(handler, [aRequest("get_info"), aRequest("get_info")]);

    expect(ids.toSorted()).toStrictEqual(["id-1", "id-1", "id-2", "id-2"]);
    expect(answer).toMatchObject([anError(-32603, { request_id: "id-1" }), anError(-32603, { request_id: "id-2" })]);
  });

  test("is cut to the wait that the carrier holds, but signed as it was asked for", async () => {
    const waits: unknown[] = [];
    const signed: unknown[] = [];
    const handler = aDispatcher({
      authenticate: async (call) => {
        signed.push(call.params);
        return authenticateByName(call);
      },
      handlers: {
        wait_job: async ({ wait_ms }) => {
          waits.push(wait_ms);
          return JOB_SUMMARY;
        },
      },
    });

    for (const wait of [{ wait_ms: 240_000 }, { wait_ms: 10 }, {}]) {
      await send(handler, aRequest("wait_job", { id: JOB_ID, ...wait, ...ALICE }), aConnection({ maxWaitMs: 500 }));
    }

    expect(waits).toStrictEqual([500, 10, undefined]);
    expect(signed).toStrictEqual([{ id: JOB_ID, wait_ms: 240_000 }, { id: JOB_ID, wait_ms: 10 }, { id: JOB_ID }]);
  });
});

describe("Dispatcher: order of the checks", () => {
  test("asks the address limit for every entry, before anything else", async () => {
    const charged: unknown[] = [];
    const authenticate = vi.fn<DispatcherOptions["authenticate"]>(authenticateByName);
    const handler = aDispatcher({
      authenticate,
      addressLimit: (peer, cost) => {
        charged.push([peer.address, cost]);
        return 1500.2;
      },
    });
    const batch = [aRequest("whoami", ALICE), 1, aRequest("nothing"), { jsonrpc: "2.0", method: "whoami" }];

    const answer = await ask(handler, batch, aConnection({ peer: { transport: "http", address: "192.0.2.1" } }));

    const refused = anError(-32029, { limit: "address_calls_per_second", retry_after_ms: 1501 });
    expect(answer).toMatchObject([refused, refused, refused]);
    expect(charged).toStrictEqual(batch.map(() => ["192.0.2.1", 1]));
    expect(authenticate).not.toHaveBeenCalled();
  });

  test("charges more for the document, which anybody may ask for and which is long", async () => {
    const costs: number[] = [];
    const addressLimit = (_peer: unknown, cost: number): number => {
      costs.push(cost);
      return 0;
    };

    await send(aDispatcher({ addressLimit }), [aRequest("rpc.discover"), aRequest("get_info")]);

    expect(costs).toStrictEqual([20, 1]);
  });

  test("charges for each signature of a job, since each may be one to check", async () => {
    const costs: number[] = [];
    const addressLimit = (_peer: unknown, cost: number): number => {
      costs.push(cost);
      return 0;
    };
    const signed = [0, 1, 5, 16, 1000].map((count) => ({ signatures: Array.from({ length: count }, () => ({})) }));
    const odd = [undefined, [], { signatures: { length: 9 } }, {}];
    const batch = [...signed, ...odd].map((params) => aRequest("create_job", params));

    await send(aDispatcher({ addressLimit }), batch);

    expect(costs).toStrictEqual([1, 1, 5, 16, 16, 1, 1, 1, 1]);
  });

  test("checks params before the signature, the signature before the role, the role before the key's limit", async () => {
    const steps: string[] = [];
    const handler = aDispatcher({
      authenticate: async (call) => {
        steps.push("signature");
        return authenticateByName(call);
      },
      keyLimit: ({ principal }) => {
        steps.push(`limit of ${principal}`);
        return 7;
      },
    });

    expect(await ask(handler, aRequest("list_peers", { x: 1 }))).toMatchObject(anError(-32602));
    expect(steps).toStrictEqual([]);
    expect(await ask(handler, aRequest("list_peers", { auth: "mallory" }))).toMatchObject(anError(-32001));
    expect(await ask(handler, aRequest("list_peers", ALICE))).toMatchObject(anError(-32003));
    expect(steps).toStrictEqual(["signature", "signature"]);
    expect(await ask(handler, aRequest("list_peers", { auth: "root" }))).toMatchObject(
      anError(-32029, { limit: "rate", retry_after_ms: 7 }),
    );
    expect(steps.at(-1)).toBe("limit of root");
  });

  test("carries out no notification", async () => {
    const called = vi.fn<() => Promise<JobSummary>>(async () => JOB_SUMMARY);
    const authenticate = vi.fn<DispatcherOptions["authenticate"]>(authenticateByName);
    const handler = aDispatcher({ authenticate, handlers: { cancel_job: called, wait_job: called } });
    const notifications = ["cancel_job", "wait_job"].map((method) => {
      const { id: _id, ...notification } = aRequest(method, { id: JOB_ID, ...ALICE });
      return notification;
    });

    for (const message of [...notifications, notifications]) expect(await send(handler, message)).toBeUndefined();

    expect(called).not.toHaveBeenCalled();
    expect(authenticate).not.toHaveBeenCalled();
  });
});

async function contextOf(params: object): Promise<CallContext> {
  const contexts: CallContext[] = [];
  const wait_job = async (_params: object, context: CallContext) => {
    contexts.push(context);
    return JOB_SUMMARY;
  };
  await send(aDispatcher({ handlers: { wait_job } }), aRequest("wait_job", { id: JOB_ID, ...params }));
  const [context] = contexts;
  if (context === undefined) throw new Error("not called");
  return context;
}
