import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";

import { freePort } from "../../bin/demo/port.ts";
import { aJobGate } from "../support/job-gate.ts";
import { pidsOf } from "../support/process.ts";
import { RunningProgram } from "../support/program.ts";
import { startSystem, type System } from "../support/system.ts";
import { waitUntil } from "../support/wait.ts";

describe("a job from submit to its end", () => {
  let system: System;
  beforeAll(async () => {
    system = await startSystem();
    await system.startRunner("demo");
  });
  afterAll(async () => system[Symbol.asyncDispose]());

  test("runs, shows its log and result, and ends with a good receipt", async () => {
    const ran = await system.runProgram(["submit", "--runner", "demo", "--wait", "--follow"], {
      input: 'echo "to stdout"\necho "to stderr" >&2\nprintf \'{"answer":42}\' > "$HORUS_RESULT"\n',
    });

    expect(ran).toMatchObject({ code: 0, stdout: 'to stdout\n{"answer":42}\n' });
    expect(ran.stderr).toMatch(/to stderr/u);
    expect(ran.stderr).toMatch(/completed on demo exit code 0/u);
    expect(ran.stderr).toMatch(/receipt good/u);
  });

  test("fails with the script's exit code, which submit --wait passes on as failure", async () => {
    const view = await system.json(["submit", "--runner", "demo", "--payload", "exit 3", "--wait"]);
    const plain = await system.runProgram(["submit", "--runner", "demo", "--payload", "exit 3", "--wait"]);

    expect(view).toMatchObject({ state: "failed", code: 3, receipt_verdict: { ok: true } });
    expect(plain.code).toBe(1);
  });

  test("ends as timeout and leaves no process behind", async () => {
    const mark = `horus-mark-${process.pid}-${Date.now()}`;

    const view = await system.json(["submit", "--runner", "demo", "--wait", "--timeout", "1"], {
      input: `trap '' TERM\n(exec -a ${mark} sleep 300) &\n(exec -a ${mark} sleep 300)\nwhile true; do sleep 1; done\n`,
    });

    expect(view).toMatchObject({ state: "timeout" });
    expect(pidsOf(mark)).toEqual([]);
  });

  test("is listed, read and deleted by its owner, and then gone", async () => {
    const { id } = await system.json(["submit", "--runner", "demo", "--payload", "echo hello", "--wait"]);

    const listed = await system.run(["job", "list", "--state", "completed"]);
    const logs = await system.run(["job", "logs", String(id)]);
    const deleted = await system.run(["job", "delete", String(id)]);
    const again = await system.run(["job", "delete", String(id)]);
    const gone = await system.run(["job", "get", String(id)]);

    expect(listed.stdout).toContain(String(id));
    expect(logs.stdout).toBe("hello\n");
    expect([deleted.code, again.code, gone.code]).toEqual([0, 0, 1]);
    expect(gone.stderr).toMatch(/-32004: Not found/u);
  });

  test("can be cancelled while it runs", async () => {
    const gate = aJobGate(system, "never-opened");
    const { id } = await system.json(["submit", "--runner", "demo", "--payload", gate.script]);
    await gate.reached();

    await system.run(["job", "cancel", String(id)]);
    const ended = await system.run(["job", "wait", String(id)]);

    expect(ended.code).toBe(1);
    expect(ended.stdout).toMatch(/cancelled/u);
  });
});

describe("when something dies", () => {
  test("a killed runner's job runs again elsewhere and finishes once", async () => {
    await using system = await startSystem();
    const gate = aJobGate(system, "gate");
    const first = await system.startRunner("one", ["--exec", "bash -s", "--group", "both"]);
    const { id } = await system.json(["submit", "--runner", "both", "--payload", `${gate.script}; echo end`]);
    await gate.reached();

    await first.stop("SIGKILL");
    await gate.open();
    await system.startRunner("two", ["--exec", "bash -s", "--group", "both"]);
    await system.run(["job", "wait", String(id)]);
    const view = await system.json(["job", "get", String(id)]);
    const logs = await system.run(["job", "logs", String(id)]);

    expect(view).toMatchObject({ state: "completed", attempt: 2, losses: 1, runner: "two" });
    expect(logs.stdout.match(/^end$/gmu)).toHaveLength(1);
  });

  test("a supervisor killed and started again mid-job loses nothing", async () => {
    await using system = await startSystem();
    await system.startRunner("demo");
    const gate = aJobGate(system, "gate");
    const second = await system.startSupervisor();
    const env = { SUPERVISOR_URL: second.url };
    const { id } = await system.json(["submit", "--runner", "demo", "--payload", `${gate.script}; echo survived`], {
      env,
    });
    await gate.reached();

    await second.program.stop("SIGKILL");
    const third = await system.startSupervisor();
    await gate.open();
    await system.run(["job", "wait", String(id)], { env: { SUPERVISOR_URL: third.url } });
    const view = await system.json(["job", "get", String(id)], { env: { SUPERVISOR_URL: third.url } });

    expect(view).toMatchObject({ state: "completed", attempt: 1, losses: 0 });
  });

  test.each([
    ["http", "SIGKILL"],
    ["ws", "SIGTERM"],
  ] as const)(
    "a log that is followed over %s goes on behind a %s of the supervisor",
    { timeout: 180_000 },
    async (scheme, signal) => {
      await using system = await startSystem();
      await system.startRunner("demo");
      const [gate, last] = [aJobGate(system, "gate"), aJobGate(system, "last")];
      const port = await freePort();
      const words = ["--port", String(port)];
      const first = await system.startSupervisor(words);
      const payload = `echo one; ${gate.script}; echo two; ${last.script}; echo three`;
      const { id } = await system.json(["submit", "--runner", "demo", "--payload", payload]);
      const env = { SUPERVISOR_DATA_DIR: system.dataDirectory, SUPERVISOR_URL: `${scheme}://127.0.0.1:${port}` };
      const following = new RunningProgram(["job", "logs", String(id), "--follow"], { env });
      onTestFinished(async () => void (await following.stop("SIGKILL")));
      await following.waitFor(/^one$/mu);

      await first.program.stop(signal);
      await gate.open();
      await system.startSupervisor(words);
      await following.waitFor(/^two$/mu);
      await last.open();

      await following.waitFor(/^three$/mu);
      await waitUntil(() => !following.isUp);
      expect(following.child.exitCode).toBe(0);
      // Stderr may say that nobody answers, where a start takes its time.
      expect(following.stdout).toBe("one\ntwo\nthree\n");
    },
  );

  test("a supervisor stops on SIGTERM with exit code 0", async () => {
    await using system = await startSystem();
    const second = await system.startSupervisor();

    await expect(second.program.stop("SIGTERM")).resolves.toBe(0);
    expect(second.program.output).toMatch(/"event":"stopped"/u);
  });

  test("a runner drains on SIGTERM: what runs ends, and is not counted as lost", async () => {
    await using system = await startSystem();
    const gate = aJobGate(system, "gate");
    const runner = await system.startRunner("demo");
    const { id } = await system.json(["submit", "--runner", "demo", "--payload", `${gate.script}; echo drained`]);
    await gate.reached();

    const stopped = runner.stop("SIGTERM");
    await runner.waitFor(/runner_draining/u);
    await gate.open();
    await expect(stopped).resolves.toBe(0);
    await expect(system.json(["job", "get", String(id)])).resolves.toMatchObject({ state: "completed", losses: 0 });
  });
});
