import { describe, expect, test } from "vitest";

import { faultOf } from "./findings.ts";

const HTTP = { carrier: "http", mayBeSilent: false } as const;

describe("faultOf()", () => {
  test.each([
    ["nothing in time", { ending: "unanswered", text: "" }, "unanswered"],
    ["a job that was let in", { ending: "answered", code: 200, text: '{"result":{"duplicate":false}}' }, "admitted"],
    ["a job that was deleted", { ending: "answered", code: 200, text: '{"result":{"deleted":true}}' }, "admitted"],
    ["a defect", { ending: "answered", code: 200, text: '{"error":{"code":-32603}}' }, "internal"],
    ["a status of nobody", { ending: "answered", code: 502, text: "" }, "odd"],
    ["silence where an answer was due", { ending: "answered", code: 204, text: "" }, "unanswered"],
  ] as const)("finds %s", (_what, outcome, kind) => {
    expect(faultOf(outcome, HTTP)?.kind).toBe(kind);
  });

  test.each([
    ["a refusal", { ending: "answered", code: 200, text: '{"error":{"code":-32700}}' }],
    [
      "the document, whose examples are answers",
      { ending: "answered", code: 200, text: '{"openrpc":"1.3.2","duplicate":false,"code":-32603}' },
    ],
    ["a close", { ending: "closed", text: "" }],
  ] as const)("finds nothing wrong with %s", (_what, outcome) => {
    expect(faultOf(outcome, HTTP)).toBeUndefined();
  });
});
