import { array, assert, integer, property, uint8Array } from "fast-check";
import { describe, expect, test } from "vitest";

import { LineSplitter, type Piece } from "../../../src/runner/line-splitter.ts";

function split(maxLineBytes: number, chunks: readonly Uint8Array[]): Piece[] {
  const splitter = new LineSplitter(maxLineBytes);
  return [...chunks.flatMap((chunk) => [...splitter.push(chunk)]), ...splitter.end()];
}

function texts(pieces: readonly Piece[]): string[] {
  return pieces.map((piece) => (piece.kind === "line" ? Buffer.from(piece.bytes).toString() : `<${piece.kind}>`));
}

describe("LineSplitter", () => {
  test.each([
    { name: "lines", chunks: ["a\nb\n"], lines: ["a", "b"] },
    { name: "a line over chunks", chunks: ["a", "b", "\nc\n"], lines: ["ab", "c"] },
    { name: "empty lines", chunks: ["\n\na\n"], lines: ["", "", "a"] },
    { name: "a last line that nothing ends", chunks: ["a\nb"], lines: ["a", "b"] },
    { name: "nothing", chunks: ["", ""], lines: [] },
    { name: "a line of exactly the limit", chunks: ["12345678\n", "12345678"], lines: ["12345678", "12345678"] },
    {
      name: "a line too long",
      chunks: ["123456789\nnext\n"],
      lines: ["<split_begins>", "12345678", "9", "<split_ends>", "next"],
    },
    {
      name: "a line of twice the limit",
      chunks: ["1234567812345678\n"],
      lines: ["<split_begins>", "12345678", "12345678", "<split_ends>"],
    },
    {
      name: "a line too long that nothing ends",
      chunks: ["12345678", "9"],
      lines: ["<split_begins>", "12345678", "9", "<split_ends>"],
    },
    {
      name: "characters at the cut",
      chunks: ["1234567é9"],
      lines: ["<split_begins>", "1234567", "é9", "<split_ends>"],
    },
    {
      name: "long characters at the cut",
      chunks: ["12345😀x"],
      lines: ["<split_begins>", "12345", "😀x", "<split_ends>"],
    },
    { name: "characters that just fit", chunks: ["1234😀x"], lines: ["<split_begins>", "1234😀", "x", "<split_ends>"] },
    { name: "three-byte characters", chunks: ["123456€"], lines: ["<split_begins>", "123456", "€", "<split_ends>"] },
  ])("$name", ({ chunks, lines }) => {
    expect(
      texts(
        split(
          8,
          chunks.map((chunk) => Buffer.from(chunk)),
        ),
      ),
    ).toEqual(lines);
  });

  test("bytes that are no text are cut all the same", () => {
    const pieces = split(4, [new Uint8Array([0x80, 0x80, 0x80, 0x80, 0x80, 0xff, 0xfe])]);

    expect(pieces.flatMap((piece) => (piece.kind === "line" ? [piece.bytes.length] : []))).toEqual([4, 3]);
  });

  test("the end of a split line says how long it was", () => {
    expect(split(4, [Buffer.from("123456789\n")]).at(-1)).toEqual({ kind: "split_ends", bytes: 9 });
  });

  test("no byte is lost or made up, and no piece is longer than the limit, however it arrives", () => {
    assert(
      property(
        array(uint8Array({ maxLength: 40 }).map((bytes) => bytes.map((byte) => (byte % 7 === 0 ? 10 : byte)))),
        integer({ min: 4, max: 20 }),
        (chunks, limit) => {
          const pieces = split(limit, chunks);
          const joined: number[] = [];
          let longest = 0;
          let isSplit = false;
          for (const piece of pieces) {
            const isLine = piece.kind === "line";
            if (isLine) joined.push(...piece.bytes);
            longest = Math.max(longest, isLine ? piece.bytes.length : 0);
            isSplit = isLine ? isSplit : piece.kind === "split_begins";
            if (!isSplit) joined.push(10);
          }
          const whole = Buffer.concat(chunks);
          const expected = whole.length > 0 && whole.at(-1) !== 10 ? [...whole, 10] : [...whole];
          expect(longest).toBeLessThanOrEqual(limit);
          expect(joined).toEqual(expected);
        },
      ),
    );
  });
});
