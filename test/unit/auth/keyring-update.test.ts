import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { addKey, type EditedKeyring, revokeKey } from "../../../src/auth/keyring-edit.ts";
import { updateKeyring } from "../../../src/auth/keyring-update.ts";
import { createSigner } from "../../../src/auth/signature.ts";
import { VECTORS } from "../../support/signing.ts";

const { caller, approver } = VECTORS.keys;
const FILE = `# mine\n[[key]]\nname = "a"\nprincipal = "a"\nkey = "${caller}"\nroles = []\n`;

let directory = "";
let path = "";

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "keyring-"));
  path = join(directory, "keys.toml");
  await writeFile(path, FILE, { mode: 0o644 });
});

afterEach(async () => rm(directory, { recursive: true, force: true }));

const add = (text: string): EditedKeyring =>
  addKey(text, { name: "b", principal: "b", key: approver, roles: [], runners: [] });

describe("updateKeyring", () => {
  test("puts the edited file in the place of the old one, closed to others, and leaves nothing beside it", async () => {
    await expect(updateKeyring(path, add)).resolves.toMatchObject({ keys: [{ name: "a" }, { name: "b" }] });

    const text = await readFile(path, "utf8");
    expect(text.startsWith(FILE)).toBe(true);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await expect(readdir(directory)).resolves.toEqual(["keys.toml"]);
  });

  test("follows a symbolic link, which stays one", async () => {
    const link = join(directory, "link.toml");
    await symlink("keys.toml", link);

    await updateKeyring(link, add);

    await expect(readFile(path, "utf8")).resolves.toContain('name = "b"');
    expect((await readdir(directory, { withFileTypes: true })).map((entry) => entry.isSymbolicLink())).toEqual([
      false,
      true,
    ]);
  });

  test("writes nothing where nothing changes", async () => {
    const revoked = await updateKeyring(path, (text) => revokeKey(text, { which: "a", now: 0, cancelRunning: false }));
    const before = await stat(path);
    await updateKeyring(path, (text) => revokeKey(text, { which: "a", now: 9e9, cancelRunning: false }));

    expect(revoked.keys[0]?.revokedAtMs).toBe(0);
    expect((await stat(path)).ino).toBe(before.ino);
  });

  test("leaves the file as it is when the edit is refused, or somebody else changed it meanwhile", async () => {
    await expect(updateKeyring(path, () => ({ ok: false, problem: "no" }))).rejects.toThrow(`${path}: no`);
    await expect(readFile(path, "utf8")).resolves.toBe(FILE);

    let saved = Promise.resolve();
    const racing = updateKeyring(path, (text) => {
      const edited = add(text);
      // As an editor that saves at this moment.
      saved = writeFile(path, `${FILE}# theirs\n`, { mode: 0o600 });
      return edited;
    });
    await racing.then(
      async () => expect(await readFile(path, "utf8")).toContain('name = "b"'),
      async (error: unknown) => expect(String(error)).toMatch(/left as it is|others may write|no \[\[key\]\]/),
    );
    await saved;
    await expect(readdir(directory)).resolves.toEqual(["keys.toml"]);
  });

  test("lets one edit be at work at a time: none of many at once is undone by another", async () => {
    const names = Array.from({ length: 8 }, (_, index) => `k${index}`);
    const adding = names.map(async (name) =>
      updateKeyring(path, (text) =>
        addKey(text, {
          name,
          principal: name,
          key: createSigner(name.padEnd(64, "0").replace("k", "a")).publicKey,
          roles: [],
          runners: [],
        }),
      ),
    );

    await expect(Promise.all(adding)).resolves.toHaveLength(8);

    const text = await readFile(path, "utf8");
    expect(names.filter((name) => !text.includes(`name = "${name}"`))).toEqual([]);
    await expect(readdir(directory)).resolves.toEqual(["keys.toml"]);
  });

  test("says what to do about a lock that a killed command left", async () => {
    await writeFile(`${path}.lock`, "");

    await expect(updateKeyring(path, add)).rejects.toThrow(`Where none is at work: rm ${path}.lock`);
    await expect(readFile(path, "utf8")).resolves.toBe(FILE);
  });

  test("refuses a file that others may write to, and one that is not there", async () => {
    await chmod(path, 0o666);
    await expect(updateKeyring(path, add)).rejects.toThrow("chmod go-w");
    await rm(path);
    await expect(updateKeyring(path, add)).rejects.toThrow("supervisor init");
  });
});
