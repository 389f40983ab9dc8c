/** Connections that are slow, silent, broken off or too many. */
import { describe, expect, test } from "vitest";

import type { CallContext } from "../../../src/rpc/context.ts";
import { aDispatcher } from "../../support/dispatcher.ts";
import { aHeldHandler, anHttpListener, aPost, GET_INFO, RawSocket, RawSockets, PATIENT } from "../../support/http.ts";

const HEAD = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

describe("A connection", () => {
  const HASTE = { headersMs: 200, requestMs: 400 };
  const HASTE_IN_HEAD = { headersMs: 200, requestMs: 60_000 };

  test.each([
    ["says nothing", "", HASTE_IN_HEAD],
    ["does not end its head", "POST / HTTP/1.1\r\nHost: loc", HASTE_IN_HEAD],
    ["does not end its body", `${HEAD}Content-Length: 100\r\n\r\n{`, HASTE],
    ["does not end a chunk", `${HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nab`, HASTE],
  ])(
    "that %s is closed in time",
    async (_name, text, limits) => {
      await using http = await anHttpListener({ limits });
      await using socket = new RawSocket(http.port);

      socket.write(text);

      await expect.poll(() => socket.isClosed, PATIENT).toBe(true);
      expect(socket.statuses).toStrictEqual([408]);
      expect(socket.received).toContain('"error":"The request took too long"');
    },
    10_000,
  );

  test("that sends its head byte by byte is closed in time", async () => {
    await using http = await anHttpListener({ limits: HASTE });
    await using socket = new RawSocket(http.port);
    const dripping = setInterval(() => socket.write("X"), 50);

    socket.write("GET / HTTP/1.1\r\nX");

    await expect.poll(() => socket.isClosed, PATIENT).toBe(true);
    clearInterval(dripping);
  });

  test("that is kept without use is closed", async () => {
    await using http = await anHttpListener({ limits: { keepAliveMs: 100 } });
    await using socket = new RawSocket(http.port);

    socket.write(aPost(GET_INFO));

    await expect.poll(() => socket.isClosed, PATIENT).toBe(true);
    expect(socket.statuses).toStrictEqual([200]);
  });

  test("that does not read its answer is closed", async () => {
    const signals: AbortSignal[] = [];
    const discover = async (_params: object, { connection }: CallContext) => {
      signals.push(connection.signal);
      return { text: "x".repeat(9_000_000) };
    };
    const handler = aDispatcher({ handlers: { "rpc.discover": discover } });
    await using http = await anHttpListener({ handler, limits: { stalledMs: 200 } });
    await using reader = new RawSocket(http.port);

    reader.socket.pause();
    reader.write(aPost('{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}'));
    await expect.poll(() => signals.map(({ aborted }) => aborted), PATIENT).toStrictEqual([true]);
    reader.socket.resume();

    await expect.poll(() => reader.isClosed, PATIENT).toBe(true);
    expect(reader.received.length).toBeLessThan(9_000_000);
  });

  test("with too large a head is refused", async () => {
    await using http = await anHttpListener();
    await using socket = new RawSocket(http.port);

    socket.write(`GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ${"a".repeat(20_000)}\r\n\r\n`);

    await expect.poll(() => socket.isClosed, PATIENT).toBe(true);
    expect(socket.statuses).toStrictEqual([431]);
  });

  test("that is closed by the caller ends the call's signal", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler });
    await using socket = new RawSocket(http.port);
    socket.write(aPost(GET_INFO));
    await expect.poll(() => taken.length, PATIENT).toBe(1);
    expect(taken[0]?.signal.aborted).toBe(false);

    socket.socket.destroy();

    await expect.poll(() => taken[0]?.signal.aborted, PATIENT).toBe(true);
    taken[0]?.answer("{}");
  });

  test("that is half closed counts as closed: nobody could tell the two apart while a call waits", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler });
    await using socket = new RawSocket(http.port);
    socket.write(aPost(GET_INFO));
    await expect.poll(() => taken.length, PATIENT).toBe(1);

    socket.socket.end();

    await expect.poll(() => taken[0]?.signal.aborted, PATIENT).toBe(true);
    await expect.poll(() => socket.isClosed, PATIENT).toBe(true);
  });

  test("that broke off in its body is forgotten", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, limits: { concurrency: 1 } });
    await using socket = new RawSocket(http.port);
    socket.write(`${HEAD}Content-Length: 100\r\n\r\n{`);
    await expect.poll(() => socket.socket.bytesWritten, PATIENT).toBeGreaterThan(50);

    socket.socket.destroy();
    await using other = new RawSocket(http.port);
    other.write(aPost(GET_INFO));

    await expect.poll(() => taken.map(({ text }) => text), PATIENT).toStrictEqual([GET_INFO]);
  });

  test("finds a place among many that say nothing, and does not cost one that works its own", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, limits: { maxConnections: 4 } });
    await using working = new RawSocket(http.port);
    working.write(aPost('["working"]'));
    await expect.poll(() => taken.length, PATIENT).toBe(1);
    await using crowd = new RawSockets(http.port, 20);
    const silent = crowd.sockets;
    await expect.poll(() => silent.filter(({ isClosed }) => isClosed), PATIENT).toHaveLength(17);
    const sending = silent.filter(({ isClosed }) => !isClosed);
    for (const socket of sending) socket.write(`${HEAD}Content-Length: 100\r\n\r\n{`);

    await using late = new RawSocket(http.port);
    late.write(aPost('["late"]'));
    await expect.poll(() => taken.map(({ text }) => text), PATIENT).toStrictEqual(['["working"]', '["late"]']);
    for (const call of taken) call.answer("{}");

    await expect.poll(() => [working.statuses, late.statuses], PATIENT).toStrictEqual([[200], [200]]);
    expect(sending.filter(({ isClosed }) => isClosed)).toHaveLength(1);
  });

  test("is refused where all others are at work", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, limits: { maxConnections: 1 } });
    await using working = new RawSocket(http.port);
    working.write(aPost(GET_INFO));
    await expect.poll(() => taken.length, PATIENT).toBe(1);

    await using late = new RawSocket(http.port);

    await expect.poll(() => late.isClosed, PATIENT).toBe(true);
    expect(working.isClosed).toBe(false);
  });
});
