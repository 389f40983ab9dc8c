/** A running job is cancelled: gone with all its processes, and shown as cancelled, within two seconds. */
import { spawnSync } from "node:child_process";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { runLine } from "../support/command-line.ts";
import { startSystem, type System } from "../support/system.ts";
import { waitUntil } from "../support/wait.ts";

const PROMISED_MS = 2000;

let system: System;
beforeAll(async () => {
  // No renewal comes within a test: the runner is told by the hint alone.
  system = await startSystem("[jobs]\nlease_ms = 60000\n");
  await system.startRunner("demo");
});
afterAll(async () => {
  await system[Symbol.asyncDispose]();
});

/** In this process: the start of another one is not what is measured. */
async function line(words: readonly string[], input?: string): Promise<string> {
  const env = { SUPERVISOR_URL: system.url, SUPERVISOR_DATA_DIR: system.dataDirectory };
  return (await runLine(words, { env, ...(input === undefined ? {} : { input }) })).stdout;
}

function survivors(mark: string): string {
  return spawnSync("pgrep", ["-f", mark], { encoding: "utf8" }).stdout.trim();
}

/** What each job does beside waiting; MARK stands in the command line of its processes. */
const JOBS = [
  ["sleeps", "exec -a MARK sleep 300"],
  ["ignores SIGTERM", "trap '' TERM\n(exec -a MARK sleep 300) &\nwhile true; do (exec -a MARK sleep 1); done"],
  ["forked a daemon", "setsid bash -c 'trap \"\" TERM HUP; exec -a MARK sleep 300' > /dev/null 2>&1 &\nsleep 300"],
  ["floods its output", "yes MARK &\nyes MARK >&2"],
] as const;

describe("A running job that is cancelled", () => {
  // Retried: two seconds are little where other things run.
  test.each(JOBS)("is gone within two seconds when it %s", { retry: 3 }, async (_, script) => {
    const mark = `horus-mark-${process.pid}-${Math.random().toString(36).slice(2)}`;
    const id = (await line(["submit", "--runner", "demo"], script.replaceAll("MARK", mark))).trim();
    await waitUntil(() => survivors(mark) !== "");

    const askedMs = performance.now();
    await line(["job", "cancel", id]);
    const ended = await line(["job", "wait", id]);
    const tookMs = performance.now() - askedMs;

    expect(ended).toMatch(/ cancelled on demo/u);
    expect(survivors(mark)).toBe("");
    expect(tookMs).toBeLessThan(PROMISED_MS);
  });
});
