/** Standard output of the built program where it can not be written, or where nobody reads on. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { type Console, startConsole } from "../../support/command-line.ts";
import { runProcess } from "../../support/process.ts";
import { PROGRAM, type Ran } from "../../support/program.ts";

let system: Console;
beforeAll(async () => {
  system = await startConsole();
  await system.startRunner("demo");
});
afterAll(async () => {
  await system[Symbol.asyncDispose]();
});

/** A line of a shell, where `supervisor` is the built program; its exit code comes before that of the reader. */
async function shell(line: string): Promise<Ran> {
  const script = `set -o pipefail; supervisor() { '${PROGRAM.join("' '")}' "$@"; }; ${line}`;
  return runProcess(["bash", "-c", script], { env: system.env });
}

describe("standard output on a full disk", () => {
  test.each([
    "openrpc",
    "job list",
    "--help",
    "submit --runner demo --payload true",
    "submit --runner demo --payload true --wait --json",
  ])("fails supervisor %s in one line", async (words) => {
    const { code, stderr } = await shell(`supervisor ${words} > /dev/full`);

    expect(code).toBe(1);
    expect(stderr.match(/error:.*/gu)).toEqual(["error: standard output can not be written (ENOSPC)"]);
  });
});

describe("a reader that has read enough", () => {
  test("ends job logs --follow of a job that goes on, without a word", async () => {
    const payload = "while true; do echo more; sleep 0.05; done";
    const { stdout } = await system.run(["submit", "--runner", "demo", "--payload", payload]);

    const { code, ...output } = await shell(`supervisor job logs ${stdout.trim()} --follow | head -2`);

    expect(output).toEqual({ stdout: "more\nmore\n", stderr: "" });
    expect(code).toBe(141);
    await system.run(["job", "cancel", stdout.trim()]);
  });

  test("ends submit --follow, and says nothing more of the job", async () => {
    const payload = "while true; do echo more; sleep 0.05; done";

    const { stdout, stderr } = await shell(`supervisor submit --runner demo --follow --payload '${payload}' | head -1`);

    expect(stdout).toBe("more\n");
    expect(stderr).not.toContain("goes on");
    await system.run(["job", "cancel", /^[0-9a-f-]{36}/u.exec(stderr)?.[0] ?? ""]);
  });

  test("leaves a command alone that goes on without standard error", async () => {
    const { code, stdout } = await shell("supervisor submit --runner demo --follow --payload 'echo told' 2> >(true)");

    expect({ code, stdout }).toEqual({ code: 0, stdout: "told\n" });
  });
});
