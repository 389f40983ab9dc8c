/** A running job is cancelled: gone with all its processes, and shown as cancelled, within two seconds. */
import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { pidsOf } from "../support/process.ts";
import { startSystem, type System } from "../support/system.ts";
import { waitUntil } from "../support/wait.ts";

/** From the answer to the cancel to the end: a second between SIGTERM and SIGKILL, and as much for all the rest. */
const PROMISED_MS = 2000;
/** From the answer to the cancel to the end of a job that heeds SIGTERM. */
const HEARD_MS = 1000;
/** A busy machine may hold a process still for a second now and then; what is too slow is so each time. */
const TRIES = 3;

let system: System;
beforeAll(async () => {
  // Renewals are twenty seconds apart: the runner is told by the hint, or too late by far.
  system = await startSystem("[jobs]\nlease_ms = 60000\n");
  await system.startRunner("demo");
});
afterAll(async () => {
  await system[Symbol.asyncDispose]();
});

async function line(words: readonly string[], input = ""): Promise<string> {
  return (await system.run(words, { input })).stdout;
}

/** Runs a job, cancels it once its processes are there, and sees it end. Milliseconds from the answer to the end. */
async function cancelled(script: string): Promise<number> {
  const mark = `horus-mark-${randomUUID()}`;
  const id = (await line(["submit", "--runner", "demo"], script.replaceAll("MARK", mark))).trim();
  await waitUntil(() => pidsOf(mark).length > 0);

  const asked = await line(["job", "cancel", id]);
  const answeredMs = performance.now();
  const ended = await line(["job", "wait", id]);
  const tookMs = performance.now() - answeredMs;

  expect(asked).toMatch(/cancelling/u);
  expect(ended).toMatch(/ cancelled on demo/u);
  expect(pidsOf(mark)).toEqual([]);
  return tookMs;
}

/** The shortest of some tries, the first that is short enough. What each of them has to show, it shows each time. */
async function shortest(script: string, promisedMs: number): Promise<number> {
  let best = Infinity;
  for (let count = 0; count < TRIES && best >= promisedMs; count += 1) best = Math.min(best, await cancelled(script));
  return best;
}

/** What each job does beside waiting; MARK stands in the command line of its processes. */
const JOBS = [
  ["ignores SIGTERM", "trap '' TERM\n(exec -a MARK sleep 300) &\nwhile true; do (exec -a MARK sleep 1); done"],
  ["forked a daemon", "setsid bash -c 'trap \"\" TERM HUP; exec -a MARK sleep 300' > /dev/null 2>&1 &\nsleep 300"],
  ["floods its output", "yes MARK &\nyes MARK >&2"],
] as const;

describe("A running job that is cancelled", () => {
  test("has heard of it within a second, long before its next renewal", async () => {
    expect(await shortest("exec -a MARK sleep 300", HEARD_MS)).toBeLessThan(HEARD_MS);
  });

  test.each(JOBS)("is gone within two seconds when it %s", async (_, script) => {
    expect(await shortest(script, PROMISED_MS)).toBeLessThan(PROMISED_MS);
  });
});
