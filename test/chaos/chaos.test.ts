/** The program as processes under faults: a short run always; `npm run chaos` is the long one. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { copyBuild } from "../support/built-program.ts";
import { isSoak } from "../support/soak.ts";
import { type ChaosOptions, type ChaosReport, runChaos } from "./chaos.ts";

/** How soon is the long run's to say, on a machine of its own: here it only has to come to its end. */
const UNHURRIED = { leaseMs: 2000, recoveryMs: 90_000, patienceMs: 60_000 };

async function run(
  options: Pick<ChaosOptions, "seed" | "jobs" | "faults" | "lanes" | "kinds" | "broken">,
): Promise<ChaosReport> {
  const directory = await mkdtemp(join(tmpdir(), "horus-chaos-test-"));
  onTestFinished(async () => rm(directory, { recursive: true, force: true }));
  await using built = await copyBuild();
  return await runChaos({ ...UNHURRIED, ...options, built, historyPath: join(directory, "history.jsonl") });
}

test("no job is lost, admitted or accepted twice while supervisors, runners and Redis are killed and frozen", async () => {
  const size = isSoak ? { jobs: 150, faults: 6 } : { jobs: 60, faults: 3 };

  const report = await run({ seed: 4, lanes: 32, ...size });

  expect(report.violations).toEqual([]);
  expect(report.jobs).toBe(size.jobs);
  expect(report.faults).toHaveLength(size.faults);
}, 240_000);

/** It needs a job at work when its runner freezes, which a machine that is busy enough does not promise. */
test.runIf(isSoak)(
  "a build without the fence accepts the outcome of a runner that was frozen beyond its lease, and is found out",
  async () => {
    const report = await run({ seed: 4, jobs: 60, faults: 2, lanes: 24, kinds: ["freeze-runner"], broken: "fence" });

    expect(report.violations.map(({ invariant }) => invariant)).toContain("I2");
  },
  240_000,
);
