/** keys.toml by the command line, under a supervisor that follows it. */
import { chmod, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { type Console, startConsole } from "../../support/command-line.ts";
import { waitUntil } from "../../support/wait.ts";

let system: Console;
beforeAll(async () => {
  system = await startConsole();
});
afterAll(async () => system[Symbol.asyncDispose]());

const keyring = (): string => join(system.dataDirectory, "keys.toml");

describe("supervisor keys", () => {
  test("enrols a key that works at once, and revokes it for good", async () => {
    const file = join(system.directory, "alice.key");
    const key = (await system.run(["keygen", "--out", file])).stdout.trim();
    const before = await readFile(keyring(), "utf8");
    const whoami = async () => system.run(["whoami", "--key", file]);

    const words = ["--name", "alice", "--key", key, "--role", "submitter", "--runner", "build", "--runner", "gpu-*"];
    const added = await system.run(["keys", "add", ...words, "--not-after", "2099-01-01", "--rate", "50"]);
    await waitUntil(async () => (await whoami()).code === 0);
    const text = await readFile(keyring(), "utf8");
    const listed = await system.run(["keys", "list"]);
    const revoked = await system.run(["keys", "revoke", "alice", "--cancel-running"]);
    await waitUntil(async () => (await whoami()).code === 1);

    expect(added.stdout).toBe('Enrolled "alice".\n');
    expect(text.startsWith(before)).toBe(true);
    expect((await stat(keyring())).mode & 0o777).toBe(0o600);
    expect(listed.stdout).toMatch(/alice +alice +good +submitter +build,gpu-\* +ed25519:/u);
    expect(revoked.stdout).toContain('Revoked "alice", for good');
    expect(await system.json(["keys", "list"])).toMatchObject({
      keys: [{ name: "owner" }, { name: "alice", state: "revoked", cancel_running: true, rate: 50 }],
      requirements: [],
    });
  });

  test("a key without roles hears from whoami that it has none", async () => {
    const file = join(system.directory, "approver.key");
    const key = (await system.run(["keygen", "--out", file])).stdout.trim();
    await system.run(["keys", "add", "--name", "approver", "--key", key]);
    const whoami = async () => system.run(["whoami", "--key", file]);
    await waitUntil(async () => (await whoami()).stderr.includes("-32003"));

    expect((await whoami()).stderr).toMatch(/-32003: Forbidden\. The key is enrolled and has no role/u);
  });

  test.each([
    [["keys", "add", "--key", "ed25519:00"], 2, "--name is missing"],
    [["keys", "add", "--name", "x"], 2, "--key is missing"],
    [["keys", "add", "--name", "x", "--key", "ed25519:00"], 1, "key must be ed25519:"],
    [["keys", "revoke", "nobody"], 1, 'no key "nobody" in it'],
    [["keys", "revoke"], 2, "<key> is missing"],
  ])("%j ends with %d", async (words, code, says) => {
    const before = await readFile(keyring(), "utf8");
    const ran = await system.run(words);

    expect(ran.code).toBe(code);
    expect(ran.stderr).toContain(says);
    await expect(readFile(keyring(), "utf8")).resolves.toBe(before);
  });

  test("a key that can send nowhere, or has ended, is enrolled with a warning, and check names it", async () => {
    const key = (await system.run(["keygen", "--out", join(system.directory, "odd.key")])).stdout.trim();
    const directory = join(system.directory, "odd");
    await system.run(["init", "--data-dir", directory]);
    const words = ["--name", "odd", "--key", key, "--role", "submitter", "--not-after", "2020-01-01"];
    const added = await system.run(["keys", "add", ...words, "--data-dir", directory]);
    const other = (await system.run(["keygen", "--out", join(system.directory, "lone.key")])).stdout.trim();
    const lone = ["--name", "lone", "--key", other, "--role", "submitter", "--data-dir", directory];
    const second = await system.run(["keys", "add", ...lone]);
    const checked = await system.run(["keys", "check", "--data-dir", directory]);

    expect([added.code, second.code, checked.code]).toEqual([0, 0, 0]);
    expect(added.stderr).toContain('warning: key "odd" ended 2020-01-0');
    expect(second.stderr).toContain('warning: key "lone" is a submitter and no runner is granted to it');
    expect(checked.stderr).toContain('warning: key "odd" ended');
    expect(checked.stderr).toContain('warning: key "lone" is a submitter');
  });

  test("check reads a file as a supervisor would, and names oddities", async () => {
    const own = await readFile(keyring(), "utf8");
    const file = join(system.directory, "other.toml");
    const lonely = '\n[[require]]\nrunner = "prod"\nprincipals = ["nobody"]\nat_least = 1\n';
    await writeFile(file, own + lonely, { mode: 0o600 });

    const odd = await system.run(["keys", "check", file]);
    const good = await system.json(["keys", "check"]);
    await writeFile(file, `${own}\n[[key]]\nname = "x"\n`);
    const bad = await system.run(["keys", "check", file]);
    await chmod(file, 0o666);
    const open = await system.run(["keys", "check", file]);

    expect(odd.code).toBe(0);
    expect(odd.stdout).toMatch(/is good: \d keys, 1 requirement\n/u);
    expect(odd.stderr).toContain('warning: require "prod"');
    expect(good).toMatchObject({ file: keyring(), requirements: 0, advice: [] });
    expect([bad.code, open.code]).toEqual([1, 1]);
    expect(bad.stderr).toContain('key "x": ');
    expect(open.stderr).toContain("chmod go-w");
  });
});
