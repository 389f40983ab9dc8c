/** What stands below an attempt: pipes, scratch directories and leftovers, with real processes. */
import { spawn } from "node:child_process";
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { type ChildEnd, ChildProcess, type ChildSettings } from "../../../src/runner/child-process.ts";
import { findProcesses, killLeftovers } from "../../../src/runner/leftovers.ts";
import { PipePool } from "../../../src/runner/output-pipes.ts";
import { clearScratch, Scratch } from "../../../src/runner/scratch.ts";
import { quietLog } from "../../support/runner-harness.ts";
import { waitUntil } from "../../support/wait.ts";

let directory = "";

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "horus-child-test-"));
});

afterEach(async () => {
  await killLeftovers(directory);
  await rm(directory, { recursive: true, force: true });
});

interface Ran {
  readonly end: ChildEnd;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(pool: PipePool, wanted: Partial<ChildSettings>): Promise<Ran> {
  const seen = { stdout: "", stderr: "" };
  const child = new ChildProcess({
    command: ["bash", "-c", "echo out; echo err >&2"],
    env: { PATH: "/usr/bin:/bin" },
    workingDirectory: directory,
    output: await pool.take(),
    scratchPath: directory,
    killGraceMs: 300,
    pipeGraceMs: 300,
    onOutput: async (stream, chunk) => {
      seen[stream] += Buffer.from(chunk).toString();
    },
    onGroup: () => undefined,
    onCutOff: () => undefined,
    ...wanted,
  });
  return { end: await child.ended, ...seen };
}

/** Descriptors of this process that are pipes. */
async function pipes(): Promise<number> {
  const names = await readdir("/proc/self/fd");
  const targets = await Promise.all(names.map(async (name) => readlink(`/proc/self/fd/${name}`).catch(() => "")));
  return targets.filter((target) => target.includes("horus-pipes-")).length;
}

describe("ChildProcess", () => {
  test.each(["named", "node"])("%s pipes carry what it prints", async (kind) => {
    // A file stands where the directory of the names would be.
    const parent = join(directory, "pipes");
    if (kind === "node") await writeFile(parent, "");
    const pool = new PipePool(parent, quietLog);

    const ran = await run(pool, {});

    expect(ran).toEqual({ end: { isStarted: true, code: 0 }, stdout: "out\n", stderr: "err\n" });
    pool.close();
    expect(await pipes()).toBe(0);
  });

  test.each(["named", "node"])("a program that is not there leaves no %s pipe open", async (kind) => {
    const parent = join(directory, "pipes");
    if (kind === "node") await writeFile(parent, "");
    const pool = new PipePool(parent, quietLog);

    const missing = await run(pool, { command: ["/no/such"] });
    const broken = await run(pool, { env: { A: "\0" } });

    expect([missing.end.isStarted, broken.end.isStarted]).toEqual([false, false]);
    pool.close();
    expect(await pipes()).toBe(0);
  });

  test("asking it to end twice, or after it ended, changes nothing", async () => {
    const pool = new PipePool(directory, quietLog);
    const child = new ChildProcess({
      command: ["bash", "-c", "trap 'exit 3' TERM; echo up; while true; do sleep 0.02; done"],
      env: { PATH: "/usr/bin:/bin" },
      workingDirectory: directory,
      output: await pool.take(),
      scratchPath: join(directory, "none"),
      killGraceMs: 60_000,
      pipeGraceMs: 300,
      onOutput: async () => {
        child.terminate();
        child.terminate();
      },
      onGroup: () => undefined,
      onCutOff: () => undefined,
    });

    expect(await child.ended).toEqual({ isStarted: true, code: 3 });
    expect(child.hasExited).toBe(true);
    child.terminate();
    child.kill();
    pool.close();
  });
});

describe("PipePool", () => {
  test("many can take at once, and none gets another's", async () => {
    const pool = new PipePool(directory, quietLog);

    const ran = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => run(pool, { command: ["echo", String(index)] })),
    );

    expect(ran.map(({ stdout }) => stdout)).toEqual(Array.from({ length: 20 }, (_, index) => `${index}\n`));
    pool.close();
    expect(await pipes()).toBe(0);
    expect(await readdir(directory)).toEqual([]);
  });

  test("a moment without room costs the jobs of that moment their names alone, and leaves nothing behind", async () => {
    const parent = join(directory, "pipes");
    await writeFile(parent, "");
    const pool = new PipePool(parent, quietLog);
    const named = async (): Promise<boolean> =>
      (await run(pool, { command: ["bash", "-c", "readlink /proc/self/fd/1"] })).stdout.includes("horus-pipes-");

    expect(await named()).toBe(false);
    await rm(parent);

    expect(await named()).toBe(true);
    expect(await readdir(parent)).toEqual([]);
    pool.close();
    expect(await pipes()).toBe(0);
  });

  test("what is made while it is closed is closed", async () => {
    const pool = new PipePool(directory, quietLog);
    const taken = pool.take();
    pool.close();

    (await taken).discard();
    expect(await pipes()).toBe(0);
  });
});

/** Root may do in any directory what it likes: as somebody who may not. */
async function asNobody(act: () => Promise<void>): Promise<void> {
  if (process.geteuid?.() !== 0) return act();
  await chown(directory, 65_534, 65_534);
  process.seteuid?.(65_534);
  try {
    await act();
  } finally {
    process.seteuid?.(0);
  }
}

describe("Scratch", () => {
  test("what an earlier process left is killed and removed, and nothing else", async () => {
    const scratch = await Scratch.create(directory);
    await mkdir(join(directory, "another"));
    const child = spawn("sleep", ["100"], { env: { PATH: "/usr/bin:/bin", HORUS_RESULT: scratch.resultPath } });
    const exited = new Promise((resolve) => child.once("exit", (_code, signal) => resolve(signal)));
    await waitUntil(async () => (await findProcesses(directory)).length === 1);

    await clearScratch(directory, quietLog);

    expect(await exited).toBe("SIGKILL");
    expect(await readdir(directory)).toEqual(["another"]);
    await clearScratch(join(directory, "none"), quietLog);
  });

  test("what a job made read-only is removed all the same", async () => {
    await asNobody(async () => {
      const scratch = await Scratch.create(directory);
      const cache = join(scratch.workPath, "cache", "module");
      await mkdir(cache, { recursive: true });
      await writeFile(join(cache, "file"), "");
      await symlink(directory, join(cache, "link"));
      // As the module caches of some tools are.
      for (const path of [cache, join(cache, ".."), scratch.workPath]) await chmod(path, 0o555);

      await scratch.remove(quietLog);

      expect(await readdir(directory)).toEqual([]);
    });
  });

  test("one that can not be made whole leaves nothing behind", async () => {
    // Room for its own path, and not for one below it.
    let parent = directory;
    while (parent.length < 4074) parent = join(parent, "d".repeat(Math.min(200, 4075 - parent.length)));
    await mkdir(parent, { recursive: true });

    await expect(Scratch.create(parent)).rejects.toThrow("ENAMETOOLONG");

    expect(await readdir(parent)).toEqual([]);
  });

  test("a payload that was opened has no name any more", async () => {
    const scratch = await Scratch.create(directory);

    const file = await scratch.openPayload("secret");

    expect(await readdir(scratch.path)).toEqual(["work"]);
    expect(await readFile(file, "utf8")).toBe("secret");
    await file.close();
  });
});
