/** A process that is killed, and what it leaves behind: it runs no cleanup of its own. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";

import { expect, onTestFinished, test } from "vitest";

import { RunningProcess } from "./process.ts";
import { isGone } from "./runner-harness.ts";
import { waitUntil } from "./wait.ts";

/** Runs a module that says one line of words after "started" and goes on; kills it then. */
async function killedAfter(script: string): Promise<readonly string[]> {
  const source = script.replaceAll(/"(\.\/[^"]+)"/gu, (_, path: string) => `"${new URL(path, import.meta.url).href}"`);
  const program = new RunningProcess(
    [process.execPath, "--import", "tsx", "--input-type=module", "-e", `${source}\nsetInterval(() => {}, 1000);`],
    { env: { PATH: process.env["PATH"], TMPDIR: process.env["TMPDIR"] } },
  );
  onTestFinished(async () => void (await program.stop("SIGKILL")));
  const [, words = ""] = await program.waitFor(/^started (.*)$/mu);
  await program.stop("SIGKILL");
  return words.split(" ");
}

async function areGone(pids: readonly string[]): Promise<true> {
  for (const pid of pids) await waitUntil(async () => isGone(Number(pid)));
  return true;
}

test("A process that is killed takes its processes and its directory along, and nobody who was gone before", async () => {
  const bystander = spawn("sleep", ["300"]);
  onTestFinished(() => void bystander.kill());

  const [directory = "", ...pids] = await killedAfter(`
    import { spawn } from "node:child_process";
    import { EventEmitter } from "node:events";
    import { endWithUs, ourDirectory } from "./guard.ts";
    import { pidsOf } from "./process.ts";
    import { waitUntil } from "./wait.ts";
    const start = () => {
      const child = spawn("sleep", ["300"]);
      endWithUs(child);
      return child.pid;
    };
    const first = start();
    // The guard itself is killed, and has a successor.
    const guards = () => pidsOf("while read", process.pid);
    const killed = await waitUntil(() => guards()[0]);
    process.kill(killed, "SIGKILL");
    await waitUntil(() => guards().some((pid) => pid !== killed));
    // Its number has got to another process.
    const gone = Object.assign(new EventEmitter(), { pid: ${bystander.pid} });
    endWithUs(gone);
    gone.emit("exit");
    console.log("started", ourDirectory(), first, start());`);

  expect(pids).toHaveLength(2);
  expect(await areGone(pids)).toBe(true);
  await waitUntil(() => !existsSync(directory));
  expect(await isGone(Number(bystander.pid))).toBe(false);
});

test("A test process that is killed leaves no redis-server behind, in use or kept", async () => {
  const pids = await killedAfter(`
    import { startRedis } from "./redis.ts";
    const [used, kept] = [await startRedis(), await startRedis()];
    const { pid } = kept;
    await kept.stop();
    process.kill(pid, 0);
    console.log("started", used.pid, pid);`);

  expect(pids).toHaveLength(2);
  expect(await areGone(pids)).toBe(true);
});
