import { chmod, copyFile, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";

import { type KeyringWatch, loadKeyring, watchKeyring } from "../../../src/auth/keyring-file.ts";
import { Keyring } from "../../../src/auth/keyring.ts";
import type { Log } from "../../../src/log.ts";
import { VECTORS } from "../../support/signing.ts";
import { meanwhile, waitUntil } from "../../support/wait.ts";

const { caller, approver, runner: third } = VECTORS.keys;

function textOf(...keys: readonly string[]): string {
  const tables = keys.map((key, index) => `[[key]]\nname = "k${index}"\nprincipal = "p"\nkey = "${key}"\nroles = []\n`);
  return tables.join("\n");
}

let directory = "";
let path = "";
const watches: KeyringWatch[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "keyring-"));
  path = join(directory, "keys.toml");
  await writeFile(path, textOf(caller, approver), { mode: 0o600 });
});

afterEach(async () => {
  for (const watch of watches.splice(0)) watch.stop();
  await rm(directory, { recursive: true, force: true });
});

async function aWatch(
  watched = path,
  lookMs?: number,
): Promise<{
  keyring: Keyring;
  watch: KeyringWatch;
  events: string[];
  problems: (string | undefined)[];
}> {
  const { keys, requirements } = await loadKeyring(path);
  const keyring = new Keyring(keys, () => 0, requirements);
  const events: string[] = [];
  const problems: (string | undefined)[] = [];
  const note = (fields: unknown): void => {
    if (typeof fields === "object" && fields !== null && "event" in fields) events.push(String(fields.event));
  };
  const log: Log = { debug: note, info: note, warn: note, error: note };
  const watch = watchKeyring({ path: watched, keyring, log, onProblem: (problem) => problems.push(problem), lookMs });
  watches.push(watch);
  return { keyring, watch, events, problems };
}

describe("loadKeyring", () => {
  test("reads the keys of a file", async () => {
    await expect(loadKeyring(path)).resolves.toMatchObject({
      keys: [{ key: caller }, { key: approver }],
      requirements: [],
    });
  });

  test.each(["620", "602", "666"])("refuses a file of mode %s with the command that mends it", async (mode) => {
    await chmod(path, Number.parseInt(mode, 8));
    await expect(loadKeyring(path)).rejects.toThrow(`chmod go-w ${path}`);
  });

  test("takes a file that others may read: public keys are public", async () => {
    await chmod(path, 0o644);
    await expect(loadKeyring(path)).resolves.toMatchObject({ keys: [{ name: "k0" }, { name: "k1" }] });
  });

  test("names a missing file and the command that makes one", async () => {
    await rm(path);
    await expect(loadKeyring(path)).rejects.toMatchObject({
      message: `${path}: it is missing. Make one with: supervisor init`,
      cause: { code: "ENOENT" },
    });
  });

  test("says why a file can not be read", async () => {
    await expect(loadKeyring(directory)).rejects.toThrow(/can not be read \(EISDIR/);
  });

  test("says what is wrong in a bad file", async () => {
    await writeFile(path, `${textOf(caller)}\nadmin = true\n`);
    await expect(loadKeyring(path)).rejects.toThrow(`${path}: key "k0": admin is unknown`);
  });
});

/** At once: the watch must not see a file that is half written. */
async function putThere(text: string): Promise<void> {
  await writeFile(join(directory, "next"), text, { mode: 0o600 });
  await rename(join(directory, "next"), path);
}

async function noteSomething(): Promise<void> {
  await writeFile(join(directory, "audit.log"), String(performance.now()));
}

describe("watchKeyring", () => {
  test("follows a file that is written over", async () => {
    const { keyring, watch } = await aWatch();
    await writeFile(path, textOf(caller));
    await waitUntil(() => keyring.find(approver) === undefined);

    expect(keyring.find(caller)).toBeDefined();
    expect(watch.problem).toBeUndefined();
  });

  test("follows a file that another one is moved over, again and again", async () => {
    const { keyring } = await aWatch();
    for (const keys of [[approver], [caller], [approver]]) {
      await writeFile(join(directory, "next"), textOf(...keys), { mode: 0o600 });
      await rename(join(directory, "next"), path);
      await waitUntil(() => keyring.all().length === 1 && keyring.find(keys[0] ?? "") !== undefined);
    }

    expect(keyring.find(caller)).toBeUndefined();
  });

  test("ends nobody's rights by a file that is read while it is written in place", async () => {
    const { keyring } = await aWatch();
    const heard: string[] = [];
    keyring.onRevoked((key) => heard.push(key));
    await writeFile(path, textOf(caller));
    await sleep(300);
    await writeFile(path, textOf(caller, approver, third));
    await waitUntil(() => keyring.find(third) !== undefined);

    expect(heard).toEqual([]);
    expect(keyring.find(approver)).toBeDefined();
  });

  test("reads the file, removals included, while another file of its directory is written all the time", async () => {
    const { keyring } = await aWatch();

    await meanwhile(20, noteSomething, async () => {
      await sleep(100);
      await putThere(textOf(caller));
      await waitUntil(() => keyring.find(approver) === undefined);
    });
    expect(keyring.find(caller)).toBeDefined();
  });

  test("keeps the last good keys while the file is bad, says so once, and says when it is over", async () => {
    const { keyring, watch, events, problems } = await aWatch();
    await putThere("[[key]]\nname = 1\n");
    await watch.reload();
    await watch.reload();

    expect(watch.problem).toMatch(/keys\.toml: key 1: name must be/);
    expect(keyring.all()).toHaveLength(2);
    expect(events.filter((event) => event === "keyring_refused")).toHaveLength(1);

    await putThere(textOf(caller));
    await watch.reload();
    expect(watch.problem).toBeUndefined();
    expect(keyring.all()).toHaveLength(1);
    expect(problems).toEqual([expect.stringMatching(/name must be/), undefined]);
  });

  test.each([
    ["is emptied", async () => writeFile(path, "")],
    ["is removed", async () => rm(path)],
    ["may be written by others", async () => chmod(path, 0o666)],
  ])("locks nobody out when the file %s", async (_title, harm) => {
    const { keyring, watch } = await aWatch();
    await harm();
    await watch.reload();

    expect(watch.problem).toBeDefined();
    expect(keyring.find(caller)).toBeDefined();
  });

  test("tells whose rights ended", async () => {
    const { keyring, watch } = await aWatch();
    const heard: string[] = [];
    keyring.onRevoked((key) => heard.push(key));
    await writeFile(path, textOf(approver));
    await watch.reload();

    expect(heard).toEqual([caller]);
  });

  test("becomes a problem when a revocation was not carried out everywhere", async () => {
    const { keyring, watch, problems } = await aWatch();
    keyring.onRevoked(() => {
      throw new Error("deaf");
    });
    await writeFile(path, textOf(approver));
    await watch.reload();

    expect(problems[0]).toMatch(/not carried out everywhere/);
    expect(keyring.find(caller)).toBeUndefined();
  });

  test("follows a file in another directory behind a symbolic link, of which no watch tells", async () => {
    const elsewhere = await mkdtemp(join(tmpdir(), "keyring-elsewhere-"));
    onTestFinished(async () => rm(elsewhere, { recursive: true, force: true }));
    const link = join(directory, "link.toml");
    await copyFile(path, join(elsewhere, "keys.toml"));
    await symlink(join(elsewhere, "keys.toml"), link);
    const { keyring } = await aWatch(link, 50);
    await writeFile(join(elsewhere, "keys.toml"), textOf(caller));

    await waitUntil(() => keyring.find(approver) === undefined);
    expect(keyring.find(caller)).toBeDefined();
  });

  test("reads an unchanged file without replacing anything", async () => {
    const { watch, events } = await aWatch();
    await watch.reload();
    await watch.reload();

    expect(events).toEqual(["keyring_loaded"]);
  });

  test("works on demand where the directory can not be watched", async () => {
    const { keyring, watch, events } = await aWatch(join(directory, "away", "keys.toml"));

    expect(events).toEqual(["keyring_watch_failed"]);
    await watch.reload();
    expect(watch.problem).toMatch(/it is missing/);
    expect(keyring.all()).toHaveLength(2);
  });

  test("changes nothing any more once stopped, whatever it was reading", async () => {
    const { keyring, watch, events } = await aWatch();
    await watch.reload();
    await writeFile(path, textOf(caller));
    const reading = watch.reload();
    watch.stop();
    await reading;

    expect(keyring.all()).toHaveLength(2);
    expect(events).toEqual(["keyring_loaded"]);
  });

  test("reads nothing any more once stopped", async () => {
    const { keyring, watch } = await aWatch();
    const other = await aWatch();
    watch.stop();
    await writeFile(path, textOf(caller));
    await waitUntil(() => other.keyring.all().length === 1);

    expect(keyring.all()).toHaveLength(2);
  });
});
