/** Malformed inputs on the real program: a short run always, a longer one with SOAK=1; `npm run fuzz` is the long one. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import type { Build } from "../bench/build.ts";
import { copyBuild } from "../support/built-program.ts";
import { isSoak, soakOrEvery } from "../support/soak.ts";
import { BREAKAGE_NAMES } from "./breakages.ts";
import { type FuzzOptions, type FuzzReport, runFuzz } from "./fuzz.ts";

/** How fast is the long run's to say: here an answer only has to come. */
const UNHURRIED = { lanes: 128, deadlineMs: 60_000 };
/** Enough for every breakage to be met with any seed; one that is unanswered is waited for. */
const BROKEN = { lanes: 128, deadlineMs: 8000, inputs: isSoak ? 600 : 200 };

let built: Build;

beforeAll(async () => {
  built = await copyBuild();
});
afterAll(async () => built[Symbol.asyncDispose]());

async function run(options: Omit<FuzzOptions, "built">): Promise<FuzzReport> {
  return runFuzz({ ...options, built });
}

describe("The program", () => {
  test.each(
    soakOrEvery(2, [
      ["the same each time", 20_261_125],
      ["new each time", Date.now() % 1_000_000],
    ] as const),
  )(
    "crashes, hangs, admits and keeps nothing, whatever is sent to it: inputs %s (seed %i)",
    async (_which, seed) => {
      const report = await run({ ...UNHURRIED, seed, inputs: isSoak ? 1500 : 300 });

      expect(report.findings).toEqual([]);
      expect(report.jobs).toBeGreaterThan(isSoak ? 100 : 20);
    },
    240_000,
  );
});

describe("A build that is broken", () => {
  test.each(soakOrEvery(6, BREAKAGE_NAMES))(
    "is found out: %s",
    async (broken) => {
      const report = await run({ ...BROKEN, seed: 7, broken });

      expect(report.findings.map(({ kind }) => kind)).toContain(broken);
    },
    240_000,
  );

  test.runIf(isSoak)(
    "by a crash is told by the number of the input that does it again, alone",
    async () => {
      const found = await run({ ...BROKEN, seed: 7, broken: "crash" });
      const only = found.findings.find(({ kind }) => kind === "crash")?.inputs ?? [];
      const again = await run({ ...BROKEN, seed: 7, broken: "crash", only });

      expect(only).toHaveLength(1);
      expect(again.findings.map(({ kind, inputs }) => ({ kind, inputs }))).toContainEqual({
        kind: "crash",
        inputs: only,
      });
    },
    240_000,
  );
});
