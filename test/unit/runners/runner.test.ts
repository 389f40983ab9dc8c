import { describe, expect, test } from "vitest";

import { runnerState, toRunnerView } from "../../../src/runners/runner.ts";
import { aRunnerRecord } from "../../support/builders.ts";

const LEASE_MS = 15_000;

describe("runnerState()", () => {
  test.each([
    ["offline", "never seen", {}],
    ["offline", "detached by itself", { heartbeatMs: 99_999, isDetached: true }],
    ["offline", "silent for a lease", { heartbeatMs: 100_000 - 15_001 }],
    ["offline", "not heard of since the clock was put back", { heartbeatMs: 100_000 + 15_001 }],
    ["online", "heard of by a clock that was a little ahead", { heartbeatMs: 100_000 + 500 }],
    ["stale", "a heartbeat missed", { heartbeatMs: 100_000 - 7501 }],
    ["draining", "ending what runs", { heartbeatMs: 99_999, isDraining: true }],
    ["busy", "all slots taken", { heartbeatMs: 99_999, running: 2 }],
    ["online", "a slot free", { heartbeatMs: 99_999, running: 1 }],
  ])("is %s when %s", (expected, _why, wanted) => {
    expect(runnerState(aRunnerRecord({ body: { slots: 2 }, ...wanted }), LEASE_MS)).toBe(expected);
  });
});

describe("toRunnerView()", () => {
  test("shows the evidence there is and leaves out the rest", () => {
    const silent = toRunnerView(aRunnerRecord(), LEASE_MS);
    const seen = toRunnerView(
      aRunnerRecord({
        heartbeatMs: 99_000,
        claimedMs: 98_000,
        finishedMs: 97_000,
        oldestWaitingMs: 5,
        version: "1.0.0",
        waiting: 2,
      }),
      LEASE_MS,
    );

    expect(silent).not.toHaveProperty("heartbeat_ms");
    expect(seen).toMatchObject({
      heartbeat_ms: 99_000,
      claimed_ms: 98_000,
      finished_ms: 97_000,
      oldest_waiting_ms: 5,
      version: "1.0.0",
      waiting: 2,
    });
  });
});
