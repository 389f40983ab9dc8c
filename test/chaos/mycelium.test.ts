/** Jobs over an overlay in a storm: a short one always, the full one with SOAK=1. */
import { describe, expect, test } from "vitest";

import { RpcError } from "../../src/client/index.ts";
import { CarrierError, errorText } from "../../src/errors.ts";
import { type Aftermath, runStorm, type Storm } from "../support/storm.ts";

const isSoak = process.env["SOAK"] === "1";
/** CHAOS_SEED=n repeats all decisions of a run; its timing stays the machine's. */
const seed = Number(process.env["CHAOS_SEED"] ?? Date.now() % 1_000_000);

const STORM: Omit<Storm, "nodes"> = {
  seed,
  ...(isSoak
    ? { jobs: 2000, wave: 30, waveEveryMs: 2000, partitionMs: 30_000, delaysUpToMs: 2000 }
    : { jobs: 120, wave: 10, waveEveryMs: 500, partitionMs: 1500, delaysUpToMs: 300 }),
  ...(isSoak ? { deadlineMs: 120_000, repeatAfterMs: 15_000 } : { deadlineMs: 30_000, repeatAfterMs: 1000 }),
};
/** An answer or an error may come so much after the deadline where the machine is busy. */
const SLACK_MS = 5000;

describe.each([2, 3])("over %i nodes in a storm", (nodes) => {
  test(
    "a job whose caller was answered is there once, every caller is answered or told, nothing runs twice",
    { timeout: isSoak ? 1_200_000 : 120_000 },
    async () => {
      process.stdout.write(`storm over ${nodes} nodes, CHAOS_SEED=${seed}\n`);

      const after = await runStorm({ ...STORM, nodes });

      process.stdout.write(summary(after));
      const { outcomes, admitted } = after;
      const answered = outcomes.filter(({ error }) => error === undefined).map(({ id }) => id);
      expect(outcomes).toHaveLength(STORM.jobs);
      expect(outcomes.filter(({ ms }) => ms > STORM.deadlineMs + SLACK_MS)).toEqual([]);
      expect(outcomes.filter(({ error }) => error !== undefined && !isClear(error))).toEqual([]);
      expect(answered.length).toBeGreaterThan(STORM.jobs / 2);
      expect(admitted).toEqual(expect.arrayContaining(answered));
      expect(after.admissions).toBe(admitted.length);
      expect(after.ran).toEqual(admitted);
    },
  );
});

function isClear(error: unknown): boolean {
  return error instanceof CarrierError || error instanceof RpcError;
}

function summary({ outcomes, deeds, blows }: Aftermath): string {
  const failed = outcomes.filter(({ error }) => error !== undefined);
  const slowest = Math.max(...outcomes.map(({ ms }) => ms)) / 1000;
  const told = [...new Set(failed.map(({ error }) => `  told: ${errorText(error)}\n`))].join("");
  const answered = `${outcomes.length - failed.length} of ${outcomes.length} jobs answered, the slowest after ${slowest.toFixed(1)} s`;
  return `${answered}; ${deeds.length} of ${blows} blows: ${deeds.join(", ")}\n${told}`;
}
