import { describe, expect, test } from "vitest";

import { toSummary, toView, traceparentOf } from "../../../src/jobs/view.ts";
import { aHead, aRecord } from "../../support/builders.ts";

describe("toSummary()", () => {
  test("leaves out what has not happened", () => {
    const summary = toSummary(aHead({ state: "pending" }));

    expect(summary).not.toHaveProperty("runner");
    expect(summary).not.toHaveProperty("finished_ms");
  });

  test("shows what has", () => {
    const summary = toSummary(
      aHead({ state: "failed", runner: "build-1", code: 3, reason: "exit code 3", finishedMs: 9 }),
    );

    expect(summary).toMatchObject({ runner: "build-1", code: 3, reason: "exit code 3", finished_ms: 9 });
  });
});

describe("toView()", () => {
  const record = aRecord({
    state: "completed",
    result: '{"text":"ok"}',
    env: { TOKEN: "canary" },
    payload: "echo canary",
  });

  test("shows the owner everything", () => {
    const view = toView(record, "owner");

    expect(view.redacted).toBe(false);
    expect(view.job).toMatchObject({ env_vars: { TOKEN: "canary" }, payload: "echo canary" });
    expect(view.result).toEqual({ text: "ok" });
  });

  test("keeps the environment from an admin", () => {
    const view = toView(record, "admin");

    expect(view.redacted).toBe(true);
    expect(view.job).not.toHaveProperty("env_vars");
    expect(view.job).toHaveProperty("payload");
    expect(view.result).toEqual({ text: "ok" });
  });

  test("keeps payload, environment and result from an observer", () => {
    const view = toView(record, "observer");

    expect(view.redacted).toBe(true);
    expect(JSON.stringify(view)).not.toContain("canary");
    expect(view).not.toHaveProperty("result");
  });

  test("says that nothing was left out where nothing was", () => {
    expect(toView(aRecord({ state: "pending" }), "admin").redacted).toBe(false);
  });

  test.each(["{", '"x"', '{"receipt":true}', '{"text":1}'])("shows the job where its runner handed in %s", (said) => {
    const view = toView(aRecord({ state: "completed", result: said, receipt: said }), "owner");

    expect(view).toMatchObject({ state: "completed" });
    expect(view).not.toHaveProperty("result");
    expect(view).not.toHaveProperty("receipt");
  });

  test("does not show a job whose own document is none", () => {
    expect(() => toView(aRecord({ document: '{"id":"x"}' }), "owner")).toThrow(/./u);
  });
});

describe("traceparentOf()", () => {
  test("gives the trace of a document that is ours, and nothing of another", () => {
    const record = aRecord({});
    const document: unknown = JSON.parse(record.document);
    const withTrace = (traceparent: unknown): string => JSON.stringify(Object.assign({}, document, { traceparent }));
    const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    expect(traceparentOf({ ...record, document: withTrace(trace) })).toBe(trace);
    expect(traceparentOf({ ...record, document: withTrace("anything\n") })).toBeUndefined();
    expect(traceparentOf({ ...record, document: "not ours" })).toBeUndefined();
    expect(traceparentOf(record)).toBeUndefined();
  });
});
