/** Clocks that jump or are wrong (spec: faults, "clock ±120 s, ±1 h in one process"): nothing runs again for it, nothing is stuck. */
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { aJobGate, type JobGate } from "../support/job-gate.ts";
import { isHere } from "../support/machine.ts";
import type { RunningProgram } from "../support/program.ts";
import { startSystem, type System } from "../support/system.ts";
import { waitUntil } from "../support/wait.ts";
import { C_COMPILER, WrongClock } from "../support/wrong-clock.ts";

/** Long beside the moment for which the runner says nothing, on a busy machine too. */
const LEASE_MS = 4000;
const REAP_MS = 250;
const SETTINGS = `
[jobs]
lease_ms = ${LEASE_MS}
reap_interval_ms = ${REAP_MS}
`;

/** A job that stands at its gate. */
interface Held {
  readonly id: string;
  readonly gate: JobGate;
}

async function submit(system: System, payload: string, runner = "demo"): Promise<string> {
  const { id } = await system.json(["submit", "--runner", runner, "--payload", payload]);
  return String(id);
}

async function hold(system: System, name: string, runner?: string): Promise<Held> {
  const gate = aJobGate(system, name);
  const id = await submit(system, gate.script, runner);
  await gate.reached();
  return { id, gate };
}

async function endOf(system: System, id: string): Promise<Record<string, unknown>> {
  await system.run(["job", "wait", id]);
  return system.json(["job", "get", id]);
}

describe.skipIf(!isHere(C_COMPILER))("Redis' clock", () => {
  let clock: WrongClock;
  let system: System;
  let runner: RunningProgram;
  let client: ReturnType<System["redis"]["client"]>;
  /** Until when nothing is reaped: the reaper puts it off when it sees a jump. */
  const heldUntilMs = async (): Promise<string | null> => client.hget("horus:{s0}:reap", "not_before");
  /** And the reaper has seen it. */
  const setAndNoted = async (seconds: number): Promise<void> => {
    const before = await heldUntilMs();
    await clock.set(seconds);
    await waitUntil(async () => (await heldUntilMs()) !== before);
  };
  /** Nothing is good for a moment that was signed in the second in which a fast clock was put back, or before. */
  const setRight = async (): Promise<void> => {
    await setAndNoted(0);
    await waitUntil(async () => (await system.run(["job", "list"])).code === 0);
  };
  beforeAll(async () => {
    clock = await WrongClock.create();
    system = await startSystem(SETTINGS, { env: clock.env });
    client = system.redis.client();
    runner = await system.startRunner("demo");
  });
  afterAll(async () => {
    await system[Symbol.asyncDispose]();
    await clock[Symbol.asyncDispose]();
  });

  // To the past first: by a slow clock nothing is good that may have been used before a fast one was put back.
  test.each([-3600, -120, 3600, 120])("jumps by %i s while a job runs: it ends once", async (seconds) => {
    const held = await hold(system, `gate${seconds}`);

    // No renewal puts it right before the reaper has looked.
    runner.child.kill("SIGSTOP");
    await setAndNoted(seconds);
    await sleep(2 * REAP_MS);
    runner.child.kill("SIGCONT");
    await held.gate.open();
    expect(await endOf(system, held.id)).toMatchObject({ state: "completed", attempt: 1, losses: 0 });

    await setRight();
    const later = await submit(system, "echo later");
    expect(await endOf(system, later)).toMatchObject({ state: "completed", attempt: 1, losses: 0 });
  });

  test("is put back by an hour: the runner starts again and a lost job runs again within seconds", async () => {
    const words = ["--exec", "bash -s", "--group", "later"];
    const other = await system.startRunner("other", words);
    const held = await hold(system, "gate", "later");
    await clock.set(3600);
    const [wrong] = await client.time();
    const isOfWrongTime = async (key: string, member: string): Promise<boolean> =>
      Number(await client.zscore(key, member)) > Number(wrong) * 1000;
    // Renewed by the wrong clock, both of them.
    await waitUntil(async () => isOfWrongTime("horus:{s0}:leases", held.id));
    await waitUntil(async () => isOfWrongTime("horus:{s0}:live:later", "other"));

    await other.stop("SIGKILL");
    await setRight();
    await held.gate.open();
    await system.startRunner("other", words);

    expect(await endOf(system, held.id)).toMatchObject({ state: "completed", attempt: 2, losses: 1 });
  });
});

describe.skipIf(!isHere(C_COMPILER))("An hour", () => {
  let system: System;
  beforeAll(async () => {
    system = await startSystem();
    await system.startRunner("demo");
  });
  afterAll(async () => system[Symbol.asyncDispose]());

  describe.each([
    ["fast", 3600],
    ["slow", -3600],
  ])("%s", (word, seconds) => {
    test("a supervisor takes jobs, and they are carried out", async () => {
      await using clock = await WrongClock.create(seconds);
      const { program, url } = await system.startSupervisor([], clock.env);

      const env = { SUPERVISOR_URL: url };
      const { id } = await system.json(["submit", "--runner", "demo", "--payload", "echo done"], { env });

      expect(await endOf(system, String(id))).toMatchObject({ state: "completed", attempt: 1, losses: 0 });
      await program.stop("SIGTERM");
    });

    test("a runner is told to set its clock, and one that goes wrong later goes on with its work", async () => {
      await using clock = await WrongClock.create(seconds);
      await expect(system.startRunner(word, undefined, clock.env)).rejects.toThrow(/Set the clocks/u);
      await clock.set(0);
      await system.startRunner(word, undefined, clock.env);

      await clock.set(seconds);
      const id = await submit(system, "echo done", word);

      expect(await endOf(system, id)).toMatchObject({ state: "completed", attempt: 1, losses: 0 });
    });
  });
});
