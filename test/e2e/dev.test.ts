import { appendFile, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { copyCheckout, npmEnvironment } from "../support/checkout.ts";
import { leftBehind } from "../support/demo.ts";
import { RunningProcess } from "../support/process.ts";
import { waitUntil } from "../support/wait.ts";

const UP = /The system goes on until Ctrl-C\./u;

// A whole system from source, twice, beside other tests: a bound, no pace.
test(
  "npm run dev shows the logs, starts again on a change, and leaves nothing when it is stopped",
  { timeout: 180_000 },
  async () => {
    const copy = await copyCheckout();
    const temporary = await mkdtemp(join(tmpdir(), "horus-dev-"));
    onTestFinished(async () => {
      await rm(copy, { recursive: true, force: true });
      await rm(temporary, { recursive: true, force: true });
    });
    const env = npmEnvironment({ TMPDIR: temporary });
    const dev = new RunningProcess(["npm", "run", "dev"], { cwd: copy, env, detached: true });
    onTestFinished(() => {
      if (dev.isUp) dev.signalGroup("SIGKILL");
    });

    await dev.waitFor(UP);
    const firstLength = dev.output.length;
    await appendFile(join(copy, "src", "store", "lua", "claim.lua"), "-- changed\n");
    await dev.waitFor(UP, firstLength);
    // As Ctrl-C does: the terminal tells all of them, and npm and tsx tell each other once more.
    dev.signalGroup("SIGINT");
    await waitUntil(() => !dev.isUp);

    expect(dev.output).toMatch(/^supervisor \| [\d:.]+ info supervisor is up /mu);
    expect(dev.output).toMatch(/^runner {5}\| [\d:.]+ info attempt ended /mu);
    await waitUntil(async () => (await leftBehind(dev.output)).length === 0);
    await expect(readdir(temporary)).resolves.not.toContainEqual(expect.stringMatching(/^horus-demo-/u));
  },
);
