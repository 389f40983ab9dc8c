/** How a runner's program is ended, and that no process of its jobs outlives it. */
import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";

import { pidsOf } from "../support/process.ts";
import type { RunningProgram } from "../support/program.ts";
import { startSystem, type System } from "../support/system.ts";
import { waitUntil } from "../support/wait.ts";

/** SIGUSR2 is an error that nobody catches. */
const BREAKABLE = "data:text/javascript,process.on('SIGUSR2',()=>{throw(new(Error)('broken'))})";

interface Busy {
  readonly runner: RunningProgram;
  readonly id: string;
  readonly isRunning: () => boolean;
  /** Sends it one job more; resolves when that one runs too. */
  readonly addJob: () => Promise<void>;
}

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(async () => system[Symbol.asyncDispose]());

/** A runner of a name of its own with a job that goes on for minutes and does not hear SIGTERM. */
async function startBusy(words: readonly string[] = []): Promise<Busy> {
  const mark = `horus-mark-${randomUUID()}`;
  const name = `runner-${mark.slice(-12)}`;
  const found = (): readonly number[] => pidsOf(mark);
  onTestFinished(() => found().forEach((pid) => process.kill(pid, "SIGKILL")));
  const env = { NODE_OPTIONS: `--import ${BREAKABLE}` };
  const runner = await system.startRunner(name, ["--exec", "bash -s", ...words], env);
  const payload = `trap '' TERM\n(exec -a ${mark} sleep 300)`;
  const submit = async (): Promise<string> => {
    const before = found().length;
    const { id } = await system.json(["submit", "--runner", name, "--payload", payload]);
    await waitUntil(() => found().length > before);
    return String(id);
  };
  const id = await submit();
  return { runner, id, isRunning: () => found().length > 0, addJob: async () => void (await submit()) };
}

describe("A runner with a running job", () => {
  test("that is told twice to stop ends at once, and its job's processes with it", async () => {
    const { runner, isRunning } = await startBusy();

    runner.child.kill("SIGTERM");
    await runner.waitFor(/"event":"runner_draining"/u);
    // Signals that come close together are one.
    await waitUntil(async () => {
      runner.child.kill("SIGTERM");
      return !runner.isUp;
    });

    expect(runner.child.exitCode).toBe(130);
    await waitUntil(() => !isRunning());
  });

  test("whose terminal is closed gives its job back as after SIGTERM", async () => {
    const { runner, id, isRunning } = await startBusy(["--grace", "0"]);

    expect(await runner.stop("SIGHUP")).toBe(0);

    expect(isRunning()).toBe(false);
    expect(await system.json(["job", "get", id])).toMatchObject({ state: "pending", attempt: 1, losses: 0 });
  });

  test("that is killed takes its job's processes with it", async () => {
    const { runner, isRunning } = await startBusy();

    await runner.stop("SIGKILL");
    await waitUntil(() => !isRunning());
    expect(runner.child.signalCode).toBe("SIGKILL");
  });

  test("that is killed after its guard was takes them with it from the next job on", async () => {
    const { runner, isRunning, addJob } = await startBusy(["--slots", "2"]);
    const guards = (): readonly number[] => pidsOf("job-guard", runner.child.pid);
    expect(guards()).toHaveLength(1);
    for (const pid of guards()) process.kill(pid, "SIGKILL");
    await waitUntil(() => guards().length === 0);

    await addJob();
    await runner.stop("SIGKILL");
    await waitUntil(() => !isRunning());
  });

  test("that breaks takes its job's processes with it", async () => {
    const { runner, isRunning } = await startBusy();

    expect(await runner.stop("SIGUSR2")).toBe(1);
    await waitUntil(() => !isRunning());
  });
});
