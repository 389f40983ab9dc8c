import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";

import { copyCheckout, npmEnvironment } from "../support/checkout.ts";
import { leftBehind } from "../support/demo.ts";
import { RunningProcess, runProcess } from "../support/process.ts";

let copy = "";
/** Where the demo makes its directory; nothing else is in there. */
let temporary = "";
/** Holds the port that the demo would like to have; as soon as nobody else does, another checkout's test for one. */
const taker: Server = createServer();
/** Between two tries, in ms. */
const AGAIN_MS = 50;
let retry: NodeJS.Timeout | undefined;
function listen(): void {
  taker.listen(8080, "127.0.0.1");
}
beforeAll(async () => {
  copy = await copyCheckout();
  temporary = await mkdtemp(join(tmpdir(), "horus-quickstart-"));
  await new Promise<void>((resolve) => {
    taker.once("listening", resolve);
    taker.on("error", () => {
      resolve();
      retry = setTimeout(listen, AGAIN_MS);
    });
    listen();
  });
});
afterAll(async () => {
  clearTimeout(retry);
  taker.close();
  await rm(copy, { recursive: true, force: true });
  await rm(temporary, { recursive: true, force: true });
});

/** A build and a whole system, beside other tests: a bound, no pace. */
const TIMEOUT = { timeout: 180_000 };

function environment(): Readonly<Record<string, string>> {
  return npmEnvironment({ TMPDIR: temporary });
}

/** What of the demo is there still, its directory included. */
async function remains(output: string): Promise<readonly (number | string)[]> {
  const directories = (await readdir(temporary)).filter((name) => name.startsWith("horus-demo-"));
  return [...(await leftBehind(output)), ...directories];
}

test("the quickstart builds, plays the way of a job to a verified receipt, and leaves nothing", TIMEOUT, async () => {
  const { code, stdout, stderr } = await runProcess([process.execPath, "bin/quickstart.mjs", "--once"], {
    cwd: copy,
    env: environment(),
  });

  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(stderr).not.toContain("installing packages");
  expect(stderr).toMatch(/^quickstart: building: done in [\d.]+ s$/mu);
  expect(stderr).toMatch(/^demo: port 8080 is taken, taking \d+$/mu);
  expect(stderr).toMatch(/^demo: submitted job .*: pending$/mu);
  expect(stderr).toMatch(/^demo: .* completed on demo exit code 0$/mu);
  expect(stdout).toMatch(/^counted \d+ files$/mu);
  expect(stderr).toMatch(/^demo: result: \{"files":\d+,"lines":\d+,"package_sha256":"[0-9a-f]{64}"\}$/mu);
  expect(stderr).toMatch(/^demo: receipt: verified$/mu);
  await expect(remains(stderr)).resolves.toEqual([]);
});

test("a second quickstart that is stopped half-way leaves nothing either", TIMEOUT, async () => {
  const run = new RunningProcess([process.execPath, "bin/quickstart.mjs"], { cwd: copy, env: environment() });
  onTestFinished(async () => {
    await run.stop("SIGKILL");
  });
  await run.waitFor(/^counted \d+ of \d+ files/mu);

  const code = await run.stop("SIGTERM");

  expect(code).toBe(1);
  expect(run.output).toMatch(/demo: stopped; no process, port or temporary file is left\n$/u);
  await expect(remains(run.output)).resolves.toEqual([]);
});
