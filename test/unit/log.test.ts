import { describe, expect, test } from "vitest";

import { SupervisorError } from "../../src/errors.ts";
import { errorText } from "../../src/errors.ts";
import { createLog, withMembers } from "../../src/log.ts";

const A_NUMBER: unknown = expect.any(Number);

function collect(pretty: boolean): { lines: string[]; log: ReturnType<typeof createLog> } {
  const lines: string[] = [];
  return { lines, log: createLog({ level: "debug", pretty }, { write: (line: string) => lines.push(line) }) };
}

describe("createLog()", () => {
  test("writes JSON lines without host and process id", () => {
    const { lines, log } = collect(false);

    log.info({ event: "started", port: 5 }, "up");

    expect(JSON.parse(lines[0] ?? "")).toEqual({
      level: 30,
      time: A_NUMBER,
      event: "started",
      port: 5,
      msg: "up",
    });
  });

  test("keeps payloads, environments, signatures and secrets out, also deeper down", () => {
    const { lines, log } = collect(false);

    const line = {
      payload: "canary",
      job: { payload: "canary", env_vars: { A: "canary" } },
      params: { auth: { sig: "canary" }, job: { secret: "canary" } },
      ...Object.fromEntries(
        ["env_vars", "signature", "signatures", "sig", "secret", "password", "result", "text"].map((name) => [
          name,
          "canary",
        ]),
      ),
    };
    log.warn({ event: "call_failed", ...line }, "a call failed");

    expect(lines.join("")).not.toContain("canary");
    expect(lines.join("")).toContain("[redacted]");
  });

  test("keeps them out of lists, of errors and of what lies deeper than any line needs", () => {
    const { lines, log } = collect(false);
    const deep = { a: { a: { a: { a: { a: { a: { a: { a: "canary" } } } } } } } };
    const round: Record<string, unknown> = { payload: "canary" };
    round["again"] = round;

    const line = {
      jobs: [{ id: 1, payload: "canary" }],
      err: new SupervisorError("conflict", { data: { job: { env_vars: "canary" }, state: "running" } }),
      deep,
      round,
    };
    log.warn({ event: "call_failed", ...line }, "a call failed");

    expect(lines.join("")).not.toContain("canary");
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      jobs: [{ id: 1, payload: "[redacted]" }],
      err: { data: { state: "running" } },
    });
  });

  test("says what an error was, whatever member it stands in", () => {
    const { lines, log } = collect(false);

    const error = new Error("it broke", { cause: new Error("the disk is full") });
    log.error({ event: "call_failed", error }, "a call failed");

    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      error: { type: "Error", message: "it broke: the disk is full" },
      msg: "a call failed",
    });
  });

  test("leaves what it is given as it is", () => {
    const { log } = collect(false);
    const job = { payload: "canary" };

    log.warn({ event: "call_failed", job }, "a call failed");

    expect(job).toEqual({ payload: "canary" });
  });

  test("writes readable lines where a person watches", async () => {
    const { lines, log } = collect(true);

    log.error({ event: "call_failed", job: { id: 1 } }, "it went wrong");

    await expect
      .poll(() => lines.join(""))
      .toMatch(/^\d\d:\d\d:\d\d\.\d{3} ERROR it went wrong event=call_failed job=\{"id":1\}\n$/u);
  });
});

describe("withMembers()", () => {
  test("adds members to each line, at each level, redacted as all are", () => {
    const { lines, log } = collect(false);
    const traced = withMembers(log, { traceparent: "00-a", payload: "canary", absent: undefined });

    for (const level of ["debug", "info", "warn", "error"] as const) traced[level]({ event: "started" }, "up");

    expect(lines).toHaveLength(4);
    for (const line of lines) {
      expect(JSON.parse(line)).toMatchObject({ event: "started", traceparent: "00-a", payload: "[redacted]" });
      expect(line).not.toContain("absent");
    }
  });
});

describe("errorText()", () => {
  test("gives the message, and the data of a typed error behind it", () => {
    expect(errorText(new Error("plain"))).toBe("plain");
    expect(errorText("thrown text")).toBe("thrown text");
    expect(errorText(new SupervisorError("unavailable", { data: { applied: "no" } }))).toBe(
      'Unavailable {"applied":"no"}',
    );
    expect(errorText(new SupervisorError("forbidden"))).toBe("Forbidden");
  });
});
