import { chmod, mkdtemp, readFile, rm, stat, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, onTestFinished, test } from "vitest";

import { readSeed } from "../../../src/auth/key-file.ts";
import { parseKeyring } from "../../../src/auth/keyring.ts";
import { createSigner } from "../../../src/auth/signature.ts";
import { runLine } from "../../support/command-line.ts";

/** A path that does not exist, in a directory of the test's own. */
async function aPlace(name: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "horus-keys-"));
  onTestFinished(async () => rm(directory, { recursive: true, force: true }));
  return join(directory, name);
}

async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777;
}

describe("supervisor keygen", () => {
  test("writes the secret for its owner alone and prints the public key", async () => {
    const file = await aPlace("alice.key");

    const { code, stdout, stderr } = await runLine(["keygen", "--out", file]);

    const { publicKey } = createSigner(await readSeed(file));
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${publicKey}\n` });
    expect(stderr).toContain(`supervisor keys add --name NAME --principal WHO --key ${publicKey}`);
    await expect(modeOf(file)).resolves.toBe(0o600);
  });

  test("prints JSON for scripts", async () => {
    const file = await aPlace("alice.key");

    const { stdout } = await runLine(["keygen", "--out", file, "--json"]);

    expect(JSON.parse(stdout)).toEqual({ public_key: createSigner(await readSeed(file)).publicKey, file });
  });

  test("never writes over a file", async () => {
    const file = await aPlace("alice.key");
    await writeFile(file, "precious");

    const { code, stderr } = await runLine(["keygen", "--out", file]);

    expect(code).toBe(1);
    expect(stderr).toMatch(/exists, and a secret is never written over/u);
    await expect(readFile(file, "utf8")).resolves.toBe("precious");
  });
});

describe("supervisor init", () => {
  test("makes identity, owner key and keys.toml, and says what to do next", async () => {
    const directory = await aPlace("data");

    const { code, stdout } = await runLine(["init", "--data-dir", directory]);

    const identity = createSigner(await readSeed(join(directory, "identity.key"))).publicKey;
    const owner = createSigner(await readSeed(join(directory, "owner.key"))).publicKey;
    const keyring = parseKeyring(await readFile(join(directory, "keys.toml"), "utf8"));
    expect(code).toBe(0);
    expect(stdout.split("\n")).toEqual([
      `Made ${directory}: identity, owner key, keys.toml.`,
      `Identity: ${identity}`,
      `Next: supervisor --port 8080 --redis-url redis://localhost:6379 --data-dir ${directory}`,
      "",
    ]);
    expect(keyring).toMatchObject({ ok: true, keys: [{ key: owner }] });
    await expect(modeOf(join(directory, "keys.toml"))).resolves.toBe(0o600);
  });

  test("changes nothing the second time, with --force as well", async () => {
    const directory = await aPlace("data");
    await runLine(["init", "--data-dir", directory]);
    const file = join(directory, "keys.toml");
    await writeFile(file, `${await readFile(file, "utf8")}# edited by hand\n`);

    const second = await runLine(["init", "--data-dir", directory]);
    const forced = await runLine(["init", "--data-dir", directory, "--force"]);

    expect(second.stdout).toContain(`${directory} is there already; nothing was changed.`);
    expect(forced.stdout).toContain("nothing was changed");
    await expect(readFile(file, "utf8")).resolves.toMatch(/# edited by hand\n$/u);
  });

  test("takes the directory of the settings, as the supervisor does", async () => {
    const directory = await aPlace("data");
    const config = await aPlace("settings.toml");
    await writeFile(config, `data_dir = "${directory}"\n`);

    const { stdout } = await runLine(["init", "--config", config, "--json"]);

    const identity = createSigner(await readSeed(join(directory, "identity.key"))).publicKey;
    expect(JSON.parse(stdout)).toEqual({ directory, identity, new: true, mended: false });
  });

  test("refuses keys without keys.toml, and mends them with --force", async () => {
    const directory = await aPlace("data");
    await runLine(["init", "--data-dir", directory]);
    const owner = await readFile(join(directory, "owner.key"), "utf8");
    await unlink(join(directory, "keys.toml"));

    const refused = await runLine(["init", "--data-dir", directory]);
    const mended = await runLine(["init", "--data-dir", directory, "--force"]);

    expect(refused).toMatchObject({ code: 1, stdout: "" });
    expect(refused.stderr).toContain("supervisor init --force");
    expect(mended).toMatchObject({ code: 0 });
    expect(mended.stdout).toContain(`Made a new keys.toml in ${directory}, with the owner key alone in it.`);
    await expect(readFile(join(directory, "owner.key"), "utf8")).resolves.toBe(owner);
  });

  test("refuses an identity that others can read, and names the command that mends it", async () => {
    const directory = await aPlace("data");
    await runLine(["init", "--data-dir", directory]);
    const identity = join(directory, "identity.key");
    await chmod(identity, 0o644);

    const { code, stderr } = await runLine(["init", "--data-dir", directory]);

    expect(code).toBe(1);
    expect(stderr).toContain(`Run: chmod 600 ${identity}`);
  });
});
