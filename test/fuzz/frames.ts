/** Malformed WebSocket frames, and good frames in an order that no good client sends them in. */
import { aFrame } from "../support/websocket.ts";
import { damaged, type Message } from "./messages.ts";
import type { Random } from "./random.ts";

const CONTINUATION = 0;
const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

interface Chance {
  readonly random: Random;
  /** What a good client would send in one frame. */
  readonly payload: Buffer;
  readonly maxFragments: number;
}

type Maker = (chance: Chance) => readonly Uint8Array[];

const MAKERS: Readonly<Record<string, Maker>> = {
  fragments: ({ random, payload }) => fragments(payload, random, () => []),
  "control frames between fragments": ({ random, payload }) => fragments(payload, random, () => [aControl(random)]),
  "a message between fragments": ({ random, payload }) =>
    fragments(payload, random, () => [frame(random, TEXT, payload)]),
  "fragments without end": ({ random, payload }) => fragments(payload, random, () => []).slice(0, -1),
  "too many fragments": ({ random, payload, maxFragments }) => [
    frame(random, TEXT, payload.subarray(0, 1), { isLast: false }),
    ...Array.from({ length: maxFragments + 1 }, () => frame(random, CONTINUATION, Buffer.alloc(0), { isLast: false })),
  ],
  "a continuation of nothing": ({ random, payload }) => [frame(random, CONTINUATION, payload)],
  "reserved bits": ({ random, payload }) => [frame(random, TEXT, payload, { reserved: 1 + random.below(7) })],
  "an opcode": ({ random, payload }) => [frame(random, random.below(16), payload, { isLast: random.chance(0.5) })],
  unmasked: ({ random, payload }) => [frame(random, TEXT, payload, { isMasked: false })],
  binary: ({ random, payload }) => [frame(random, BINARY, payload)],
  "not UTF-8": ({ random, payload }) => [frame(random, TEXT, Buffer.concat([payload, random.pick(NOT_UTF8)]))],
  "a control frame": ({ random }) => [aControl(random)],
  "control frames": ({ random }) => Array.from({ length: 300 }, () => aControl(random)),
  "a close frame": ({ random }) => [aClose(random)],
  "a message after a close frame": ({ random, payload }) => [aClose(random), frame(random, TEXT, payload)],
  "a length": ({ random, payload }) => [aLyingFrame(payload, random)],
  "a cut frame": ({ random, payload }) => {
    const whole = frame(random, TEXT, payload);
    return [whole.subarray(0, random.below(whole.length))];
  },
  "damaged frames": ({ random, payload }) => [damaged(Buffer.from(frame(random, TEXT, payload)), random).bytes],
  noise: ({ random }) => [random.bytes(random.below(400))],
};

const NOT_UTF8 = [
  Buffer.of(0xff),
  Buffer.of(0xc3, 0x28),
  Buffer.of(0xed, 0xa0, 0x80),
  Buffer.of(0xf4, 0x90, 0x80, 0x80),
  Buffer.of(0xc0, 0xaf),
];

/** A good one. */
export function textFrame(payload: Uint8Array, random: Random): Uint8Array {
  return frame(random, TEXT, payload);
}

export function damagedFrames(chance: Chance): Message {
  const name = chance.random.pick(Object.keys(MAKERS));
  return { name: `frames: ${name}`, bytes: Buffer.concat([...(MAKERS[name]?.(chance) ?? [])]) };
}

function fragments(payload: Buffer, random: Random, between: () => readonly Uint8Array[]): readonly Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let at = 0; at < payload.length;) {
    const part = payload.subarray(at, at + random.below(200));
    frames.push(
      frame(random, at === 0 && frames.length === 0 ? TEXT : CONTINUATION, part, { isLast: false }),
      ...between(),
    );
    at += Math.max(1, part.length);
  }
  return [...frames, frame(random, CONTINUATION, Buffer.alloc(0))];
}

function aControl(random: Random): Uint8Array {
  const isLast = random.chance(0.95);
  return frame(random, random.pick([PING, PONG]), random.bytes(random.pick([0, 1, 125, 126, 5000])), { isLast });
}

function aClose(random: Random): Uint8Array {
  const code = Buffer.alloc(2);
  code.writeUInt16BE(random.pick([0, 999, 1000, 1001, 1004, 1005, 1006, 1011, 1015, 2999, 3000, 4999, 5000, 65_535]));
  const reason = random.pick([Buffer.alloc(0), Buffer.from("bye"), random.pick(NOT_UTF8), Buffer.alloc(200, 0x61)]);
  return frame(random, CLOSE, random.pick([Buffer.alloc(0), code.subarray(0, 1), Buffer.concat([code, reason])]));
}

/** A frame that declares another length than it has, or its own in more bytes than it takes. */
function aLyingFrame(payload: Buffer, random: Random): Buffer {
  const mask = random.bytes(4);
  const head = Buffer.alloc(10);
  head[0] = 0x80 | TEXT;
  head[1] = 0x80 | 127;
  head.writeBigUInt64BE(
    random.pick([
      0n,
      1n,
      BigInt(payload.length),
      BigInt(payload.length + 1),
      0xffff_ffffn,
      1n << 53n,
      (1n << 63n) - 1n,
      (1n << 64n) - 1n,
    ]),
    2,
  );
  return Buffer.concat([head, mask, payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0))]);
}

/** As a client sends it, with a mask that the seed decides. */
function frame(
  random: Random,
  opcode: number,
  payload: Uint8Array,
  wanted: Parameters<typeof aFrame>[2] = {},
): Uint8Array {
  return aFrame(opcode, payload, { mask: random.bytes(4), ...wanted });
}
