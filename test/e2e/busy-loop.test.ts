/** A runner whose event loop is held up: its jobs keep their leases for a while, and end when they must not go on. */
import { randomUUID } from "node:crypto";

import { describe, expect, onTestFinished, test } from "vitest";

import { pidsOf } from "../support/process.ts";
import type { RunningProgram } from "../support/program.ts";
import { startSystem } from "../support/system.ts";
import { waitUntil } from "../support/wait.ts";

const LEASE_MS = 3000;
const SETTINGS = `[jobs]
lease_ms = ${LEASE_MS}
reap_interval_ms = 250
kill_grace_ms = 500
`;
const PRELOAD = new URL("../support/blockable.mjs", import.meta.url).href;

interface Blockable {
  readonly runner: RunningProgram;
  /** A line about the job that runs, in this process. */
  readonly line: (...words: readonly string[]) => Promise<string>;
  readonly isRunning: () => boolean;
  /** Holds the event loop up, and resolves once it is. */
  readonly block: () => Promise<void>;
  readonly job: () => Promise<unknown>;
}

async function startBlockable(blockMs: number, script: string): Promise<Blockable> {
  const system = await startSystem(SETTINGS);
  onTestFinished(async () => system[Symbol.asyncDispose]());
  const env = { NODE_OPTIONS: `--import ${PRELOAD}`, BLOCK_MS: String(blockMs) };
  const runner = await system.startRunner("demo", ["--exec", "bash -s"], env);
  const mark = `horus-mark-${randomUUID()}`;
  const line = async (words: readonly string[], input = ""): Promise<string> =>
    (await system.run(words, { input })).stdout;
  const id = (await line(["submit", "--runner", "demo"], script.replaceAll("MARK", mark))).trim();
  const isRunning = (): boolean => pidsOf(mark).length > 0;
  await waitUntil(isRunning);
  return {
    runner,
    isRunning,
    line: async (...words) => line(["job", ...words, id]),
    block: async () => {
      runner.child.kill("SIGUSR2");
      await runner.waitFor(/event loop blocked/u);
    },
    job: async () => system.json(["job", "get", id]),
  };
}

const isFree = ({ runner }: Blockable): boolean => runner.output.includes("event loop free");

describe("A runner whose event loop is held up", () => {
  test("keeps its job for one and a half leases, and what the job did counts", async () => {
    const blockable = await startBlockable(1.5 * LEASE_MS, "exec -a MARK sleep 8");
    await blockable.block();
    await blockable.runner.waitFor(/event loop free/u);

    expect(await blockable.line("wait")).toMatch(/completed on demo/u);
    expect(await blockable.job()).toMatchObject({ state: "completed", attempt: 1, losses: 0 });
  });

  test("loses its job when it is held up far longer, and the job's process has ended before another may begin", async () => {
    const blockable = await startBlockable(60 * LEASE_MS, "trap '' TERM\nexec -a MARK sleep 300");
    await blockable.block();

    await waitUntil(async () => /1 lost/u.test(await blockable.line("get")), 20 * LEASE_MS);

    expect(isFree(blockable)).toBe(false);
    expect(blockable.isRunning()).toBe(false);
  });

  test("ends a job that is cancelled meanwhile, and says so afterwards", async () => {
    const blockable = await startBlockable(3 * LEASE_MS, "trap '' TERM\n(exec -a MARK sleep 300)\nsleep 300");
    await blockable.block();

    await blockable.line("cancel");
    await waitUntil(() => !blockable.isRunning());

    expect(isFree(blockable)).toBe(false);
    expect(await blockable.line("wait")).toMatch(/cancelled on demo/u);
    expect(await blockable.job()).toMatchObject({ state: "cancelled", attempt: 1, losses: 0 });
  });
});
