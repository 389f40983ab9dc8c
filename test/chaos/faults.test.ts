import { expect, test } from "vitest";

import { seededRandom } from "../support/signing.ts";
import { FAULT_KINDS, planFaults, type Victim } from "./faults.ts";
import { planJobs } from "./jobs.ts";

const nothing = async (): Promise<void> => undefined;

function aVictim(name: string): Victim {
  return { name, kill: nothing, start: nothing, freeze: nothing, thaw: nothing };
}

/** What a run of this seed would do: its jobs, and its faults with victims, lengths and moments. */
function planOf(seed: number): unknown {
  const random = seededRandom(seed);
  const runners = ["r1", "r2", "r3"];
  const jobs = planJobs({ count: 300, leaseMs: 2000, group: "g", runners, random });
  const faults = planFaults(
    { count: 30, kinds: FAULT_KINDS, jobs: 300, lanes: 64, leaseMs: 2000, random, pause: async () => undefined },
    { supervisors: [aVictim("s1"), aVictim("s2")], runners: runners.map(aVictim), redis: aVictim("redis") },
  );
  return { jobs, faults: faults.map(({ fault, afterEnded, delayMs }) => ({ name: fault.name, afterEnded, delayMs })) };
}

test("a seed gives the same jobs and the same schedule of faults again, and another seed others", () => {
  expect(planOf(7)).toEqual(planOf(7));
  expect(planOf(8)).not.toEqual(planOf(7));
});
