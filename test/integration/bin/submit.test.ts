import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { type Console, type RunningLine, startConsole, untilWritten } from "../../support/command-line.ts";
import type { TerminalWishes } from "../../support/terminal.ts";
import { waitUntil } from "../../support/wait.ts";

let system: Console;
beforeAll(async () => {
  system = await startConsole();
  await system.startRunner("demo");
});
afterAll(async () => {
  await system[Symbol.asyncDispose]();
});

/** Submits with `--json` and gives what was answered. */
async function submitted(...words: readonly string[]): Promise<Record<string, unknown>> {
  return system.json(["submit", "--runner", "demo", ...words]);
}

/** The job's document as the supervisor has it. */
async function documentOf(id: unknown): Promise<unknown> {
  return (await system.json(["job", "get", String(id)]))["job"];
}

describe("the payload of submit", () => {
  test("is a file, --payload, or standard input", async () => {
    const file = join(system.directory, "hello.sh");
    await writeFile(file, "echo from a file");

    const lines = await Promise.all([
      system.run(["submit", file, "--runner", "demo", "--follow"]),
      system.run(["submit", "--runner", "demo", "--follow", "--payload", "echo from a flag"]),
      system.run(["submit", "--runner", "demo", "--follow"], { input: "echo from a pipe" }),
    ]);

    expect(lines.map(({ code, stdout }) => [code, stdout])).toEqual([
      [0, "from a file\n"],
      [0, "from a flag\n"],
      [0, "from a pipe\n"],
    ]);
  });
});

describe("a signed job that is not there", () => {
  test.each([
    ["submit", "--signed"],
    ["cosign", "--yes"],
  ])("%s %s names the file and what to do", async (command, flag) => {
    const { code, stderr } = await system.run([command, flag, join(system.directory, "nofile")]);

    expect(code).toBe(2);
    expect(stderr).toMatch(/nofile can not be read \(ENOENT.*\)\. Name a file that is there/u);
  });
});

describe("the job that submit makes", () => {
  test("may be empty, which is said: a pipeline may have broken", async () => {
    const { code, stderr } = await system.run(["submit", "--runner", "demo"], { input: "" });

    expect(code).toBe(0);
    expect(stderr).toContain("warning: the payload is empty.");
  });

  test("says what the flags say, numbers as they were meant", async () => {
    const words = ["--env", "BRANCH=a=b", "--env", "EMPTY=", "--timeout", "007", "--priority", "9", "--context", "x"];
    const more = ["--max-attempts", "2", "--on-loss", "fail", "--executor", "bash", "--expires-in", "60"];

    const { id } = await submitted("--payload", "true", ...words, ...more);

    const document = await documentOf(id);
    expect(document).toMatchObject({
      payload: "true",
      env_vars: { BRANCH: "a=b", EMPTY: "" },
      timeout: 7,
      priority: 9,
      context_id: "x",
      max_attempts: 2,
      on_loss: "fail",
      executor: "bash",
    });
    expect(document).toSatisfy(
      (job: { created_at: number; expires_at: number }) => job.expires_at - job.created_at === 60,
    );
  });

  test("may start an hour long after its delay", async () => {
    const { id } = await submitted("--payload", "true", "--delay", "7200");

    const document = await documentOf(id);
    expect(document).toSatisfy(
      (job: { created_at: number; expires_at: number; not_before: number }) =>
        job.not_before - job.created_at === 7200 && job.expires_at - job.not_before === 3600,
    );
    await system.run(["job", "cancel", String(id)]);
  });

  test("is the same job where its id and content come again, though the clock went on", async () => {
    const id = "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b";
    const line = ["submit", "--runner", "demo", "--payload", "echo once", "--id", id];
    const first = await system.run(line);
    const second = Math.floor(Date.now() / 1000);
    await waitUntil(() => Math.floor(Date.now() / 1000) > second);

    const again = await system.run(line);
    const other = await system.run([...line, "--priority", "1"]);

    expect(first).toMatchObject({ code: 0, stdout: `${id}\n` });
    expect(again).toMatchObject({ code: 0, stdout: `${id}\n` });
    expect(again.stderr).toMatch(/\(known already\)/u);
    expect(other.code).toBe(1);
    expect(other.stderr).toMatch(/answered -32009: .*\. Leave out --id, or give a new one\.\n$/u);
  });

  test("is in conflict with one that was deleted", async () => {
    const id = "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5c";
    const line = ["submit", "--runner", "demo", "--payload", "true", "--id", id];
    await system.run([...line, "--wait"]);
    await system.run(["job", "delete", id]);
    const second = Math.floor(Date.now() / 1000);
    await waitUntil(() => Math.floor(Date.now() / 1000) > second);

    const { code, stderr } = await system.run(line);

    expect(code).toBe(1);
    expect(stderr).toContain("-32009");
  });

  test("is refused for a runner that nobody knows", async () => {
    const { code, stdout, stderr } = await system.run(["submit", "--runner", "nobody", "--payload", "true"]);

    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(
      /^error: the supervisor answered -32003: Forbidden\. Either no runner or group "nobody" is registered \(supervisor runner list/u,
    );
  });

  test("is told of by its id alone where nothing else is to say", async () => {
    const line = await system.run(["submit", "--runner", "demo", "--payload", "true"]);

    expect(line.stdout).toMatch(/^[0-9a-f-]{36}\n$/u);
    expect(line.stderr).toBe("");
  });

  test("is submitted all the same where its runner is away, which is said", async () => {
    await system.run(["runner", "register", "away"]);

    const line = await system.run(["submit", "--runner", "away", "--payload", "true"]);

    expect(line.code).toBe(0);
    expect(line.stderr).toBe('pending; no live runner takes "away" at the moment\n');
    await system.run(["job", "cancel", line.stdout.trim()]);
  });
});

describe("submit --wait", () => {
  test("shows each state once", async () => {
    const line = await system.run(["submit", "--runner", "demo", "--wait", "--delay", "1", "--payload", "true"]);

    expect(line.stderr.match(/ pending$/gmu)).toHaveLength(1);
  });

  test("prints the result alone on standard output, and exits 0", async () => {
    const payload = 'echo logged; printf %s "the result" > "$HORUS_RESULT"';

    const { code, stdout, stderr } = await system.run(["submit", "--runner", "demo", "--wait", "--payload", payload]);

    expect({ code, stdout }).toEqual({ code: 0, stdout: "the result\n" });
    expect(stderr).toMatch(/ completed on demo exit code 0\nreceipt good \(.*\)\n$/u);
    expect(stderr).not.toContain("logged");
  });

  test("exits 1 when the job failed", async () => {
    const { code, stderr } = await system.run(["submit", "--runner", "demo", "--wait", "--payload", "exit 3"]);

    expect(code).toBe(1);
    expect(stderr).toMatch(/ failed on demo exit code 3\n/u);
  });

  test("shows an end that nobody wishes for in red, and others not", async () => {
    const shown = { colours: { err: true } };
    const words = ["submit", "--runner", "demo", "--wait"];
    const failed = await system.run([...words, "--payload", "exit 3"], shown);
    const late = await system.run([...words, "--timeout", "1", "--payload", "sleep 60"], shown);
    const good = await system.run([...words, "--payload", "true"], shown);

    expect(failed.stderr).toMatch(red(" failed on demo exit code 3"));
    expect(late.stderr).toMatch(red(" timeout on demo.*"));
    expect(good.stderr).not.toMatch(red(".*"));
  });

  test("prints JSON alone for scripts, with the verdict on the receipt", async () => {
    const line = await system.run(["submit", "--runner", "demo", "--follow", "--json", "--payload", "echo logged"]);

    expect(line).toMatchObject({ code: 0 });
    expect(JSON.parse(line.stdout)).toMatchObject({
      state: "completed",
      code: 0,
      receipt_verdict: { ok: true },
    });
    expect(line.stderr).toMatch(/^[0-9a-f-]{36} pending\n$/u);
  });

  test("shows states in colour where somebody watches", async () => {
    const line = await system.run(["submit", "--runner", "demo", "--wait", "--payload", "true"], {
      isInteractive: true,
      colours: { err: true },
    });

    expect(line.stderr).toContain("\u001B[32mreceipt good");
    expect(line.stdout).toBe("");
  });
});

/** A submitter's key that the supervisor knows; gives its file. */
async function enrolled(name: string, ...words: readonly string[]): Promise<string> {
  const file = join(system.directory, `${name}.key`);
  const key = (await system.run(["keygen", "--out", file])).stdout.trim();
  const grant = ["--role", "submitter", "--runner", "demo"];
  await system.run(["keys", "add", "--name", name, "--key", key, ...grant, ...words]);
  await waitUntil(async () => (await system.run(["whoami", "--key", file])).code === 0);
  return file;
}

describe("submit --follow", () => {
  const SUBMIT = ["submit", "--runner", "demo", "--follow"];

  test("shows a job to its end with a key that may call once a second", async () => {
    const key = await enrolled("slow", "--rate", "1");

    const { code, stdout, stderr } = await system.run([...SUBMIT, "--key", key, "--payload", "echo slow"]);

    expect({ code, stdout }).toEqual({ code: 0, stdout: "slow\n" });
    expect(stderr).toContain("receipt good");
  });

  test("says in one line that its key was revoked meanwhile", async () => {
    const key = await enrolled("leaver");
    const payload = "while true; do echo more; sleep 0.1; done";
    const { terminal, ended } = system.start([...SUBMIT, "--key", key, "--payload", payload]);
    await terminal.waitFor(/more/u);

    await system.run(["keys", "revoke", "leaver", "--cancel-running"]);

    expect(await ended).toBe(1);
    expect(terminal.stderr.match(/^error: .*$/gmu)).toEqual([expect.stringContaining("-32001")]);
  });

  test("shows the job's output where the job wrote it, and what the runner says in brackets", async () => {
    const payload = "echo out; echo err >&2; printf '\\xff\\n'; exit 1";

    const { code, stdout, stderr } = await system.run(["submit", "--runner", "demo", "--follow", "--payload", payload]);

    expect(code).toBe(1);
    expect(stdout).toBe("out\nbase64:/w==\n");
    expect(stderr).toMatch(/^err$/mu);
  });

  test("leaves the job running when the person goes, and says so", async () => {
    const line = system.start(["submit", "--runner", "demo", "--follow", "--payload", "echo begun; sleep 60"]);
    await untilWritten(line, /begun/u);

    line.terminal.interrupt();
    const code = await line.ended;

    const [id = ""] = /[0-9a-f-]{36}/u.exec(line.terminal.stderr) ?? [];
    expect(code).toBe(1);
    expect(line.terminal.stderr).toMatch(
      /The job goes on without us\. Look: supervisor job get [0-9a-f-]{36}; stop it: supervisor job cancel [0-9a-f-]{36}\n$/u,
    );
    await expect(system.json(["job", "get", id])).resolves.toMatchObject({ state: "running" });
    await system.run(["job", "cancel", id]);
    await system.run(["job", "wait", id]);
  });
});

describe("Ctrl-C in submit --wait", () => {
  const LONG = ["submit", "--runner", "demo", "--follow", "--payload", "echo begun; sleep 60"];

  /** Starts the line, and interrupts it once its job runs. */
  async function interrupted(wishes: TerminalWishes): Promise<{ readonly line: RunningLine; readonly id: string }> {
    const line = system.start(LONG, { isInteractive: true, ...wishes });
    await untilWritten(line, /begun/u);
    line.terminal.interrupt();
    const [id = ""] = /[0-9a-f-]{36}/u.exec(line.terminal.stderr) ?? [];
    return { line, id };
  }

  test.each(["yes", "y", " YES "])("cancels the job when the person answers %j, and shows its end", async (answer) => {
    const { line, id } = await interrupted({ answer });

    expect(await line.ended).toBe(1);

    expect(line.terminal.stderr).toMatch(/Cancel it\? Type yes, or Enter to leave it running: /u);
    expect(line.terminal.stderr).toMatch(new RegExp(`${id} cancelled on demo`, "u"));
    expect(line.terminal.stderr).not.toContain("goes on without us");
    expect(line.terminal.stdout).toBe("begun\n");
    await expect(system.json(["job", "get", id])).resolves.toMatchObject({ state: "cancelled" });
  });

  test.each(["", "no", "yess"])("leaves the job running when the person answers %j", async (answer) => {
    const { line, id } = await interrupted({ answer });

    expect(await line.ended).toBe(1);

    expect(line.terminal.stderr).toMatch(new RegExp(`goes on without us.*supervisor job cancel ${id}\\n$`, "u"));
    await expect(system.json(["job", "get", id])).resolves.toMatchObject({ state: "running" });
    await system.run(["job", "cancel", id]);
    await system.run(["job", "wait", id]);
  });

  test("asks nobody where standard error goes into a file", async () => {
    const { line, id } = await interrupted({ answer: "yes", isInteractive: false });

    expect(await line.ended).toBe(1);

    expect(line.terminal.stderr).not.toContain("Cancel it?");
    await expect(system.json(["job", "get", id])).resolves.toMatchObject({ state: "running" });
    await system.run(["job", "cancel", id]);
    await system.run(["job", "wait", id]);
  });

  test("shows how the job ended where it ended before the answer", async () => {
    const gate = join(system.directory, "gate");
    const asked: ((answer: string) => void)[] = [];
    const answer = new Promise<string>((resolve) => asked.push(resolve));
    const payload = `echo begun; until [ -e '${gate}' ]; do sleep 0.05; done; echo over`;
    const line = system.start(["submit", "--runner", "demo", "--follow", "--payload", payload], {
      isInteractive: true,
      answer,
    });
    await untilWritten(line, /begun/u);
    line.terminal.interrupt();
    await untilWritten(line, /Cancel it\?/u);
    const [id = ""] = /[0-9a-f-]{36}/u.exec(line.terminal.stderr) ?? [];
    await writeFile(gate, "");
    await system.run(["job", "wait", id]);

    for (const say of asked) say("yes");

    expect(await line.ended).toBe(0);
    expect(line.terminal.stdout).toBe("begun\nover\n");
    expect(line.terminal.stderr).toMatch(/completed on demo exit code 0\nreceipt good/u);
  });
});

describe("a key that is not enrolled", () => {
  test("is refused with a hint at keys.toml", async () => {
    const key = join(system.directory, "stranger.key");
    await system.run(["keygen", "--out", key]);

    const { code, stderr } = await system.run(["submit", "--runner", "demo", "--payload", "true", "--key", key]);

    expect(code).toBe(1);
    expect(stderr).toMatch(/-32001: Unauthenticated.*Is this key in the supervisor's keys\.toml/u);
  });
});

/** A job's line in red, with this after its id. */
function red(line: string): RegExp {
  return new RegExp(`\u001b\\[31m[0-9a-f-]{36}${line}\u001b\\[39m\n`, "u");
}
