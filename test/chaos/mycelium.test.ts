/** Jobs over an overlay in a storm: a short one always; `npm run chaos -- mycelium` and SOAK=1 are the full one. */
import { describe, expect, test } from "vitest";

import { CarrierError } from "../../src/errors.ts";
import { isSoak, soakOrEvery } from "../support/soak.ts";
import { type Aftermath, runStorm } from "../support/storm.ts";
import { describeStorm, FULL_STORM, judgeStorm, SHORT_STORM } from "./storm.ts";

/** CHAOS_SEED=n repeats all decisions of a run; its timing stays the machine's. */
const seed = Number(process.env["CHAOS_SEED"] ?? Date.now() % 1_000_000);

describe.each(soakOrEvery(2, [3, 2]))("over %i nodes in a storm", (nodes) => {
  test(
    "a job whose caller was answered is there once, every caller is answered or told, nothing runs twice",
    { timeout: isSoak ? 1_200_000 : 120_000 },
    async () => {
      process.stdout.write(`storm over ${nodes} nodes, CHAOS_SEED=${seed}\n`);
      const storm = { ...(isSoak ? FULL_STORM : SHORT_STORM), seed, nodes };

      const after = await runStorm(storm);

      process.stdout.write(describeStorm(after));
      expect(judgeStorm(after, storm)).toEqual([]);
    },
  );
});

describe("the verdict on a storm", () => {
  const storm = { ...SHORT_STORM, jobs: 3, nodes: 2, seed: 1 };
  const good: Aftermath = {
    outcomes: ["a", "b", "c"].map((id) => ({ id, atMs: 0, ms: 10 })),
    admitted: ["a", "b", "c"],
    admissions: 3,
    states: new Map(["a", "b", "c"].map((id) => [id, "completed"])),
    ran: ["a", "b", "c"],
    deeds: [],
    blows: 0,
  };
  const told = [{ id: "c", atMs: 0, ms: 10, error: new CarrierError("no answer", "unknown") }];

  test.each<[string, Partial<Aftermath>]>([
    ["nothing went wrong", {}],
    ["a caller was told, and its job is there", { outcomes: [...good.outcomes.slice(0, 2), ...told] }],
  ])("is good where %s", (_why, wanted) => {
    expect(judgeStorm({ ...good, ...wanted }, storm)).toEqual([]);
  });

  test.each<[string, Partial<Aftermath>, string]>([
    ["a caller heard nothing", { outcomes: good.outcomes.slice(1) }, "2 callers of 3 heard something"],
    [
      "an answered job is missing",
      { admitted: ["a", "b"], admissions: 2, ran: ["a", "b"] },
      "c: answered, and not there",
    ],
    ["a job ran twice", { ran: ["a", "a", "b", "c"] }, "a: ran 2 times"],
    ["a job did not complete", { states: new Map([["a", "running"]]) }, "a: admitted, and is running"],
    ["a job did not run", { ran: ["a", "b"] }, "c: admitted, and did not run"],
    ["a job was admitted twice", { admissions: 4 }, "4 admissions of 3 jobs"],
    [
      "an answer was late",
      { outcomes: [...good.outcomes.slice(1), { id: "a", atMs: 0, ms: 1e6 }] },
      "a: its caller heard nothing",
    ],
    [
      "an error was unclear",
      { outcomes: [...good.outcomes.slice(1), { id: "a", atMs: 0, ms: 1, error: new Error("?") }] },
      'a: its caller was told "?"',
    ],
  ])("is bad where %s", (_why, wanted, says) => {
    expect(judgeStorm({ ...good, ...wanted }, storm).join("\n")).toContain(says);
  });
});
