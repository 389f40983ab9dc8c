/** Bodies in pieces, too large or not wanted, and requests in a row: what no HTTP client does. */
import { describe, expect, test } from "vitest";

import { aHeldHandler, anHttpListener, aPost, GET_INFO, RawSocket, RawSockets, PATIENT } from "../../support/http.ts";

const HEAD = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

function chunked(...pieces: readonly string[]): string {
  return pieces.map((piece) => `${Buffer.byteLength(piece).toString(16)}\r\n${piece}\r\n`).join("");
}

describe("A body", () => {
  test("may come in chunks, and in pieces of one byte", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler });
    await using socket = new RawSocket(http.port);
    const text = "é".repeat(20_000);

    socket.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
    socket.write(Buffer.from(chunked(...Array.from(text))));
    socket.write("0\r\n\r\n");

    await expect.poll(() => taken.length, PATIENT).toBe(1);
    expect(taken[0]?.text).toBe(text);
  });

  test("may come in several packets, of a length that was declared", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler });
    await using socket = new RawSocket(http.port);
    const text = "x".repeat(1_000_000);

    const request = aPost(text);
    socket.write(request.slice(0, 300));
    await expect.poll(() => socket.socket.bytesWritten, PATIENT).toBe(300);
    for (let at = 300; at < request.length; at += 99_999) socket.write(request.slice(at, at + 99_999));

    await expect.poll(() => taken.length, PATIENT).toBe(1);
    expect(taken[0]?.text).toBe(text);
  });

  test("is refused by its declared length before it is sent", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, limits: { maxBodyBytes: 1000 } });
    await using socket = new RawSocket(http.port);

    socket.write(`${HEAD}Content-Length: 999999999999\r\n\r\n`);

    await expect.poll(() => socket.statuses, PATIENT).toStrictEqual([413]);
    expect(taken).toHaveLength(0);
  });

  test("is refused as soon as chunks are beyond the limit, and cut off when they go on", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, limits: { maxBodyBytes: 1000 } });
    await using socket = new RawSocket(http.port);

    socket.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n${chunked("x".repeat(1001))}`);
    await expect.poll(() => socket.statuses, PATIENT).toStrictEqual([413]);
    expect(socket.isClosed).toBe(false);
    socket.write(chunked("x".repeat(2001)));

    await expect.poll(() => socket.isClosed, PATIENT).toBe(true);
    expect(taken).toHaveLength(0);
  });

  test("that was refused leaves the connection fit for the next request", async () => {
    await using http = await anHttpListener({ limits: { maxBodyBytes: 100 } });
    await using socket = new RawSocket(http.port);

    socket.write(aPost("x".repeat(150)));
    socket.write(aPost("x", { "Content-Type": "text/plain" }));
    socket.write(aPost(GET_INFO));

    await expect.poll(() => socket.statuses, PATIENT).toStrictEqual([413, 415, 200]);
  });

  test("is asked for only when it will be taken (Expect: 100-continue)", async () => {
    const expecting = { Expect: "100-continue" };
    await using http = await anHttpListener({ limits: { maxBodyBytes: 100 } });
    await using welcome = new RawSocket(http.port);
    await using refused = new RawSocket(http.port);
    const [head, body] = aPost(GET_INFO, expecting).split("\r\n\r\n");

    welcome.write(`${head}\r\n\r\n`);
    refused.write(`${aPost("x".repeat(101), expecting).split("\r\n\r\n")[0]}\r\n\r\n`);
    await expect.poll(() => welcome.statuses, PATIENT).toStrictEqual([100]);
    welcome.write(body ?? "");

    await expect.poll(() => welcome.statuses, PATIENT).toStrictEqual([100, 200]);
    await expect.poll(() => refused.isClosed, PATIENT).toBe(true);
    expect(refused.statuses).toStrictEqual([413]);
  });

  test("is refused with 417 and the way out where something else is expected, on each path alike", async () => {
    await using http = await anHttpListener();
    for (const post of [aPost(GET_INFO, { Expect: "200-ok" }), aPost(GET_INFO, { Expect: "" })]) {
      await using raw = new RawSocket(http.port);
      raw.write(post);

      await expect.poll(() => raw.isClosed, PATIENT).toBe(true);
      expect(raw.statuses).toStrictEqual([417]);
      expect(raw.received).toContain(
        '{"error":"Unknown expectation","fix":"Send no Expect header, or Expect: 100-continue."}',
      );
      expect(raw.received).toMatch(/^content-type: application\/json/imu);
    }
    await using foreign = new RawSocket(http.port);
    foreign.write(aPost(GET_INFO, { Expect: "200-ok", Host: "evil.example" }));
    await expect.poll(() => foreign.statuses, PATIENT).toStrictEqual([403]);
  });

  test("is refused while too many others are on their way, and nobody is locked out for good", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, limits: { maxBodyBytes: 100_000 } });
    await using flood = new RawSockets(http.port, 40);
    const { sockets } = flood;

    for (const socket of sockets) {
      socket.write(`${HEAD}Content-Length: 99999\r\n\r\n${"x".repeat(60_000)}`);
      await expect.poll(() => socket.socket.writableLength, PATIENT).toBe(0);
      socket.write("x".repeat(30_000));
    }
    await expect.poll(() => sockets.flatMap(({ statuses }) => statuses), PATIENT).toContain(503);
    const late = sockets.find(({ statuses }) => statuses.length === 0);
    await using small = new RawSocket(http.port);
    small.write(aPost(GET_INFO));
    late?.write("x".repeat(9_999));

    await expect
      .poll(() => taken.map(({ text }) => text.length).toSorted((a, b) => a - b))
      .toStrictEqual([GET_INFO.length, 99_999]);
  });
});

describe("Pipelined requests", () => {
  test("are answered in their order", async () => {
    await using http = await anHttpListener();
    await using socket = new RawSocket(http.port);

    const ids = Array.from({ length: 50 }, (_, index) => index);
    socket.write(ids.map((id) => aPost(GET_INFO.replace('"id":1', `"id":${id}`))).join(""));

    await expect.poll(() => socket.statuses, PATIENT).toHaveLength(50);
    expect([...socket.received.matchAll(/"id":(\d+)/g)].map(([, id]) => Number(id))).toStrictEqual(ids);
  });

  test("are carried out a bounded number at a time", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, limits: { concurrency: 3 } });
    await using socket = new RawSocket(http.port);

    socket.write(Array.from({ length: 5 }, (_, index) => aPost(`[${index}]`)).join(""));
    await expect.poll(() => taken.length, PATIENT).toBe(3);
    taken[1]?.answer("{}");
    await expect.poll(() => taken.length, PATIENT).toBe(4);

    expect(socket.statuses).toStrictEqual([]);
    expect(taken.map(({ text }) => text)).toStrictEqual(["[0]", "[1]", "[2]", "[3]"]);
  });

  test("in masses, behind one that is held, end the connection", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, limits: { concurrency: 1 } });
    await using socket = new RawSocket(http.port);

    socket.write("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10) + aPost(GET_INFO));
    await expect.poll(() => taken.length, PATIENT).toBe(1);
    socket.write("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".repeat(300));

    await expect.poll(() => socket.isClosed, PATIENT).toBe(true);
    expect(taken[0]?.signal.aborted).toBe(true);
  });
});
