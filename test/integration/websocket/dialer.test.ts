import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import type { Duplex } from "node:stream";

import { afterEach, describe, expect, test, vi } from "vitest";
import { WebSocket } from "ws";

import { CarrierError } from "../../../src/errors.ts";
import type { Dialer, OutgoingCall, RequestHandler } from "../../../src/rpc/transport.ts";
import { dial } from "../../../transports/dial.ts";
import { createWebSocketDialer } from "../../../transports/websocket/dialer.ts";
import { aHeldHandler } from "../../support/http.ts";
import { waitUntil } from "../../support/wait.ts";
import { aWebSocketListener } from "../../support/websocket.ts";

afterEach(() => {
  vi.unstubAllGlobals();
});

function aCall(id: string, wanted: Partial<OutgoingCall> = {}): OutgoingCall {
  const text = JSON.stringify({ jsonrpc: "2.0", id, method: "get_info" });
  return { id, text, waitMs: 0, deadlineMs: 10_000, ...wanted };
}

/** How a call failed: `applied: message`. */
async function failureOf(call: Promise<string>): Promise<string> {
  try {
    return `answered: ${await call}`;
  } catch (error) {
    if (!(error instanceof CarrierError)) throw error;
    return `${error.applied}: ${error.message}`;
  }
}

/** Closes the dialer with the test. */
function using(dialer: Dialer): Dialer & AsyncDisposable {
  return Object.assign(dialer, { [Symbol.asyncDispose]: async () => dialer.close() });
}

/** Answers with what the test says, whatever it is asked. */
function aHandlerSaying(text: string | (() => string)): RequestHandler {
  return {
    handle: async () => ({
      bytes: Buffer.from(typeof text === "string" ? text : text()),
      principals: [],
      keys: [],
      isRepeatable: false,
    }),
    onRevoked: () => () => undefined,
  };
}

describe("The WebSocket dialer", () => {
  test.each(["ws://127.0.0.1:8080", "wss://example.org/ws"])("is what %s is dialled with", (url) => {
    expect(dial(url)).toMatchObject({ maxWaitMs: 25_000, validitySeconds: 120 });
  });

  test.each([
    ["no url", /not a URL/u],
    ["http://localhost/", /not ws or wss/u],
    ["ws://user:secret@localhost/", /^localhost: a URL with a password/u],
  ])("refuses %s", (url, message) => {
    expect(() => createWebSocketDialer(url)).toThrow(message);
  });

  test("carries many calls on one connection, and makes another one after it was lost", async () => {
    const { handler, taken } = aHeldHandler();
    await using server = await aWebSocketListener({ handler });
    await using dialer = using(createWebSocketDialer(`${server.url}#part`));
    const calls = [dialer.call(aCall("a")), dialer.call(aCall("b"))];
    await waitUntil(() => taken.length === 2);

    taken[1]?.answer('{"jsonrpc":"2.0","result":2,"id":"b"}');
    taken[0]?.answer('{"jsonrpc":"2.0","result":1,"id":"a"}');
    expect(await Promise.all(calls)).toStrictEqual([
      '{"jsonrpc":"2.0","result":1,"id":"a"}',
      '{"jsonrpc":"2.0","result":2,"id":"b"}',
    ]);
    expect(taken[0]?.signal).toBe(taken[1]?.signal);

    const lost = failureOf(dialer.call(aCall("c")));
    await waitUntil(() => taken.length === 3);
    await server.listener.stop(AbortSignal.abort());
    expect(await lost).toMatch(/^unknown: .*closed/u);

    await server.listener.start();
    const next = dialer.call(aCall("d"));
    await waitUntil(() => taken.length === 4);
    taken[3]?.answer('{"jsonrpc":"2.0","result":4,"id":"d"}');
    expect(await next).toContain('"d"');
  });

  test("hands on notifications, and says when the connection was lost", async () => {
    const notes: (string | undefined)[] = [];
    const handler: RequestHandler = {
      handle: async (_bytes, { notify }) => {
        notify?.(Buffer.from('{"jsonrpc":"2.0","method":"job_event","params":{}}'));
        return { bytes: Buffer.from('{"result":1,"id":"a"}'), principals: [], keys: [], isRepeatable: false };
      },
      onRevoked: () => () => undefined,
    };
    await using server = await aWebSocketListener({ handler });
    await using dialer = using(createWebSocketDialer(server.url));
    const stop = dialer.onNotification?.((text) => notes.push(text));
    await dialer.call(aCall("a"));
    await server.listener.stop(AbortSignal.abort());
    await waitUntil(() => notes.length === 2);
    stop?.();
    await server.listener.start();
    await dialer.call(aCall("a"));

    expect(notes).toStrictEqual(['{"jsonrpc":"2.0","method":"job_event","params":{}}', undefined]);
  });

  test.each(["nothing", "12", "null", '{"id":7,"result":1}', '{"id":"other","result":1}', '{"method":1}'])(
    "takes %s for nobody's answer",
    async (text) => {
      const answers = ['{"id":"first","result":1}', text];
      await using server = await aWebSocketListener({ handler: aHandlerSaying(() => answers.shift() ?? "") });
      await using dialer = using(createWebSocketDialer(server.url));
      // Connected by then: what is measured is the answer alone.
      await dialer.call(aCall("first"));

      const call = dialer.call(aCall("a", { deadlineMs: 200 }));

      expect(await failureOf(call)).toMatch(/^unknown: .*within 200 ms/u);
    },
  );

  test("gives an answer without an id to the one call it can belong to", async () => {
    const { handler, taken } = aHeldHandler();
    await using server = await aWebSocketListener({ handler });
    await using dialer = using(createWebSocketDialer(server.url));
    const nobody = '{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}';

    const first = dialer.call(aCall("a"));
    await waitUntil(() => taken.length === 1);
    const second = failureOf(dialer.call(aCall("b", { deadlineMs: 300 })));
    await waitUntil(() => taken.length === 2);
    taken[0]?.answer(nobody);
    expect(await second).toMatch(/^unknown: /u);
    taken[1]?.answer(nobody);

    expect(await first).toBe(nobody);
  });

  test("gives up when the caller does, before and after the call is sent", async () => {
    const { handler, taken } = aHeldHandler();
    await using server = await aWebSocketListener({ handler });
    await using dialer = using(createWebSocketDialer(server.url));
    const caller = new AbortController();

    await expect(dialer.call(aCall("a", { signal: AbortSignal.abort() }))).rejects.toMatchObject({ applied: "no" });
    const call = dialer.call(aCall("b", { signal: caller.signal }));
    await waitUntil(() => taken.length === 1);
    caller.abort();

    expect(await failureOf(call)).toMatch(/^unknown: .*given up/u);
    expect(taken).toHaveLength(1);
  });

  test("leaves a connection on which a call met silence, so that the next call does not", async () => {
    const { handler, taken } = aHeldHandler();
    await using server = await aWebSocketListener({ handler });
    await using dialer = using(createWebSocketDialer(server.url, { silenceMs: 100 }));
    const notes: unknown[] = [];
    dialer.onNotification?.((text) => notes.push(text));
    const other = failureOf(dialer.call(aCall("other")));
    await waitUntil(() => taken.length === 1);

    await expect(dialer.call(aCall("a", { deadlineMs: 200 }))).rejects.toMatchObject({ applied: "unknown" });

    expect(await other).toMatch(/^unknown: .*went silent/u);
    expect(notes).toStrictEqual([undefined]);
    await waitUntil(() => taken[0]?.signal.aborted === true);
  });

  test("keeps a connection whose silence was short", async () => {
    const { handler, taken } = aHeldHandler();
    await using server = await aWebSocketListener({ handler });
    await using dialer = using(createWebSocketDialer(server.url));
    const quick = dialer.call(aCall("quick"));
    await waitUntil(() => taken.length === 1);
    const slow = failureOf(dialer.call(aCall("slow", { deadlineMs: 300 })));
    await waitUntil(() => taken.length === 2);
    taken[0]?.answer('{"result":1,"id":"quick"}');
    await quick;

    expect(await slow).toMatch(/^unknown: /u);

    const next = dialer.call(aCall("next"));
    await waitUntil(() => taken.length === 3);
    expect(taken[2]?.signal).toBe(taken[0]?.signal);
    taken[2]?.answer('{"result":1,"id":"next"}');
    await next;
  });

  test("says that nothing was sent where nobody listens, or nobody speaks WebSocket", async () => {
    await using server = await aWebSocketListener();
    await server.listener.stop(AbortSignal.abort());
    await using refused = using(createWebSocketDialer(server.url));
    expect(await failureOf(refused.call(aCall("a")))).toMatch(/^no: .*503/u);

    await server.http.stop(AbortSignal.abort());
    await using nobody = using(createWebSocketDialer(server.url));
    expect(await failureOf(nobody.call(aCall("a")))).toMatch(/^no: .*ECONNREFUSED.*Is the supervisor running there/u);
  });

  test("says that nothing was sent where a connection is taken and no handshake comes", async () => {
    const silent = createServer((socket) => socket.on("error", () => undefined));
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const address = silent.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const dialer = createWebSocketDialer(`ws://127.0.0.1:${port}/`);

    await expect(dialer.call(aCall("a", { deadlineMs: 100 }))).rejects.toMatchObject({ applied: "no" });

    await dialer.close();
    silent.close();
  });

  test("ends all calls when it is closed, and takes none afterwards", async () => {
    const { handler, taken } = aHeldHandler();
    await using server = await aWebSocketListener({ handler });
    const dialer = createWebSocketDialer(server.url);
    const call = failureOf(dialer.call(aCall("a")));
    await waitUntil(() => taken.length === 1);
    const unopened = createWebSocketDialer(server.url);
    const early = failureOf(unopened.call(aCall("b")));

    await dialer.close();
    await unopened.close();

    expect(await call).toMatch(/^unknown: .*is closed/u);
    expect(await early).toMatch(/^no: .*is closed/u);
    await expect(dialer.call(aCall("c"))).rejects.toMatchObject({ applied: "no", isFinal: true });
    expect(dialer.closed?.aborted).toBe(true);
    await waitUntil(() => taken[0]?.signal.aborted === true);
    expect(taken).toHaveLength(1);
  });

  test("refuses an answer beyond its limit, of unknown outcome", async () => {
    await using server = await aWebSocketListener({
      handler: aHandlerSaying(`{"id":"a","result":"${"x".repeat(2000)}"}`),
    });
    await using dialer = using(createWebSocketDialer(server.url, { maxAnswerBytes: 1000 }));

    expect(await failureOf(dialer.call(aCall("a")))).toMatch(/^unknown: .*Max payload size exceeded/u);
  });

  test("blames for a message too long the longest call alone, and says the limit", async () => {
    const { handler, taken } = aHeldHandler();
    await using server = await aWebSocketListener({ handler, limits: { maxBodyBytes: 1000 } });
    await using dialer = using(createWebSocketDialer(server.url));
    const short = dialer.call(aCall("a")).catch((error: unknown) => error);
    await waitUntil(() => taken.length === 1);
    const long = dialer.call(aCall("b", { text: "é".repeat(1000) }));

    await expect(long).rejects.toMatchObject({ applied: "no", limit: "max_body_bytes", isFinal: true });
    await expect(long).rejects.toThrow("the call has 2000 bytes, more than the supervisor takes (max_body_bytes)");
    expect(await short).toMatchObject({ applied: "unknown", limit: undefined, isFinal: false });
  });

  test("knows that a refused handshake lasts, and that a server in trouble does not", async () => {
    for (const [status, isFinal] of [
      [404, true],
      [301, true],
      [429, false],
      [503, false],
    ] as const) {
      const server = createHttpServer().on("upgrade", (_request, socket: Duplex) =>
        socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\n\r\n`),
      );
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      await using dialer = using(createWebSocketDialer(`ws://127.0.0.1:${port}/`));

      await expect(dialer.call(aCall("a"))).rejects.toMatchObject({ applied: "no", isFinal });

      server.close();
    }
  });

  test("uses the platform's own WebSocket where there is one", async () => {
    const urls: string[] = [];
    class Platform extends WebSocket {
      constructor(url: string) {
        super(url);
        urls.push(url);
      }
    }
    vi.stubGlobal("WebSocket", Platform);
    await using server = await aWebSocketListener({ handler: aHandlerSaying('{"id":"a","result":1}') });
    await using dialer = using(createWebSocketDialer(server.url));

    expect(await dialer.call(aCall("a"))).toBe('{"id":"a","result":1}');
    expect(urls).toStrictEqual([server.url]);
  });
});
