import { describe, expect, test } from "vitest";

import { asList, asNumber, asOneOf, asOptional, asText } from "../../../src/store/reply.ts";

describe("Replies", () => {
  test("are parsed as what they are", () => {
    expect(asText("x")).toBe("x");
    expect(asNumber(7)).toBe(7);
    expect(asNumber("1790000000000")).toBe(1_790_000_000_000);
    expect(asNumber("-1")).toBe(-1);
    expect(asList([1, "a"])).toEqual([1, "a"]);
    expect(asOneOf("b", ["a", "b"])).toBe("b");
  });

  test.each([null, undefined, ""])("know nothing when they see it: %j", (reply) => {
    expect(asOptional(reply, asText)).toBeUndefined();
    expect(asOptional("1", asNumber)).toBe(1);
  });

  test("of another kind are refused, and never repeated: they may hold payloads", () => {
    expect(() => asText(7)).toThrow("Redis answered number where text was due");
    expect(() => asText(["secret"])).toThrow("Redis answered a list where text was due");
    expect(() => asNumber("secret")).toThrow("Redis answered string where a number was due");
    expect(() => asNumber("")).toThrow(/a number was due/u);
    expect(() => asNumber(Infinity)).toThrow(/a number was due/u);
    expect(() => asList("secret")).toThrow("Redis answered string where a list was due");
    expect(() => asOneOf("secret", ["yes", "no"])).toThrow("Redis answered string where yes or no was due");
  });
});
