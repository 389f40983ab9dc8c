import { setTimeout as sleep } from "node:timers/promises";

import * as fc from "fast-check";
import { describe, expect, test, vi } from "vitest";

import { SupervisorError } from "../../../src/errors.ts";
import { JOB_ID, JOB_SUMMARY } from "../../../src/rpc/examples.ts";
import type { JobSummary } from "../../../src/rpc/schema.ts";
import { aConnection, aDispatcher, ALICE, anError, aRequest, ask, send } from "../../support/dispatcher.ts";

describe("Dispatcher: batches", () => {
  test("carries out a bounded number of entries at a time and answers in their order", async () => {
    let present = 0;
    let most = 0;
    const whoami = async (): Promise<never> => {
      most = Math.max(most, ++present);
      await sleep(present % 3);
      present--;
      throw new SupervisorError("notFound");
    };
    const ids = Array.from({ length: 50 }, (_, index) => index);

    const answer = await ask(
      aDispatcher({ handlers: { whoami }, limits: { concurrency: 4 } }),
      ids.map((id) => aRequest("whoami", ALICE, id)),
    );

    expect(most).toBe(4);
    expect(answer).toMatchObject(ids.map((id) => ({ id, error: { code: -32004 } })));
  });

  test("answers only the requests among notifications", async () => {
    const { id: _id, ...notification } = aRequest("whoami", ALICE);

    const answer = await ask(aDispatcher(), [notification, aRequest("rpc.discover", {}, 2), notification]);

    expect(answer).toStrictEqual([{ jsonrpc: "2.0", result: { openrpc: "1.3.2" }, id: 2 }]);
  });
});

describe("Dispatcher: answers that are too large", () => {
  const tooLarge = anError(-32013, { limit: "max_answer_bytes", allowed: 1000 });
  const connection = aConnection({ maxAnswerBytes: 1000 });
  const overhead = JSON.stringify({ jsonrpc: "2.0", result: { text: "" }, id: 1 }).length;

  test("takes one of exactly the limit and replaces one beyond", async () => {
    expect(await send(textOf(1000 - overhead), aRequest("rpc.discover"), connection)).toHaveLength(1000);
    expect(await ask(textOf(1001 - overhead), aRequest("rpc.discover"), connection)).toMatchObject({
      id: 1,
      ...tooLarge,
    });
  });

  test("counts bytes, not characters", async () => {
    const handler = aDispatcher({ handlers: { "rpc.discover": async () => ({ text: "é".repeat(900) }) } });

    expect(await ask(handler, aRequest("rpc.discover"), connection)).toMatchObject({ id: 1, ...tooLarge });
  });

  test("leaves out an id that is too long itself", async () => {
    expect(await ask(textOf(10), aRequest("rpc.discover", {}, "i".repeat(1000)), connection)).toMatchObject({
      id: null,
      ...tooLarge,
    });
    expect(await ask(textOf(10), [aRequest("rpc.discover", {}, "i".repeat(1000))], connection)).toMatchObject({
      id: null,
      ...tooLarge,
    });
  });

  test("does not carry out a batch whose outcome could not be told", async () => {
    const cancel_job = vi.fn<() => Promise<JobSummary>>(async () => JOB_SUMMARY);
    const batch = Array.from({ length: 10 }, (_, id) => aRequest("cancel_job", { id: JOB_ID, ...ALICE }, id));

    const answer = await ask(aDispatcher({ handlers: { cancel_job } }), batch, connection);

    expect(answer).toMatchObject({ id: null, ...tooLarge });
    expect(cancel_job).not.toHaveBeenCalled();
  });

  test("replaces what does not fit into a batch and keeps the rest", async () => {
    const lengths = [100, 5000, 100];
    const handler = aDispatcher({
      limits: { concurrency: 1 },
      handlers: { "rpc.discover": async () => ({ text: "x".repeat(lengths.shift() ?? 0) }) },
    });

    const answer = await ask(
      handler,
      [1, 2, 3].map((id) => aRequest("rpc.discover", {}, id)),
      connection,
    );

    const fine = { result: { text: "x".repeat(100) } };
    expect(answer).toMatchObject([
      { id: 1, ...fine },
      { id: 2, ...tooLarge },
      { id: 3, ...fine },
    ]);
  });

  test("never gives more than the carrier takes", async () => {
    const entry = fc.record({ id: fc.oneof(fc.string({ maxLength: 40 }), fc.integer()), length: fc.nat(600) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(entry, { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 200, max: 3000 }),
        async (entries, maxAnswerBytes) => {
          const lengths = entries.map(({ length }) => length);
          const handler = aDispatcher({
            handlers: { "rpc.discover": async () => ({ text: "é".repeat(lengths.shift() ?? 0) }) },
          });

          const answer = await send(
            handler,
            entries.map(({ id }) => aRequest("rpc.discover", {}, id)),
            aConnection({ maxAnswerBytes }),
          );

          expect(Buffer.byteLength(answer ?? "")).toBeLessThanOrEqual(maxAnswerBytes);
          expect((): unknown => JSON.parse(answer ?? "")).not.toThrow();
        },
      ),
      { numRuns: 300 },
    );
  });
});

function textOf(length: number): ReturnType<typeof aDispatcher> {
  return aDispatcher({ handlers: { "rpc.discover": async () => ({ text: "x".repeat(length) }) } });
}
