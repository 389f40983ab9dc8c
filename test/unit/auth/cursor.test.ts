import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { CursorSealer, deriveKey } from "../../../src/auth/cursor.ts";
import { SEEDS } from "../../support/signing.ts";

const sealer = new CursorSealer(deriveKey(SEEDS.supervisorA, "list_jobs cursor v1"));
const payload = { admittedMs: 1_790_000_030_000, id: "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b", scope: "[]" };

describe("CursorSealer", () => {
  test("opens what it sealed, in letters that need no escaping anywhere", () => {
    const text = sealer.seal(payload);

    expect(text).toMatch(/^[A-Za-z0-9_-]+$/);
    expect(text.length).toBeLessThan(512);
    expect(sealer.open(text)).toEqual(payload);
  });

  test("opens nothing that was changed in any one letter", () => {
    const text = sealer.seal(payload);
    const changed = Array.from(
      text,
      (letter, at) => text.slice(0, at) + (letter === "A" ? "B" : "A") + text.slice(at + 1),
    );

    expect(changed.map((each) => sealer.open(each)).filter((opened) => opened !== undefined)).toEqual([]);
  });

  test("opens nothing sealed for another purpose or by another identity", () => {
    for (const key of [deriveKey(SEEDS.supervisorA, "other"), deriveKey(SEEDS.supervisorB, "list_jobs cursor v1")]) {
      expect(sealer.open(new CursorSealer(key).seal(payload))).toBeUndefined();
    }
  });

  test.each(["", "A", "====", " ", "\u0000", "eyJhIjoxfQ", "é"])("opens no stray text: %j", (text) => {
    expect(sealer.open(text)).toBeUndefined();
  });

  test("knows one spelling of a cursor only", () => {
    const text = sealer.seal(payload);
    for (const other of [
      `${text}=`,
      ` ${text}`,
      `${text}\n`,
      text.replaceAll("-", "+").replaceAll("_", "/").concat("+"),
    ]) {
      expect(sealer.open(other)).toBeUndefined();
    }
  });

  test("survives any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(sealer.open(text)).toBeUndefined();
      }),
    );
  });
});

describe("deriveKey", () => {
  test("gives every supervisor of an identity the same 32 bytes, and they are not the seed", () => {
    const key = deriveKey(SEEDS.supervisorA, "a");

    expect(key).toHaveLength(32);
    expect(key).toEqual(deriveKey(SEEDS.supervisorA, "a"));
    expect(key).not.toEqual(deriveKey(SEEDS.supervisorA, "b"));
    expect(Buffer.from(key).toString("hex")).not.toBe(SEEDS.supervisorA);
  });
});
