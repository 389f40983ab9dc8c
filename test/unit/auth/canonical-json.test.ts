import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { canonicalText, isCanonicalText } from "../../../src/auth/canonical-json.ts";
import { VECTORS } from "../../support/signing.ts";

function textOf(value: unknown): string | undefined {
  const canonical = canonicalText(value);
  return canonical.ok ? canonical.text : undefined;
}

function saying(text: string): unknown {
  return expect.stringContaining(text);
}

function nested(levels: number): unknown {
  let value: unknown = [];
  for (let level = 1; level < levels; level += 1) value = { a: value };
  return value;
}

describe("canonicalText", () => {
  test.each(VECTORS.canonical_ok)("keeps the canonical text %s", (text) => {
    expect(textOf(JSON.parse(text))).toBe(text);
    expect(isCanonicalText(text)).toBe(true);
  });

  test.each(VECTORS.wire_same_document)("finds the same document behind $name", ({ text, canonical }) => {
    expect(textOf(JSON.parse(text))).toBe(canonical);
    expect(isCanonicalText(text)).toBe(false);
    expect(isCanonicalText(canonical)).toBe(true);
  });

  // A duplicate key and a byte order mark are gone, or stop the parser, before there is a value to look at: the
  // dispatcher's own scan refuses both, and its tests hold it to these two vectors.
  const seenHere = VECTORS.wire_refused.filter(({ name }) => name !== "dup_key" && name !== "bom");

  test.each(seenHere)("refuses $name", ({ text }) => {
    expect(canonicalText(JSON.parse(text))).toMatchObject({ ok: false });
  });

  test.each(VECTORS.valid)("writes the body of vector $name as it was signed", ({ body }) => {
    expect(textOf(JSON.parse(body))).toBe(body);
  });

  test.each([
    ["null", { a: { b: null } }, "a.b", "null"],
    ["a fraction", { a: [1, 1.5] }, "a.1", "integers"],
    ["an unsafe integer", [2 ** 53], "0", "2^53-1"],
    ["infinity", -Infinity, "", "integers"],
    ["not a number", Number.NaN, "", "integers"],
    ["-0", { a: -0 }, "a", "-0"],
    ["undefined", { a: undefined }, "a", "undefined"],
    ["a bigint", [1n], "0", "bigint"],
    ["a function", { f: () => 1 }, "f", "function"],
    ["a lone surrogate", { text: "a\ud800" }, "text", "surrogate"],
    ["swapped surrogates", ["\udc00\ud800"], "0", "surrogate"],
    ["constructor", { a: { constructor: 1 } }, "a.constructor", "name"],
    ["prototype", { prototype: 1 }, "prototype", "name"],
    ["an empty key", { "": 1 }, "", "name"],
    ["a key that begins with a digit", { "1a": 1 }, "1a", "name"],
    ["a key of 65 characters", { ["k".repeat(65)]: 1 }, "k".repeat(64), "name"],
    ["a key with a lone surrogate", { "\ud800": 1 }, "\ud800", "name"],
  ])("refuses %s and says where", (_title, value, path, reason) => {
    expect(canonicalText(value)).toEqual({ ok: false, path, reason: saying(reason) });
  });

  test("refuses an own __proto__, which JSON.parse makes, without changing any prototype", () => {
    expect(canonicalText(JSON.parse('{"a":{"__proto__":{"admin":true}}}'))).toMatchObject({
      ok: false,
      path: "a.__proto__",
    });
    expect(Reflect.get({}, "admin")).toBeUndefined();
  });

  test("takes 16 levels and refuses the 17th, cycles included", () => {
    expect(canonicalText(nested(16))).toMatchObject({ ok: true });
    expect(canonicalText(nested(17))).toMatchObject({ ok: false, reason: saying("16") });
    const cycle: { self?: unknown } = {};
    cycle.self = cycle;
    expect(canonicalText(cycle)).toMatchObject({ ok: false });
  });

  test("tells a backslash before ud from a surrogate's escape", () => {
    expect(textOf({ a: "\\ud800 and 😀" })).toBe('{"a":"\\\\ud800 and 😀"}');
  });

  test("takes keys of 64 characters and of every letter class", () => {
    const key = `_${"a".repeat(60)}.-9`;
    expect(textOf({ [key]: [true, false, "", -1] })).toBe(`{"${key}":[true,false,"",-1]}`);
  });
});

describe("isCanonicalText", () => {
  const texts = VECTORS.invalid.flatMap(({ name, text }) => (text === undefined ? [] : [{ name, text }]));

  test.each(texts)("refuses vector $name", ({ text }) => {
    expect(isCanonicalText(text)).toBe(false);
  });

  test.each(VECTORS.wire_refused)("refuses $name", ({ text }) => {
    expect(isCanonicalText(text)).toBe(false);
  });

  test.each(["", "{", "nul", '{"a":1}{}'])("answers for what is no JSON: %j", (text) => {
    expect(isCanonicalText(text)).toBe(false);
  });
});

const key = fc
  .stringMatching(/^[A-Za-z_][A-Za-z0-9_.-]{0,20}$/)
  .filter((name) => !["__proto__", "constructor", "prototype"].includes(name));
const leaf = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.maxSafeInteger().filter((number) => !Object.is(number, -0)),
  fc.boolean(),
);
const document = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", maxDepth: 8 },
    leaf,
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(key, tie("value"), { maxKeys: 5 }),
  ),
})).value;

/** The same members, inserted in another order, at every level. */
function shuffled(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shuffled);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([name, member]) => [name, shuffled(member)]),
  );
}

describe("canonical text of any document", () => {
  test("parses back to the document and is canonical itself", () => {
    fc.assert(
      fc.property(document, (value) => {
        const text = textOf(value);
        expect(text).toBeDefined();
        expect(JSON.parse(text ?? "")).toEqual(JSON.parse(JSON.stringify(value)));
        expect(isCanonicalText(text ?? "")).toBe(true);
      }),
    );
  });

  test("does not depend on the order of members or on spaces", () => {
    fc.assert(
      fc.property(document, (value) => {
        expect(textOf(shuffled(value))).toBe(textOf(value));
        expect(textOf(JSON.parse(JSON.stringify(value, undefined, 2)))).toBe(textOf(value));
      }),
    );
  });

  test("sorts members by their bytes", () => {
    fc.assert(
      fc.property(fc.uniqueArray(key, { maxLength: 8 }), (names) => {
        const text = textOf(Object.fromEntries(names.map((name) => [name, 1])));
        const sorted = names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
        expect(text).toBe(`{${sorted.map((name) => `"${name}":1`).join(",")}}`);
      }),
    );
  });

  test("is canonical itself, or refused, for any JSON value", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = textOf(value);
        expect(text === undefined || isCanonicalText(text)).toBe(true);
      }),
    );
  });

  test("takes the strings that UTF-8 can carry and no others", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0xd700, max: 0xe0ff }), { maxLength: 6 }), (units) => {
        const value = String.fromCharCode(...units);
        const isWellFormed = Buffer.from(value).toString() === value;
        expect(textOf(value)).toBe(isWellFormed ? `"${value}"` : undefined);
      }),
    );
  });
});
