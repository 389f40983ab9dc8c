import { describe, expect, test } from "vitest";

import type { Connection, RequestHandler } from "../../../src/rpc/transport.ts";
import { aDispatcher } from "../../support/dispatcher.ts";
import { aHeldHandler, aPost, GET_INFO, RawSocket } from "../../support/http.ts";
import { waitUntil } from "../../support/wait.ts";
import { aFrame, aPlainClient, aRawWebSocket, aWebSocketListener, closeCodeOf } from "../../support/websocket.ts";

const TEXT = 1;
const MIB = 1024 * 1024;

/** Gives its connections away, and answers every message with so many bytes. */
function aHandlerOf(bytes: number): { readonly handler: RequestHandler; readonly connections: Connection[] } {
  const connections: Connection[] = [];
  const handler: RequestHandler = {
    handle: async (_message, connection) => {
      connections.push(connection);
      return { bytes: aMessage(bytes), principals: [], keys: [], isRepeatable: false };
    },
    onRevoked: () => () => undefined,
  };
  return { handler, connections };
}

/** JSON of this length. */
function aMessage(bytes: number): Buffer {
  return Buffer.from("1".padEnd(bytes, " "));
}

describe("WebSocket calls in flight", () => {
  test("are carried out up to the limit; the others wait, and none is lost", async () => {
    const { handler, taken } = aHeldHandler();
    await using server = await aWebSocketListener({ handler, limits: { maxInFlight: 3 } });
    await using client = await aPlainClient(server.url);

    for (let index = 0; index < 200; index += 1) client.send(`${index} ${" ".repeat(2000)}`);
    await waitUntil(() => taken.length === 3);
    let most = 0;
    for (let answered = 0; answered < 200; answered += 1) {
      await waitUntil(() => taken.length > answered);
      most = Math.max(most, taken.length - answered);
      taken[answered]?.answer(String(Number.parseInt(taken[answered]?.text ?? "", 10)));
    }

    await client.waitForMessages(200);
    expect(most).toBe(3);
    expect(client.received.map(Number)).toStrictEqual(Array.from({ length: 200 }, (_, index) => index));
  });

  test("stop the reading of the connection, so that what waits is bounded", async () => {
    const { handler, taken } = aHeldHandler();
    await using server = await aWebSocketListener({ handler, limits: { maxInFlight: 1 } });
    await using client = await aPlainClient(server.url);

    // Far more than the buffers of both sockets hold.
    for (let index = 0; index < 40; index += 1) client.socket.send(Buffer.alloc(MIB, 0x20));
    await waitUntil(() => taken.length === 1);
    await waitUntil(() => client.socket.bufferedAmount > 10 * MIB);
    let answered = 0;
    while (answered < 40) {
      await waitUntil(() => taken.length > answered);
      taken[answered]?.answer("1");
      answered += 1;
    }

    expect(await client.waitForMessages(40)).toHaveLength(40);
  });

  test("that are refused at once leave every turn of the loop to others, too", async () => {
    let count = 0;
    let countedBefore = 0;
    let mostInTurn = 0;
    const handler: RequestHandler = {
      handle: async () => {
        count += 1;
        return { principals: [], keys: [], isRepeatable: false };
      },
      onRevoked: () => () => undefined,
    };
    await using server = await aWebSocketListener({ handler, limits: { maxInFlight: 8 } });
    await using raw = await aRawWebSocket(server.port);
    const watch = (): void => {
      mostInTurn = Math.max(mostInTurn, count - countedBefore);
      countedBefore = count;
      if (count < 20_000) setImmediate(watch);
    };
    watch();

    const frame = aFrame(TEXT, Buffer.from("x"));
    raw.write(Buffer.concat(Array.from({ length: 20_000 }, () => frame)));
    await waitUntil(() => count === 20_000);

    // Once for those freed before the look, once for those after it.
    expect(mostInTurn).toBeLessThanOrEqual(16);
  });

  test("of other connections go on meanwhile", async () => {
    const { handler, taken } = aHeldHandler();
    await using server = await aWebSocketListener({ handler, limits: { maxInFlight: 1 } });
    await using full = await aPlainClient(server.url);
    await using other = await aPlainClient(server.url);
    full.send("first");
    full.send("waits");
    await waitUntil(() => taken.length === 1);

    other.send("other");
    await waitUntil(() => taken.length === 2);
    taken[1]?.answer("1");

    expect(await other.waitForMessages(1)).toStrictEqual([1]);
    expect(taken.map(({ text }) => text)).toStrictEqual(["first", "other"]);
  });
});

describe("WebSocket readers that do not read", () => {
  test("are closed with 1013 once too much is unsent, and told that nothing more arrives", async () => {
    const { handler, connections } = aHandlerOf(2);
    await using server = await aWebSocketListener({ handler, limits: { maxUnsentBytes: MIB } });
    await using client = await aPlainClient(server.url);
    client.send("x");
    await client.waitForMessages(1);
    const [connection] = connections;
    client.socket.pause();

    let sent = 0;
    while (connection?.notify?.(aMessage(64 * 1024)) === true) sent += 1;
    expect(connection?.notify?.(Buffer.of(0x31))).toBe(false);
    client.socket.resume();

    expect(await client.waitForClose()).toMatchObject({ code: 1013 });
    // Whatever was taken arrived: nothing is dropped before the close.
    expect(client.received).toHaveLength(1 + sent);
    expect(sent * 64 * 1024).toBeGreaterThan(MIB);
    expect(connection?.notify?.(Buffer.of(0x31))).toBe(false);
    await waitUntil(() => connection?.signal.aborted === true);
  });

  test("are closed with 1013 when it is answers that they leave", async () => {
    const { handler, connections } = aHandlerOf(MIB);
    await using server = await aWebSocketListener({ handler, limits: { maxUnsentBytes: MIB, stallMs: 100 } });
    await using raw = await aRawWebSocket(server.port);
    raw.socket.pause();

    for (let index = 0; index < 60; index += 1) raw.write(aFrame(TEXT, Buffer.from("x")));
    await waitUntil(() => connections.length === 60);
    // Until it is sure that the reader stands still.
    await connections[0]?.drained?.();
    raw.socket.resume();
    await waitUntil(() => closeCodeOf(raw) !== undefined);

    expect(closeCodeOf(raw)).toBe(1013);
    expect(raw.received.length).toBeLessThan(60 * MIB);
  });

  test("do not slow others", async () => {
    const { handler, connections } = aHandlerOf(2);
    await using server = await aWebSocketListener({ handler, limits: { maxUnsentBytes: 64 * MIB } });
    await using slow = await aPlainClient(server.url);
    await using fast = await aPlainClient(server.url);
    slow.send("x");
    await slow.waitForMessages(1);
    slow.socket.pause();
    for (let index = 0; index < 32; index += 1) connections[0]?.notify?.(aMessage(MIB));

    fast.send("x");

    expect(await fast.waitForMessages(1)).toHaveLength(1);
  });

  test("get every one of many large answers, as long as they read", async () => {
    const { handler } = aHandlerOf(MIB);
    await using server = await aWebSocketListener({ handler, limits: { maxUnsentBytes: 2 * MIB } });
    await using client = await aPlainClient(server.url);

    for (let index = 0; index < 30; index += 1) client.send("x");
    await waitUntil(() => client.received.length === 30 || client.closed !== undefined);

    expect(client.closed).toBeUndefined();
  });

  test("hold up bulk until they have read: drained() waits for them", async () => {
    const { handler, connections } = aHandlerOf(2);
    await using server = await aWebSocketListener({ handler, limits: { maxUnsentBytes: 64 * MIB } });
    await using client = await aPlainClient(server.url);
    client.send("x");
    await client.waitForMessages(1);
    const [connection] = connections;
    await connection?.drained?.();
    client.socket.pause();
    for (let index = 0; index < 32; index += 1) connection?.notify?.(aMessage(MIB));
    let isDrained = false;

    const draining = connection?.drained?.().then(() => (isDrained = true));
    client.send("y");
    await waitUntil(() => connections.length === 2);
    expect(isDrained).toBe(false);
    client.socket.resume();
    await draining;

    // One went out after it, and comes after all of the bulk.
    connection?.notify?.(Buffer.from("1"));
    await waitUntil(() => client.received.at(-1) === "1");
    expect(client.received).toHaveLength(1 + 32 + 1 + 1);
  });
});

describe("WebSocket signs of life", () => {
  test("are asked for, and who gives them stays", async () => {
    await using server = await aWebSocketListener({ limits: { pingMs: 10 } });
    await using client = await aPlainClient(server.url);

    await waitUntil(() => client.pings > 5);

    expect(client.closed).toBeUndefined();
  });

  test("are missed twice before the connection is ended", async () => {
    const { handler, taken } = aHeldHandler();
    await using server = await aWebSocketListener({ handler, limits: { pingMs: 50 } });
    await using client = await aPlainClient(server.url, { autoPong: false });
    client.send("held");
    await waitUntil(() => taken.length === 1);

    expect(await client.waitForClose()).toMatchObject({ code: 1006 });
    expect(client.pings).toBe(2);
    await waitUntil(() => taken[0]?.signal.aborted === true);
  });

  test("are not missed on a connection that is not read because of its own calls", async () => {
    const { handler, taken } = aHeldHandler();
    await using server = await aWebSocketListener({ handler, limits: { pingMs: 20, maxInFlight: 1 } });
    await using client = await aPlainClient(server.url);
    await using other = await aPlainClient(server.url);
    client.send("first");
    client.send("waits");
    await waitUntil(() => taken.length === 1);
    const before = other.pings;

    await waitUntil(() => other.pings > before + 8);
    taken[0]?.answer("1");
    await waitUntil(() => taken.length === 2);
    taken[1]?.answer("2");

    expect(await client.waitForMessages(2)).toStrictEqual([1, 2]);
  });
});

describe("Stopping WebSocket", () => {
  test("answers what was taken, held waits at once, then closes with 1001", async () => {
    const handler = aDispatcher({
      handlers: {
        get_info: async (_params, { signal }) => {
          await new Promise<void>((resolve) => {
            signal.addEventListener("abort", () => resolve());
          });
          throw new Error("the stub has nothing to say");
        },
      },
    });
    await using server = await aWebSocketListener({ handler });
    await using idle = await aPlainClient(server.url);
    await using busy = await aPlainClient(server.url);
    busy.send(GET_INFO);
    // Answered after it: the held call has been taken.
    busy.send("[]");
    await busy.waitForMessages(1);

    await server.listener.stop(new AbortController().signal);

    expect(await idle.waitForClose()).toStrictEqual({ code: 1001, reason: "stopping" });
    expect(await busy.waitForClose()).toStrictEqual({ code: 1001, reason: "stopping" });
    expect(busy.messages.at(-1)).toMatchObject({ id: 1, error: { code: -32603 } });
  });

  test("takes nothing new meanwhile, and ends at its deadline whatever is still held", async () => {
    const { handler, taken } = aHeldHandler();
    await using server = await aWebSocketListener({ handler });
    await using client = await aPlainClient(server.url);
    client.send("held");
    await waitUntil(() => taken.length === 1);
    const deadline = new AbortController();

    const stopped = server.listener.stop(deadline.signal);
    client.send("too late");
    client.socket.ping();
    await new Promise((resolve) => client.socket.once("pong", resolve));
    deadline.abort();
    await stopped;

    expect(taken.map(({ text }) => text)).toStrictEqual(["held"]);
    expect(await client.waitForClose()).toMatchObject({ code: 1006 });
  });

  test("lets the HTTP listener underneath stop too", async () => {
    await using server = await aWebSocketListener();
    await using client = await aPlainClient(server.url);
    const forever = new AbortController().signal;

    await Promise.all([server.http.stop(forever), server.listener.stop(forever)]);

    expect(await client.waitForClose()).toMatchObject({ code: 1001 });
  });

  test("waits no longer than it must for who does not answer the close", async () => {
    await using server = await aWebSocketListener();
    await using raw = await aRawWebSocket(server.port);
    const deadline = new AbortController();
    const stopped = server.listener.stop(deadline.signal);
    await waitUntil(() => raw.received.includes("stopping"));

    deadline.abort();
    await stopped;

    await waitUntil(() => raw.isClosed);
    expect(server.listener.status().isUp).toBe(false);
  });
});

test("a handler that throws, which none may, closes the connection with 1011", async () => {
  const handler: RequestHandler = {
    handle: async () => {
      throw new Error("a defect");
    },
    onRevoked: () => () => undefined,
  };
  await using server = await aWebSocketListener({ handler });
  await using client = await aPlainClient(server.url);

  client.send("x");

  expect(await client.waitForClose()).toMatchObject({ code: 1011 });
});

test("Strangers' idle WebSockets make room where all places are taken, and nobody else's", async () => {
  const handler: RequestHandler = {
    async handle(bytes) {
      const text = Buffer.from(bytes).toString();
      return { bytes, principals: text.includes("signed") ? ["alice"] : [], keys: [], isRepeatable: false };
    },
    onRevoked: () => () => undefined,
  };
  await using server = await aWebSocketListener({ handler, maxConnections: 4 });
  await using known = await aPlainClient(server.url);
  known.send('"signed"');
  await known.waitForMessages(1);
  await using first = await aPlainClient(server.url);
  await using second = await aPlainClient(server.url);
  await using third = await aPlainClient(server.url);

  await using late = await aPlainClient(server.url);
  late.send('"hello"');
  await late.waitForMessages(1);

  expect(late.messages).toEqual(["hello"]);
  await waitUntil(() => first.closed !== undefined);
  expect([known, first, second, third].map(({ closed }) => closed !== undefined)).toEqual([false, true, false, false]);
});

test("A newcomer keeps his place before strangers' WebSockets that come back again and again", async () => {
  await using server = await aWebSocketListener({ maxConnections: 2 });
  await using first = await aPlainClient(server.url);
  await using second = await aPlainClient(server.url);
  await using newcomer = new RawSocket(server.port);
  await waitUntil(() => first.closed !== undefined);

  await using returned = await aPlainClient(server.url);
  await waitUntil(() => second.closed !== undefined);
  newcomer.write(aPost(GET_INFO));
  await waitUntil(() => newcomer.statuses.length === 1 || newcomer.isClosed);

  expect(newcomer.statuses).toEqual([200]);
  expect(returned.closed).toBeUndefined();
});
