/** The kit against the reference runner, the runner in Python, and runners that are broken on purpose: a few, all with SOAK=1. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { isHere, PYTHON, PYTHON_RUNNER } from "../support/machine.ts";
import { soakOrEvery } from "../support/soak.ts";
import { BREAKAGES, breakRunner, RUNNER_DIRECTORY } from "./breakages.ts";
import { CHECKS } from "./checks.ts";
import { type ConformanceOptions, runConformance } from "./conformance.ts";
import { DEFAULT_LEASE_MS } from "./site.ts";

const REFERENCE = fileURLToPath(new URL("reference.sh", import.meta.url));
/** Needs a build: `npm test` makes one before it runs. */
const PROGRAM = fileURLToPath(new URL("../../dist/bin/supervisor.js", import.meta.url));
const LIMIT_MS = 240_000;

let directory = "";

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "horus-broken-runners-"));
});

afterAll(async () => rm(directory, { recursive: true, force: true }));

/** What did not pass, by name. */
async function faults(
  options: Pick<ConformanceOptions, "command"> & Partial<ConformanceOptions>,
): Promise<readonly string[]> {
  const usual = { checks: CHECKS, leaseMs: DEFAULT_LEASE_MS, patienceMs: 60_000, concurrency: 16 };
  const verdicts = await runConformance({ ...usual, ...options });
  return verdicts.filter(({ outcome }) => outcome !== "passed").map(({ name, detail }) => `${name}: ${detail}`);
}

function runPython(script: string): readonly string[] {
  // No byte code is left in the checkout.
  return [PYTHON, "-B", script];
}

describe("The table of checks", () => {
  test("names clauses of the protocol page, and every check once", async () => {
    const page = await readFile(new URL("../../src/store/README.md", import.meta.url), "utf8");
    const headings = new Set([...page.matchAll(/^##+ (.*)$/gmu)].map(([, heading]) => heading));
    const names = CHECKS.map(({ name }) => name);

    expect(CHECKS.filter(({ clause }) => !headings.has(clause)).map(({ name }) => name)).toEqual([]);
    expect(names).toEqual([...new Set(names)]);
  });

  test("has every check that is about safety seen failing", () => {
    const found = new Set(BREAKAGES.flatMap((breakage) => breakage.found));

    // The first needs a client that does not connect again by itself; the others show that what is good is not refused.
    expect(CHECKS.map(({ name }) => name).filter((name) => !found.has(name))).toEqual([
      "connections-cut",
      "result-at-the-limit",
      "honest",
      "from-group",
    ]);
  });
});

/** Side by side: most of it is waiting. */
describe("The kit", () => {
  test.concurrent(
    "passes the reference runner",
    async () => {
      const env = { PROGRAM, NODE: process.execPath };

      expect(await faults({ command: [REFERENCE], env })).toEqual([]);
    },
    LIMIT_MS,
  );

  test("says what a command wrote that is no runner", async () => {
    const run = faults({ command: ["sh", "-c", "echo no such thing >&2; exit 3"] });

    await expect(run).rejects.toThrow(/the runner ended \(3\): no such thing/);
  });
});

describe.skipIf(!isHere(PYTHON_RUNNER))("The kit and the runner in Python", () => {
  test.concurrent(
    "passes the runner in Python",
    async () => {
      expect(await faults({ command: runPython(join(RUNNER_DIRECTORY, "runner.py")) })).toEqual([]);
    },
    LIMIT_MS,
  );

  test.concurrent.each(soakOrEvery(11, BREAKAGES))(
    "finds a runner that $name",
    async (breakage) => {
      const script = await breakRunner(breakage, join(directory, String(BREAKAGES.indexOf(breakage))));
      const checks = CHECKS.filter(({ name }) => breakage.found.includes(name));

      const found = await faults({ command: runPython(script), checks, patienceMs: 6000 });

      expect(new Set(found.map((fault) => fault.split(":", 1)[0]))).toEqual(new Set(breakage.found));
    },
    LIMIT_MS,
  );
});
