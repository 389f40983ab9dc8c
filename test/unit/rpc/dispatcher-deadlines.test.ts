import { afterEach, describe, expect, test, vi } from "vitest";

import { SupervisorError } from "../../../src/errors.ts";
import type { CallContext } from "../../../src/rpc/context.ts";
import { JOB_ID } from "../../../src/rpc/examples.ts";
import { aConnection, aDispatcher, ALICE, anError, aRequest, ask, send } from "../../support/dispatcher.ts";

describe("Dispatcher: deadlines and signals", () => {
  afterEach(() => void vi.useRealTimers());

  test("ends a call at its deadline, of unknown outcome", async () => {
    vi.useFakeTimers();
    const { signals, hang } = aHangingCall();
    const answer = ask(
      aDispatcher({ handlers: { whoami: hang }, limits: { callMs: 1000 } }),
      aRequest("whoami", ALICE),
    );

    await vi.advanceTimersByTimeAsync(999);
    expect(signals.map(({ aborted }) => aborted)).toStrictEqual([false]);
    await vi.advanceTimersByTimeAsync(1);

    expect(await answer).toMatchObject(anError(-32053, { applied: "unknown" }));
    expect(signals.map(({ aborted }) => aborted)).toStrictEqual([true]);
  });

  test("ends a call that hangs in its signature's check", async () => {
    vi.useFakeTimers();
    const answer = ask(aDispatcher({ authenticate: never, limits: { callMs: 1000 } }), aRequest("whoami", ALICE));

    await vi.advanceTimersByTimeAsync(1000);

    expect(await answer).toMatchObject(anError(-32053, { applied: "unknown" }));
  });

  test.each([
    [{ wait_ms: 300 }, 1300],
    [{ wait_ms: 240_000 }, 26_000],
    [{}, 26_000],
  ])("adds the wait of %j to the deadline", async (wait, deadlineMs) => {
    vi.useFakeTimers();
    const { signals, hang } = aHangingCall();
    const handler = aDispatcher({ handlers: { wait_job: hang }, limits: { callMs: 1000 } });
    const answer = ask(
      handler,
      aRequest("wait_job", { id: JOB_ID, ...wait, ...ALICE }),
      aConnection({ maxWaitMs: 25_000 }),
    );

    await vi.advanceTimersByTimeAsync(deadlineMs - 1);
    expect(signals[0]?.aborted).toBe(false);
    await vi.advanceTimersByTimeAsync(1);

    expect(await answer).toMatchObject(anError(-32053));
  });

  test("ends a call's signal with its connection", async () => {
    const connection = new AbortController();
    const { signals, hang } = aHangingCall();
    const handler = aDispatcher({ handlers: { whoami: hang } });
    const answer = ask(handler, aRequest("whoami", ALICE), aConnection({ signal: connection.signal }));
    await vi.waitFor(() => expect(signals).toHaveLength(1));

    connection.abort();

    expect(await answer).toMatchObject(anError(-32603));
  });

  test("begins a call on an ended connection with an ended signal", async () => {
    const states: boolean[] = [];
    const get_info = async (_params: object, { signal }: CallContext) => {
      states.push(signal.aborted, signal.aborted);
      throw new SupervisorError("notFound");
    };

    await send(
      aDispatcher({ handlers: { get_info } }),
      aRequest("get_info"),
      aConnection({ signal: AbortSignal.abort() }),
    );

    expect(states).toStrictEqual([true, true]);
  });

  test("leaves nothing behind on the connection, and ends the signal of work that goes on", async () => {
    const connection = new AbortController();
    const remove = vi.spyOn(connection.signal, "removeEventListener");
    const contexts: CallContext[] = [];
    const signals: AbortSignal[] = [];
    const whoami = async (_params: object, context: CallContext) => {
      contexts.push(context);
      if (contexts.length === 1) signals.push(context.signal);
      throw new SupervisorError("notFound");
    };
    const handler = aDispatcher({ handlers: { whoami } });

    await send(handler, aRequest("whoami", ALICE), aConnection({ signal: connection.signal }));
    await send(handler, aRequest("whoami", ALICE), aConnection({ signal: connection.signal }));

    expect(remove).toHaveBeenCalledTimes(1);
    expect(signals[0]?.aborted).toBe(true);
    expect(contexts[1]?.signal.aborted).toBe(true);
  });
});

function aHangingCall(): {
  readonly signals: AbortSignal[];
  readonly hang: (params: object, context: CallContext) => Promise<never>;
} {
  const signals: AbortSignal[] = [];
  const hang = async (_params: object, { signal }: CallContext): Promise<never> => {
    signals.push(signal);
    return new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(new Error("ended, too late for anybody")));
    });
  };
  return { signals, hang };
}

async function never(): Promise<never> {
  return new Promise(() => undefined);
}
