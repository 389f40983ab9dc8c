import { existsSync } from "node:fs";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, onTestFinished, test } from "vitest";

import { loadKeyring } from "../../../src/auth/keyring-file.ts";
import { dataPaths, openDataDirectory, writeKeyring } from "../../../src/data-directory.ts";
import { ROLES } from "../../../src/rpc/method.ts";

async function aDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "horus-data-"));
  onTestFinished(async () => rm(directory, { recursive: true, force: true }));
  return join(directory, "data");
}

async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode % 0o1000;
}

describe("openDataDirectory()", () => {
  test("makes identity, owner key and keys.toml at a first start, for nobody else to read", async () => {
    const directory = await aDirectory();

    const opened = await openDataDirectory(directory);
    const { keys } = await loadKeyring(opened.paths.keyring);
    const [owner, ...others] = keys;

    expect(opened.isNew).toBe(true);
    expect(owner).toMatchObject({ name: "owner", principal: "owner", roles: ROLES, runners: ["*"] });
    expect(others).toEqual([]);
    expect((await readdir(directory)).toSorted()).toEqual(["identity.key", "keys.toml", "owner.key"]);
    for (const name of ["identity.key", "owner.key", "keys.toml"])
      expect(await modeOf(join(directory, name))).toBe(0o600);
    expect(await modeOf(directory)).toBe(0o700);
  });

  test("changes nothing the second time", async () => {
    const directory = await aDirectory();
    const first = await openDataDirectory(directory);
    const keyring = await readFile(first.paths.keyring, "utf8");

    const second = await openDataDirectory(directory);

    expect(second).toMatchObject({ isNew: false, identitySeed: first.identitySeed });
    await expect(readFile(first.paths.keyring, "utf8")).resolves.toBe(keyring);
  });

  test("refuses a directory with keys but no keys.toml, with the command that mends it", async () => {
    const directory = await aDirectory();
    const { paths } = await openDataDirectory(directory);
    await rm(paths.keyring);

    await expect(openDataDirectory(directory)).rejects.toThrow(/keys\.toml is missing.*supervisor init --force/u);

    await writeKeyring(paths);
    await expect(openDataDirectory(directory)).resolves.toMatchObject({ isNew: false });
  });

  test("refuses a secret that others can read, with the chmod to run", async () => {
    const directory = await aDirectory();
    const { paths } = await openDataDirectory(directory);
    await chmod(paths.identity, 0o644);

    await expect(openDataDirectory(directory)).rejects.toThrow(/chmod/u);
  });

  test.each(["", "ed25519-seed:00\n"])(
    "names the backup for an identity key that holds %j, and no new key",
    async (text) => {
      const directory = await aDirectory();
      const { paths } = await openDataDirectory(directory);
      await writeFile(paths.identity, text);

      const opened = openDataDirectory(directory);

      await expect(opened).rejects.toThrow(
        /identity\.key is not one line of .*Restore it from the backup:.*never ran/u,
      );
      await expect(opened).rejects.not.toThrow(/keygen/u);
    },
  );

  test.skipIf(!existsSync("/sys/kernel"))("names the ways out of a directory that takes no files", async () => {
    await expect(openDataDirectory("/sys")).rejects.toThrow(
      /^\/sys\/identity\.key can not be written \(.*\)\. Free space there, or choose another .* with --data-dir\.$/u,
    );
  });

  test("takes a directory that only a runner's keys are in for a new one", async () => {
    const directory = await aDirectory();
    const { paths } = await openDataDirectory(directory);
    await Promise.all([paths.identity, paths.owner, paths.keyring].map(async (path) => rm(path)));
    await writeFile(join(directory, "notes.txt"), "");

    await expect(openDataDirectory(directory)).resolves.toMatchObject({ isNew: true });
  });
});

describe("dataPaths()", () => {
  test("names a runner's files after it", () => {
    const paths = dataPaths("/d");

    expect([paths.runnerKey("demo"), paths.runnerSeen("demo")]).toEqual([
      "/d/runners/demo.key",
      "/d/runners/demo.seen",
    ]);
  });
});
