/** Requests that are sent before the ones before them were answered (RFC 9112 §9.3.2), and what comes behind them. */
import { describe, expect, test } from "vitest";

import type { HttpOptions } from "../../../transports/http/options.ts";
import { aHeldHandler, anHttpListener, aPost, GET_INFO, PATIENT, RawSocket } from "../../support/http.ts";
import { waitUntil } from "../../support/wait.ts";
import { anUpgrade } from "../../support/websocket.ts";

const NEVER = new AbortController().signal;
const MIB = 1024 * 1024;
const onUpgrade: HttpOptions["onUpgrade"] = (_request, socket) => {
  socket.end("HTTP/1.1 101 Switching Protocols\r\n\r\n");
};
const OFFER = { Connection: "Upgrade", Upgrade: "h2c" };

describe("Behind a call at work", () => {
  test.each([
    ["what is no request", "GARBAGE\r\n\r\n", [200, 200, 400]],
    ["a body that breaks off", aPost("", { "Transfer-Encoding": "chunked", "Content-Length": "" }), [200, 200, 400]],
    ["too large a head", `GET / HTTP/1.1\r\nX-A: ${"a".repeat(20_000)}\r\n\r\n`, [200, 200, 431]],
  ])("%s is refused in its turn, once", async (_name, text, statuses) => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler });
    await using socket = new RawSocket(http.port);

    socket.write(aPost("[1]") + aPost("[2]") + text);
    await waitUntil(() => taken.length === 2);
    taken[1]?.answer('"second"');
    socket.write("more\r\n");
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(socket.received).toBe("");
    taken[0]?.answer('"first"');
    await waitUntil(() => socket.isClosed);

    expect(socket.statuses).toStrictEqual(statuses);
    expect(socket.received).toMatch(/"first".*"second".*"error"/su);
  });

  test("the time for the next request's head goes on, and is told behind its answer", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, limits: { headersMs: 100 } });
    await using socket = new RawSocket(http.port);
    socket.write(`${aPost(GET_INFO)}POST / HT`);
    await waitUntil(() => taken.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 2500));

    expect(socket.received).toBe("");
    taken[0]?.answer('"first"');
    await waitUntil(() => socket.isClosed);

    expect(socket.statuses).toStrictEqual([200, 408]);
    expect(socket.received).toContain('"limit":"headers_ms"');
  });

  test("that ends the connection, more is not read, and the call is answered", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler });
    await using socket = new RawSocket(http.port);

    socket.write(aPost(GET_INFO, { Connection: "close" }) + aPost(GET_INFO));
    await waitUntil(() => taken.length === 1);
    taken[0]?.answer('"only"');
    await waitUntil(() => socket.isClosed);

    expect(socket.statuses).toStrictEqual([200]);
    expect(taken).toHaveLength(1);
  });

  test("an upgrade waits for its answer", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, onUpgrade });
    await using socket = new RawSocket(http.port);

    socket.write(aPost(GET_INFO) + anUpgrade());
    await waitUntil(() => taken.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(socket.received).toBe("");
    taken[0]?.answer('"first"');
    await waitUntil(() => socket.statuses.length === 2);

    expect(socket.statuses).toStrictEqual([200, 101]);
  });

  test("an upgrade that waits survives a reset, and a stop ends it with the answer before it", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, onUpgrade });
    await using reset = new RawSocket(http.port);
    await using socket = new RawSocket(http.port);
    for (const raw of [reset, socket]) raw.write(aPost(GET_INFO) + anUpgrade());
    await waitUntil(() => taken.length === 2);

    reset.socket.resetAndDestroy();
    await waitUntil(() => taken.some(({ signal }) => signal.aborted));
    const stopped = http.listener.stop(NEVER);
    for (const call of taken) call.answer("{}");
    await stopped;
    await waitUntil(() => socket.isClosed);

    expect(socket.statuses).toStrictEqual([200]);
    expect(socket.received).toContain("Connection: close");
  });

  test("CONNECT is refused in its turn", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler });
    await using socket = new RawSocket(http.port);

    socket.write(`${aPost(GET_INFO)}CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n`);
    await waitUntil(() => taken.length === 1);
    taken[0]?.answer('"first"');
    await waitUntil(() => socket.isClosed);

    expect(socket.statuses).toStrictEqual([200, 405]);
    expect(socket.received).toMatch(/"first".*CONNECT is not served/su);
  });

  test("a request that offers another protocol is answered, and what comes behind that", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, onUpgrade });
    await using socket = new RawSocket(http.port);

    socket.write(aPost("[1]") + aPost("[2]", OFFER) + aPost("[3]"));
    for (const number of [1, 2, 3]) {
      await waitUntil(() => taken.length >= number);
      taken[number - 1]?.answer(`"${number}"`);
    }
    await waitUntil(() => socket.received.includes('"3"'));

    expect(socket.received).toMatch(/"1".*"2".*"3"/su);
  });
});

test("Offers of another protocol in masses leave every turn of the loop to others, too", async () => {
  let count = 0;
  let countedBefore = 0;
  let mostInTurn = 0;
  const readiness: HttpOptions["readiness"] = () => {
    count += 1;
    return { ready: true, checks: {} };
  };
  await using http = await anHttpListener({ readiness, onUpgrade });
  await using socket = new RawSocket(http.port);
  const watch = (): void => {
    mostInTurn = Math.max(mostInTurn, count - countedBefore);
    countedBefore = count;
    if (count < 300) setImmediate(watch);
  };
  watch();

  socket.write("GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n".repeat(300));
  await waitUntil(() => socket.statuses.length === 300);

  expect(mostInTurn).toBeLessThanOrEqual(2);
});

describe("Pipelined answers", () => {
  test("that nobody reads hold the calls behind them back", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, limits: { maxAnswerBytes: MIB, concurrency: 2 } });
    await using socket = new RawSocket(http.port);
    socket.socket.pause();

    socket.write(Array.from({ length: 100 }, () => aPost(GET_INFO)).join(""));
    let answered = 0;
    const quiet = async (): Promise<boolean> => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      return taken.length === answered;
    };
    do {
      for (; answered < taken.length; answered += 1) taken[answered]?.answer(`"${"x".repeat(MIB)}"`);
    } while (!(await quiet()));
    expect(answered).toBeLessThan(20);
    socket.socket.resume();
    while (answered < 100) {
      await waitUntil(() => taken.length > answered);
      taken[answered]?.answer('"small"');
      answered += 1;
    }
    await waitUntil(() => socket.statuses.length === 100);

    expect(socket.isClosed).toBe(false);
  });

  test("are taken in time, also where the first of them had to be waited for", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, limits: { stalledMs: 200 } });
    await using socket = new RawSocket(http.port);
    socket.socket.pause();
    socket.write(aPost("[1]") + aPost("[2]"));
    await waitUntil(() => taken.length === 2);

    taken[1]?.answer(`"${"x".repeat(9 * MIB)}"`);
    taken[0]?.answer('"small"');

    await waitUntil(() => taken[0]?.signal.aborted === true);
    expect(socket.received).toBe("");
  });

  test("that were slow to leave cost a call behind them none of its time", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, limits: { stalledMs: 200 } });
    await using socket = new RawSocket(http.port);
    socket.write(aPost("[1]") + aPost("[2]"));
    await waitUntil(() => taken.length === 2);

    taken[0]?.answer(`"${"x".repeat(9 * MIB)}"`);
    await waitUntil(() => socket.received.length > 9 * MIB);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    taken[1]?.answer('"late"');

    await waitUntil(() => socket.isClosed || socket.received.includes('"late"'));
    expect(socket.statuses).toStrictEqual([200, 200]);
  });
});

describe("A stop", () => {
  test("loses no answer to what was taken, pipelined or not", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, limits: { keepAliveMs: 60_000 } });
    await using socket = new RawSocket(http.port);
    await using other = new RawSocket(http.port);
    socket.write(aPost("[1]") + aPost("[2]"));
    other.write(aPost("[1]") + aPost("[2]"));
    await waitUntil(() => taken.length === 4);

    // The newest of one connection before the stop, of the other after it.
    taken[3]?.answer('"second"');
    const stopped = http.listener.stop(NEVER);
    for (const call of taken.slice(0, 3)) call.answer('"taken"');
    await stopped;
    await waitUntil(() => socket.isClosed && other.isClosed);

    expect([socket.statuses, other.statuses]).toStrictEqual([
      [200, 200],
      [200, 200],
    ]);
  });

  test("lets an answer leave that is being read", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, limits: { keepAliveMs: 60_000 } });
    await using reader = new RawSocket(http.port);
    reader.socket.pause();
    reader.write(aPost(GET_INFO));
    await waitUntil(() => taken.length === 1);
    taken[0]?.answer(`"${"x".repeat(9 * MIB)}"`);

    const stopped = http.listener.stop(NEVER);
    await new Promise((resolve) => setTimeout(resolve, 600));
    reader.socket.resume();
    await stopped;
    await waitUntil(() => reader.isClosed);

    expect(reader.received.length).toBeGreaterThan(9 * MIB);
  });
});

test("A connection whose answer is being read makes room after one that is idle", async () => {
  const { handler, taken } = aHeldHandler();
  await using http = await anHttpListener({ handler, limits: { maxConnections: 2 } });
  await using reader = new RawSocket(http.port);
  reader.socket.pause();
  reader.write(aPost(GET_INFO));
  await waitUntil(() => taken.length === 1);
  taken[0]?.answer(`"${"x".repeat(9 * MIB)}"`);
  await using idle = new RawSocket(http.port);
  idle.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await waitUntil(() => idle.statuses.length === 1);

  await using late = new RawSocket(http.port);
  late.write(aPost(GET_INFO));
  await waitUntil(() => taken.length === 2);
  reader.socket.resume();

  await expect.poll(() => reader.received.length, PATIENT).toBeGreaterThan(9 * MIB);
  expect(idle.isClosed).toBe(true);
});
