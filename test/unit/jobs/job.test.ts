import { describe, expect, test } from "vitest";

import { isTerminal, TRANSITIONS } from "../../../src/jobs/job.ts";
import { JOB_STATES, type JobState } from "../../../src/rpc/schema.ts";

describe("TRANSITIONS", () => {
  test("leads from no terminal state anywhere", () => {
    for (const state of JOB_STATES) expect(TRANSITIONS[state].length === 0).toBe(isTerminal(state));
  });

  test("reaches every state but pending from pending", () => {
    const reached = new Set<JobState>(["pending"]);
    for (const state of reached) {
      for (const next of TRANSITIONS[state]) reached.add(next);
    }

    expect(reached).toEqual(new Set(JOB_STATES));
  });
});
