import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { CHECKOUT, copyCheckout, npmEnvironment } from "../support/checkout.ts";
import { type Ran, runProcess } from "../support/process.ts";

let directory = "";
let tarball = "";
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "horus-package-"));
  const copy = await copyCheckout();
  try {
    const packed = await runProcess(["npm", "pack", "--silent", "--pack-destination", directory], {
      cwd: copy,
      env: npmEnvironment(),
    });
    if (packed.code !== 0) throw new Error(`npm pack failed:\n${packed.stdout}${packed.stderr}`);
    tarball = join(directory, packed.stdout.trim().split("\n").at(-1) ?? "");
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
  const install = ["npm", "install", "-g", "--prefix", join(directory, "prefix"), "--prefer-offline", "--no-audit"];
  const installed = await runProcess([...install, "--no-fund", tarball], { cwd: directory, env: npmEnvironment() });
  if (installed.code !== 0) throw new Error(`npm install failed:\n${installed.stdout}${installed.stderr}`);
  // A build and an installation, beside other tests: a bound, no pace.
}, 180_000);
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** Runs the installed program, far from any checkout. */
async function supervisor(...words: readonly string[]): Promise<Ran> {
  const env = npmEnvironment({ XDG_DATA_HOME: directory });
  return runProcess([join(directory, "prefix", "bin", "supervisor"), ...words], { cwd: directory, env });
}

describe("the packed program", () => {
  test("helps", async () => {
    const { code, stdout, stderr } = await supervisor("--help");

    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("supervisor --port 8080 --mycelium --redis-url redis://localhost:6379");
  });

  test("says its version", async () => {
    const manifest: unknown = JSON.parse(await readFile(join(CHECKOUT, "package.json"), "utf8"));

    const { stdout } = await supervisor("--version");

    expect(manifest).toMatchObject({ version: stdout.trim() });
  });

  test("prints the OpenRPC document that is packed with it", async () => {
    const { code, stdout } = await supervisor("openrpc");

    const packed = await readFile(
      join(directory, "prefix", "lib", "node_modules", "horus-supervisor", "openrpc.json"),
      "utf8",
    );
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual(JSON.parse(packed));
  });

  test("makes a data directory", async () => {
    const { code, stdout } = await supervisor("init");

    expect(code).toBe(0);
    expect(stdout).toContain(`Made ${join(directory, "horus-supervisor")}: identity, owner key, keys.toml.`);
  });

  test("can be imported by its doors, and by no other", async () => {
    const script = join(directory, "prefix", "lib", "doors.mjs");
    await writeFile(
      script,
      `const doors = ["horus-supervisor", "horus-supervisor/client", "horus-supervisor/dial"];
for (const door of doors) console.log(door, Object.keys(await import(door)).length > 0);
await import("horus-supervisor/dist/bin/cli.js").catch((error) => console.log(error.code));`,
    );

    const { stdout, stderr } = await runProcess([process.execPath, script], { env: npmEnvironment() });

    expect({ stdout, stderr }).toEqual({
      stdout:
        "horus-supervisor true\nhorus-supervisor/client true\nhorus-supervisor/dial true\nERR_PACKAGE_PATH_NOT_EXPORTED\n",
      stderr: "",
    });
  });
});
