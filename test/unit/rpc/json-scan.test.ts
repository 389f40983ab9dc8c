import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { MAX_MEMBERS, MAX_NESTING, scanJson } from "../../../src/rpc/json-scan.ts";

const OK = { ok: true };

function nested(levels: number, open = "[", close = "]"): string {
  return open.repeat(levels) + close.repeat(levels);
}

describe("scanJson", () => {
  test.each([
    ["{}"],
    ["[]"],
    ['"{{{{"'],
    ['{"a":1,"b":{"a":2},"c":[{"a":3},{"a":4}]}'],
    ['{"a":"a","b":"a"}'],
    ['["a","a",{"a":["a","a"]}]'],
    ['{"a\\\\":1,"a":2}'],
    ['{"a":"\\\\","b":"\\"a","c":1}'],
    ['{"":1," ":2}'],
    ['{"\\u00e9":1,"e":2}'],
    ['{"a":{"a":{"a":1}},"b":1}'],
    ['{"é":1,"e\u0301":2}'],
  ])("takes %s", (text) => {
    expect(scanJson(text)).toStrictEqual(OK);
  });

  test.each([
    ['{"a":1,"a":1}', "a"],
    ['{"a":{"b":1},"a":1}', "a"],
    ['[{"x":[{"b":1,"c":2,"b":3}]}]', "b"],
    ['{"a":1,"\\u0061":2}', "a"],
    ['{"\\u0061":1,"a":2}', "a"],
    ['{"\\ud83d\\ude00":1,"😀":2}', "😀"],
    ['{"\\/":1,"/":2}', "/"],
    ['{"":1,"":2}', ""],
    ['{"__proto__":1,"__proto__":2}', "__proto__"],
    ['{ "a" : 1 ,\n"a"\t: 2 }', "a"],
    ['{"a":[1,2,{"z":1}],"b":"}","a":2}', "a"],
    ['{"\\"":1,"\\"":2}', '"'],
    ['{"\\\\":1,"\\\\":2}', "\\"],
  ])("refuses %s", (text, key) => {
    expect(scanJson(text)).toStrictEqual({ ok: false, reason: `duplicate key ${JSON.stringify(key)}` });
  });

  test.each([["["], ['{"a":']])("takes %s to the deepest level and not beyond", (open) => {
    const close = open === "[" ? "]" : "1}";

    expect(scanJson(nested(MAX_NESTING, open, close))).toStrictEqual(OK);
    expect(scanJson(nested(MAX_NESTING + 1, open, close))).toStrictEqual({
      ok: false,
      reason: "nested deeper than 32 levels",
    });
  });

  test("counts levels that are open at once, not all there are", () => {
    expect(scanJson(`[${Array.from({ length: 1000 }, () => nested(MAX_NESTING - 1)).join(",")}]`)).toStrictEqual(OK);
  });

  test.each([["]]]]"], ['{"a'], ['{"a":1,"\\'], ["}"], [',"a","a"'], ['{"\\x":1,"\\x":2'], ["\u0000"], [""]])(
    "leaves it to the parser that %s is no JSON, or refuses it",
    (text) => {
      const scan = scanJson(text);

      expect(scan.ok || scan.reason.startsWith("duplicate key")).toBe(true);
      expect((): unknown => JSON.parse(text)).toThrow(SyntaxError);
    },
  );

  test.each([2, 16, 17, 18, 1000])("finds the last of %i keys among the ones before", (count) => {
    const keys = Array.from({ length: count - 1 }, (_, index) => `k${index}`);
    const text = (last: string): string => `{${[...keys, last].map((key) => `"${key}":{"k0":1}`).join(",")}}`;

    expect(scanJson(text("new"))).toStrictEqual(OK);
    for (const index of [0, Math.min(15, count - 2), count - 2]) expect(scanJson(text(`k${index}`)).ok).toBe(false);
  });

  test("cuts a long key in its message", () => {
    const key = "x".repeat(100_000);

    expect(JSON.stringify(scanJson(`{"${key}":1,"${key}":2}`)).length).toBeLessThan(200);
  });

  test("is linear in texts made to be slow", () => {
    for (const piece of ["\\", '\\"', '"', "{", '{"a":', ",", '\\\\"', '"\\"']) {
      expect(["boolean"]).toContain(typeof scanJson(piece.repeat(500_000)).ok);
    }
  }, 5000);

  test("agrees with a scan of what was written", () => {
    fc.assert(
      fc.property(aTree, (tree) => {
        expect(scanJson(write(tree)).ok).toBe(!hasDuplicate(tree) && depthOf(tree) <= MAX_NESTING);
      }),
      { numRuns: 2000 },
    );
  });

  test("takes whatever JSON.stringify writes", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 8 }), (value) => {
        expect(scanJson(JSON.stringify(value))).toStrictEqual(OK);
      }),
    );
  });

  test("survives any text", () => {
    const unit = fc.constantFrom("{", "}", "[", "]", '"', ",", ":", "\\", "u", "a", "0");
    fc.assert(
      fc.property(fc.string({ unit }), (text) => {
        expect(scanJson(text)).toHaveProperty("ok");
      }),
      { numRuns: 2000 },
    );
  });
});

/** JSON as it is written: members in order, names possibly twice, each perhaps escaped. */
type Tree =
  | { readonly kind: "leaf"; readonly text: string }
  | { readonly kind: "list"; readonly items: readonly Tree[] }
  | {
      readonly kind: "map";
      readonly members: readonly { readonly key: string; readonly escaped: boolean; readonly value: Tree }[];
    };

const { tree: aTree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 6 },
    fc.constantFrom('"a"', "1", "null", '"\\\\"', '"{\\""').map((text): Tree => ({ kind: "leaf", text })),
    fc.array(tie("tree"), { maxLength: 4 }).map((items): Tree => ({ kind: "list", items })),
    fc
      .array(
        fc.record({
          key: fc.constantFrom("a", "b", "c", "d", "e", '"', "\\", "é", ""),
          escaped: fc.boolean(),
          value: tie("tree"),
        }),
        { maxLength: 4 },
      )
      .map((members): Tree => ({ kind: "map", members })),
  ),
}));

function write(tree: Tree): string {
  if (tree.kind === "leaf") return tree.text;
  if (tree.kind === "list") return `[ ${tree.items.map(write).join(" ,")}]`;
  const members = tree.members.map(
    ({ key, escaped, value }) => `${escaped ? escape(key) : JSON.stringify(key)} : ${write(value)}`,
  );
  return `{${members.join(",\n")} }`;
}

function escape(key: string): string {
  const units = Array.from({ length: key.length }, (_, index) => key.charCodeAt(index).toString(16).padStart(4, "0"));
  return `"${units.map((unit) => `\\u${unit}`).join("")}"`;
}

function hasDuplicate(tree: Tree): boolean {
  if (tree.kind === "leaf") return false;
  if (tree.kind === "list") return tree.items.some(hasDuplicate);
  const keys = tree.members.map(({ key }) => key);
  return new Set(keys).size < keys.length || tree.members.some(({ value }) => hasDuplicate(value));
}

function depthOf(tree: Tree): number {
  if (tree.kind === "leaf") return 0;
  const inner = tree.kind === "list" ? tree.items : tree.members.map(({ value }) => value);
  return 1 + Math.max(0, ...inner.map(depthOf));
}

describe("The length of containers", () => {
  test.each([
    ["elements", (count: number) => `{"a":[${"1,".repeat(count - 1)}1]}`],
    ["members", (count: number) => `[{${Array.from({ length: count }, (_, at) => `"k${at}":1`).join(",")}}]`],
  ])("is bounded inside the message: %s", (_what, build) => {
    const reason = `more than ${MAX_MEMBERS} members in one container`;

    expect(scanJson(build(MAX_MEMBERS))).toStrictEqual(OK);
    expect(scanJson(build(MAX_MEMBERS + 1))).toStrictEqual({ ok: false, reason });
  });

  test("is the batch's own limit at the outside, and counted for each container", () => {
    expect(scanJson(`[${"1,".repeat(5000)}1]`)).toStrictEqual(OK);
    expect(scanJson(`[${"[1,2,3],".repeat(5000)}1]`)).toStrictEqual(OK);
    expect(scanJson(",".repeat(5000))).toStrictEqual(OK);
  });
});
