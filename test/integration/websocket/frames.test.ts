import { describe, expect, test } from "vitest";

import { aHeldHandler, GET_INFO, type RawSocket } from "../../support/http.ts";
import { waitUntil } from "../../support/wait.ts";
import { aFrame, aRawWebSocket, aWebSocketListener, closeCodeOf } from "../../support/websocket.ts";

const CONTINUATION = 0;
const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;

async function closeCode(raw: RawSocket): Promise<number | undefined> {
  await waitUntil(() => closeCodeOf(raw) !== undefined || raw.isClosed);
  return closeCodeOf(raw);
}

describe("WebSocket messages", () => {
  test("come in one frame, in many, and as binary, and are answered in one text frame", async () => {
    await using server = await aWebSocketListener();
    await using raw = await aRawWebSocket(server.port);
    const bytes = Buffer.from(GET_INFO);
    const answers = (): number => raw.received.split('"result"').length - 1;

    raw.write(aFrame(TEXT, bytes));
    await waitUntil(() => answers() === 1);
    raw.write(aFrame(TEXT, bytes.subarray(0, 10), { isLast: false }));
    for (const byte of bytes.subarray(10)) raw.write(aFrame(CONTINUATION, Buffer.of(byte), { isLast: false }));
    raw.write(aFrame(CONTINUATION, Buffer.alloc(0)));
    await waitUntil(() => answers() === 2);
    raw.write(aFrame(BINARY, bytes));
    await waitUntil(() => answers() === 3);

    expect(raw.received.charCodeAt(0)).toBe(0x80 | TEXT);
  });

  test("let control frames stand between their fragments", async () => {
    await using server = await aWebSocketListener();
    await using raw = await aRawWebSocket(server.port);
    const bytes = Buffer.from(GET_INFO);

    raw.write(aFrame(TEXT, bytes.subarray(0, 5), { isLast: false }));
    raw.write(aFrame(PING, Buffer.from("are you there")));
    await waitUntil(() => raw.received.includes("are you there"));
    raw.write(aFrame(CONTINUATION, bytes.subarray(5)));

    await waitUntil(() => raw.received.includes('"result"'));
    expect(closeCodeOf(raw)).toBeUndefined();
  });

  test("come in pieces of one byte", async () => {
    await using server = await aWebSocketListener();
    await using raw = await aRawWebSocket(server.port);

    for (const byte of aFrame(TEXT, Buffer.from(GET_INFO))) raw.write(Buffer.of(byte));

    await waitUntil(() => raw.received.includes('"result"'));
    expect(closeCodeOf(raw)).toBeUndefined();
  });

  test("may be empty, which is no JSON", async () => {
    await using server = await aWebSocketListener();
    await using raw = await aRawWebSocket(server.port);

    raw.write(aFrame(TEXT, Buffer.alloc(0)));

    await waitUntil(() => raw.received.includes("-32700"));
    expect(closeCodeOf(raw)).toBeUndefined();
  });
});

describe("WebSocket breaches of the protocol", () => {
  test.each<readonly [string, number, readonly Uint8Array[]]>([
    ["invalid UTF-8 in a text message", 1007, [aFrame(TEXT, Buffer.of(0xc3, 0x28))]],
    [
      "UTF-8 cut in the middle, over two fragments",
      1007,
      [aFrame(TEXT, Buffer.of(0xe2, 0x82), { isLast: false }), aFrame(CONTINUATION, Buffer.of(0x41))],
    ],
    ["a message over the limit, by its declared length", 1009, [aFrame(TEXT, Buffer.alloc(1001, 0x20))]],
    [
      "a message over the limit, by the sum of its fragments",
      1009,
      [aFrame(TEXT, Buffer.alloc(600, 0x20), { isLast: false }), aFrame(CONTINUATION, Buffer.alloc(600, 0x20))],
    ],
    ["more fragments than the limit", 1008, Array.from({ length: 9 }, (_, index) => aPart(index))],
    [
      "a compressed frame, since compression was not agreed on",
      1002,
      [aFrame(TEXT, Buffer.from("x"), { reserved: 4 })],
    ],
    ["reserved bits", 1002, [aFrame(TEXT, Buffer.from("x"), { reserved: 1 })]],
    ["an unknown opcode", 1002, [aFrame(3, Buffer.from("x"))]],
    ["an unmasked frame", 1002, [aFrame(TEXT, Buffer.from("x"), { isMasked: false })]],
    ["a fragmented control frame", 1002, [aFrame(PING, Buffer.from("x"), { isLast: false })]],
    ["a control frame longer than 125 bytes", 1002, [aFrame(PING, Buffer.alloc(126))]],
    ["a continuation of nothing", 1002, [aFrame(CONTINUATION, Buffer.from("x"))]],
    [
      "a new message inside a message",
      1002,
      [aFrame(TEXT, Buffer.from("x"), { isLast: false }), aFrame(TEXT, Buffer.from("y"))],
    ],
    ["a close frame of one byte", 1002, [aFrame(CLOSE, Buffer.of(3))]],
    ["a close code nobody may send", 1002, [aFrame(CLOSE, Buffer.of(0x03, 0xed))]],
    ["a close reason that is not UTF-8", 1007, [aFrame(CLOSE, Buffer.of(0x03, 0xe8, 0xc3, 0x28))]],
  ])("close the connection, and no other: %s gives %i", async (_what, code, frames) => {
    await using server = await aWebSocketListener({ limits: { maxBodyBytes: 1000, maxFragments: 8 } });
    await using other = await aRawWebSocket(server.port);
    await using raw = await aRawWebSocket(server.port);

    for (const frame of frames) raw.write(frame);

    expect(await closeCode(raw)).toBe(code);
    await waitUntil(() => raw.isClosed);
    other.write(aFrame(TEXT, Buffer.from(GET_INFO)));
    await waitUntil(() => other.received.includes('"result"'));
  });

  test("a close frame is answered with its code", async () => {
    await using server = await aWebSocketListener();
    await using raw = await aRawWebSocket(server.port);

    raw.write(aFrame(CLOSE, Buffer.of(0x0f, 0xa0)));

    expect(await closeCode(raw)).toBe(4000);
  });
});

describe("WebSocket connections that end", () => {
  test.each<readonly [string, (raw: RawSocket) => void]>([
    ["half, without a close frame", (raw) => raw.socket.end()],
    ["with a close frame", (raw) => raw.write(aFrame(CLOSE, Buffer.of(0x03, 0xe8)))],
    ["by a reset", (raw) => raw.socket.resetAndDestroy()],
    ["half, within a frame", (raw) => raw.socket.end(aFrame(TEXT, Buffer.from(GET_INFO)).subarray(0, 9))],
  ])("%s end the calls on them, and are forgotten", async (_how, end) => {
    const { handler, taken } = aHeldHandler();
    await using server = await aWebSocketListener({ handler });
    await using raw = await aRawWebSocket(server.port);
    raw.write(aFrame(TEXT, Buffer.from(GET_INFO)));
    await waitUntil(() => taken.length === 1);
    expect(taken[0]?.signal.aborted).toBe(false);

    end(raw);

    await waitUntil(() => taken[0]?.signal.aborted === true);
    await waitUntil(() => raw.isClosed);
    // An answer to nobody is no failure.
    taken[0]?.answer("late");
    await server.listener.stop(new AbortController().signal);
  });
});

test("A close frame that has left and that nobody answers ends the connection", async () => {
  await using server = await aWebSocketListener({ limits: { answerMs: 50 } });
  await using raw = await aRawWebSocket(server.port);

  // No deadline: it ends because the other side has had its time.
  await server.listener.stop(new AbortController().signal);

  expect(await closeCode(raw)).toBe(1001);
  await waitUntil(() => raw.isClosed);
});

function aPart(index: number): Uint8Array {
  return aFrame(index === 0 ? TEXT : CONTINUATION, Buffer.from(" "), { isLast: false });
}
