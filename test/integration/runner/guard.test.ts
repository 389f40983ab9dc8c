/** The guard beside a runner's process, where the system has little to give, and where it hears nothing. */
import { afterEach, describe, expect, test } from "vitest";

import { dismissGuard, ensureGuard, noteGone, noteRunning } from "../../../src/runner/running-groups.ts";
import { pidsOf, runProcess } from "../../support/process.ts";
import { waitUntil } from "../../support/wait.ts";

/** More than what a pipe and a stream take in without a reader. */
const MANY = 20_000;
/** No process has such a number. */
const NOBODY = 2 ** 30;

function guards(): readonly number[] {
  return pidsOf("job-guard", process.pid);
}

afterEach(() => dismissGuard());

describe("The guard", () => {
  test("is there for the first job, and gone when the runner stops", async () => {
    ensureGuard();
    expect(guards()).toHaveLength(1);

    dismissGuard();
    await waitUntil(() => guards().length === 0);
  });

  test("stays while another runner of the process has a job", () => {
    ensureGuard();
    noteRunning(NOBODY);
    dismissGuard();
    expect(guards()).toHaveLength(1);
    noteGone(NOBODY);
  });

  test("that hears nothing is replaced, so that nothing waits for it for ever", async () => {
    ensureGuard();
    const [deaf = 0] = guards();
    process.kill(deaf, "SIGSTOP");

    for (let told = 0; told < MANY; told += 1) {
      noteRunning(NOBODY + told);
      noteGone(NOBODY + told);
    }

    await waitUntil(() => !guards().includes(deaf));
    ensureGuard();
    expect(guards()).toHaveLength(1);
  });

  test("that can not be started stands in no job's way", async () => {
    // As many descriptors as a process has at its start, and four more.
    const script = `
      import { openSync } from "node:fs";
      import { ensureGuard, noteGone, noteRunning } from ${JSON.stringify(new URL("../../../dist/src/runner/running-groups.js", import.meta.url).href)};
      const open = [];
      try { for (;;) open.push(openSync("/dev/null", "r")); } catch {}
      ensureGuard();
      noteRunning(${NOBODY});
      noteGone(${NOBODY});
      console.log("goes on");`;
    const ran = await runProcess([
      "bash",
      "-c",
      'ulimit -n 64; exec "$0" --input-type=module -e "$1"',
      process.execPath,
      script,
    ]);

    expect(ran).toMatchObject({ code: 0, stdout: "goes on\n" });
  });
});
