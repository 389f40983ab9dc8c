import { expect, test } from "vitest";

import { UsageError } from "../../../bin/command.ts";
import { RefusedError } from "../../../bin/hints.ts";
import { InterruptedError, NotRunningError } from "../../../bin/impatient-dialer.ts";
import { report } from "../../../bin/report.ts";
import { RpcError } from "../../../src/client/rpc-error.ts";
import { CarrierError, ERRORS, SupervisorError } from "../../../src/errors.ts";
import { DaemonError } from "../../../transports/mycelium/daemon-request.ts";
import { RecordingTerminal } from "../../support/terminal.ts";

const LOST = new CarrierError("gone", "unknown");
const AWAY = new RpcError(ERRORS.unavailable.code, "Unavailable");

function textOf(error: unknown, words: readonly string[]): string {
  const terminal = new RecordingTerminal();
  report(error, words, terminal);
  return terminal.stderr;
}

test.each<[string, unknown, number]>([
  ["a wrong word", new UsageError("--to", { cause: LOST }), 2],
  ["nobody at the address", new NotRunningError("not running", { cause: LOST }), 3],
  ["an answer that never came", LOST, 3],
  ["a supervisor without its Redis", AWAY, 3],
  ["the same, explained", new RefusedError(AWAY, "It goes on."), 3],
  ["no Redis for a runner", new SupervisorError("unavailable"), 3],
  ["no daemon", new Error("Start mycelium", { cause: new DaemonError("refused", "no daemon") }), 3],
  ["a refusal", new RpcError(ERRORS.forbidden.code, "Forbidden"), 1],
  ["a person's stop", new InterruptedError("Interrupted", { cause: LOST }), 1],
  ["anything else", new Error("broken"), 1],
  ["what is no error", "broken", 1],
])("after %s the exit code is what scripts expect", (_what, error, code) => {
  expect(report(error, ["job", "wait"], new RecordingTerminal())).toBe(code);
  expect(textOf(error, ["job", "wait"])).toMatch(/^error: .*\n$/u);
});

test("a refusal's data are words, and JSON for whoever asked for it", () => {
  const refusal = new RpcError(ERRORS.tooLarge.code, "Too large", { limit: "job_bytes", allowed: 10 });

  for (const error of [refusal, new RefusedError(refusal, "Send less.")]) {
    expect(textOf(error, ["submit"])).toMatch(/-32013: Too large \(job_bytes: 10 allowed\)\. Send less/u);
    expect(textOf(error, ["submit", "--json"])).toMatch(
      /-32013: Too large \{"limit":"job_bytes","allowed":10\}\. Send less/u,
    );
  }
});
