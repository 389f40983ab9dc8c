import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { freePort } from "../../bin/demo/port.ts";
import { parseKeyring } from "../../src/auth/keyring.ts";
import { CHECKOUT } from "../support/checkout.ts";
import { type Ran, RunningProcess, runProcess } from "../support/process.ts";
import { type Block, blocksOf, readReadme } from "../support/readme.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";

const BLOCKS = blocksOf(await readReadme());
/** What is run, in the order it stands. `console` blocks show commands of npm, or of two machines. */
const COMMANDS = BLOCKS.filter(({ kind }) => kind === "sh" || kind === "sh service");

/** Written once a service is ready. */
const READY = /"event":"(?:started|runner_started)"/u;

let directory = "";
let redis: TestRedis;
let port = 0;
let env: Readonly<Record<string, string>> = {};
const services: RunningProcess[] = [];
const outputs: Ran[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "horus-readme-"));
  redis = await startRedis({ port: true, aof: "everysec" });
  port = await freePort();
  await mkdir(join(directory, "bin"));
  const program = fileURLToPath(new URL("../../dist/bin/supervisor.js", import.meta.url));
  await writeFile(join(directory, "bin", "supervisor"), `#!/bin/sh\nexec "${process.execPath}" "${program}" "$@"\n`);
  await chmod(join(directory, "bin", "supervisor"), 0o755);
  env = {
    PATH: `${join(directory, "bin")}:${process.env["PATH"] ?? ""}`,
    HOME: directory,
    SUPERVISOR_REDIS_URL: redis.url,
    SUPERVISOR_HTTP_PORT: String(port),
  };
});
afterAll(async () => {
  for (const service of services.toReversed()) await service.stop();
  await redis.stop();
  await rm(directory, { recursive: true, force: true });
});

/** The text with the ports of this test. */
function adapted(text: string): string {
  return text.replaceAll("8080", String(port)).replaceAll("6379", String(redis.port));
}

/** What the block wrote that has these words in it. */
function outputOf(words: string): Ran {
  const index = COMMANDS.filter(({ kind }) => kind === "sh").findIndex(({ text }) => text.includes(words));
  const output = outputs[index];
  if (output === undefined) throw new Error(`No block of README.md has "${words}" in it, or it was not run.`);
  return output;
}

/** Runs a block to its end, or starts a service and waits until it is ready. @throws Error with what it wrote */
async function play({ kind, text }: Block): Promise<void> {
  if (kind === "sh service") {
    const service = new RunningProcess(["bash", "--norc", "-euc", `exec ${adapted(text)}`], { cwd: directory, env });
    services.push(service);
    await service.waitFor(READY);
    return;
  }
  const ran = await runProcess(["bash", "--norc", "-euc", adapted(text)], { cwd: directory, env });
  outputs.push(ran);
  if (ran.code !== 0) throw new Error(`It ended with ${ran.code}:\n${ran.stdout}${ran.stderr}`);
}

describe("README.md's commands, in their order", () => {
  test.each(COMMANDS)("the $kind block at line $line works", async (block) => {
    await expect(play(block)).resolves.toBeUndefined();
  });
});

describe("README.md's commands do what the text says:", () => {
  test("the first start makes its directory and says so", () => {
    const data = join(directory, ".local", "share", "horus-supervisor");

    expect(services[0]?.output).toContain(`First start: made ${data} with the supervisor's identity ed25519:`);
  });

  test("a script on standard input runs as a job", () => {
    const { stdout, stderr } = outputOf("submit --runner demo --wait --follow");

    expect(stdout).toMatch(/^hello from job [0-9a-f-]{36}\n$/u);
    expect(stderr).toMatch(/^receipt good/mu);
  });

  test("a job is waited for, shown, listed, verified from files and deleted", () => {
    const { stdout } = outputOf("supervisor job wait");

    expect(stdout).toMatch(/^[0-9a-f-]{36} completed on demo exit code 0$/mu);
    expect(stdout).toMatch(/^result {5}done$/mu);
    expect(stdout).toMatch(/^step 1\nstep 2\nstep 3$/mu);
    expect(stdout).toMatch(/^Verified: ed25519:[0-9a-f]{64}, which you trust, signed this outcome of this job\.$/mu);
    expect(stdout).toMatch(/^deleted [0-9a-f-]{36}$/mu);
    expect(stdout).toMatch(/^demo +online/mu);
  });

  test("curl reads what needs no credential", () => {
    const { stdout } = outputOf('"method":"get_info"');

    expect(stdout).toMatch(/"identity":"ed25519:[0-9a-f]{64}"/u);
    expect(stdout).toContain('{"openrpc":"1.3.2"');
    expect(stdout).toContain('"ready":true');
  });
});

describe("README.md's program", () => {
  test("has 25 lines at most", () => {
    const [program, ...others] = BLOCKS.filter(({ kind }) => kind === "ts");
    expect(others).toEqual([]);
    expect(program?.text.trimEnd().split("\n").length).toBeLessThanOrEqual(25);
  });

  test("compiles, and runs a job to a receipt that is good", async () => {
    const block = BLOCKS.find(({ kind }) => kind === "ts");
    const project = join(directory, "project");
    const data = join(directory, ".local", "share", "horus-supervisor");
    await mkdir(join(project, "node_modules"), { recursive: true });
    // As installed: the program's own doors, and nothing else of the checkout.
    await symlink(CHECKOUT, join(project, "node_modules", "horus-supervisor"));
    await symlink(join(CHECKOUT, "node_modules", "@types"), join(project, "node_modules", "@types"));
    await writeFile(join(project, "example.mts"), adapted(block?.text ?? ""));
    const [, identity = ""] = /identity (ed25519:[0-9a-f]{64})/u.exec(services[0]?.output ?? "") ?? [];

    const options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2023", "--types", "node"];
    const compiled = await runProcess(
      [join(CHECKOUT, "node_modules", ".bin", "tsc"), ...options, "--skipLibCheck", "example.mts"],
      { cwd: project, env },
    );
    const ran = await runProcess([process.execPath, "--import", import.meta.resolve("tsx"), "example.mts"], {
      cwd: project,
      env: { ...env, HORUS_DATA: data, HORUS_SUPERVISOR: identity },
    });

    expect(compiled).toMatchObject({ code: 0, stdout: "" });
    expect(ran).toEqual({ code: 0, stdout: "hello\ncompleted vouched for by the supervisor\n", stderr: "" });
  });
});

describe("README.md's keys.toml", () => {
  test.each(BLOCKS.filter(({ kind }) => kind === "toml"))(
    "at line $line is one that the supervisor takes",
    ({ text }) => {
      expect(parseKeyring(text)).toMatchObject({ ok: true });
    },
  );
});
