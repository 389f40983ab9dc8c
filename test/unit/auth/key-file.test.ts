import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { loadOrCreateSeed, readSeed, writeSeed } from "../../../src/auth/key-file.ts";

const SEED = "5e".repeat(32);
let directory = "";
let path = "";

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "key-file-"));
  path = join(directory, "made", "here", "alice.key");
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function modeOf(file: string): Promise<number> {
  return (await stat(file)).mode & 0o777;
}

async function failureOf(work: Promise<unknown>): Promise<Error> {
  const failure: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(failure instanceof Error)) throw new Error("It did not fail.");
  return failure;
}

describe("writeSeed", () => {
  test("writes one line that only the owner may read, in a directory only the owner may enter", async () => {
    await writeSeed(path, SEED);

    await expect(readFile(path, "utf8")).resolves.toBe(`ed25519-seed:${SEED}\n`);
    await expect(modeOf(path)).resolves.toBe(0o600);
    await expect(modeOf(join(directory, "made"))).resolves.toBe(0o700);
    await expect(readSeed(path)).resolves.toBe(SEED);
  });

  test("never writes over a secret, and leaves nothing beside it", async () => {
    await writeSeed(path, SEED);
    const failure = await failureOf(writeSeed(path, "ab".repeat(32)));

    expect(failure.message).toContain(`${path} exists`);
    await expect(readSeed(path)).resolves.toBe(SEED);
    await expect(readdir(join(directory, "made", "here"))).resolves.toEqual(["alice.key"]);
  });

  test("refuses what is no seed, without repeating it", async () => {
    const failure = await failureOf(writeSeed(path, `${SEED}00`));

    expect(failure).toBeInstanceOf(RangeError);
    expect(failure.message).not.toContain(SEED);
  });

  test("says why it can not write", async () => {
    await writeFile(join(directory, "file"), "");
    const failure = await failureOf(writeSeed(join(directory, "file", "in", "x.key"), SEED));

    expect(failure.message).toMatch(/x\.key can not be written \(.*file is no directory\)/);
    expect(failure.message).not.toContain(SEED);
  });

  test("refuses a directory in the file's place", async () => {
    await mkdir(path, { recursive: true });
    const failure = await failureOf(writeSeed(path, SEED));

    expect(failure.message).toContain(path);
    await expect(readdir(join(directory, "made", "here"))).resolves.toEqual(["alice.key"]);
  });
});

describe("readSeed", () => {
  test.each([0o640, 0o604, 0o660, 0o601])(
    "refuses a secret of mode %o with the command that mends it",
    async (mode) => {
      await writeSeed(path, SEED);
      await chmod(path, mode);
      const failure = await failureOf(readSeed(path));

      expect(failure.message).toContain(`chmod 600 ${path}`);
      expect(failure.message).not.toContain(SEED);
    },
  );

  test("takes a secret that its owner may only read", async () => {
    await writeSeed(path, SEED);
    await chmod(path, 0o400);

    await expect(readSeed(path)).resolves.toBe(SEED);
  });

  test("names a missing file, with the system's error as cause", async () => {
    const failure = await failureOf(readSeed(path));

    expect(failure.message).toContain(path);
    expect(failure.cause).toMatchObject({ code: "ENOENT" });
  });

  test.each(["", SEED, `ed25519-seed:${SEED}00\n`, `ed25519-seed:${SEED.toUpperCase()}\n`, `ed25519-seed:${SEED}\n\n`])(
    "refuses the content %j without repeating it",
    async (content) => {
      await mkdir(join(directory, "made", "here"), { recursive: true });
      await writeFile(path, content, { mode: 0o600 });
      const failure = await failureOf(readSeed(path));

      expect(failure.message).toContain("supervisor keygen --out");
      expect(failure.message.toLowerCase()).not.toContain(SEED);
    },
  );
});

describe("loadOrCreateSeed", () => {
  test("makes a seed once and reads it from then on", async () => {
    const made = await loadOrCreateSeed(path);

    expect(made).toEqual({ seed: expect.stringMatching(/^[0-9a-f]{64}$/) as unknown, isNew: true });
    await expect(loadOrCreateSeed(path)).resolves.toEqual({ seed: made.seed, isNew: false });
  });

  test("gives all that start at once one seed, made by one of them", async () => {
    const loaded = await Promise.all(Array.from({ length: 20 }, async () => loadOrCreateSeed(path)));

    expect(new Set(loaded.map(({ seed }) => seed)).size).toBe(1);
    expect(loaded.filter(({ isNew }) => isNew)).toHaveLength(1);
    await expect(readdir(join(directory, "made", "here"))).resolves.toEqual(["alice.key"]);
  });

  test("makes no new identity where the present one can not be used", async () => {
    await writeSeed(path, SEED);
    await chmod(path, 0o644);

    await expect(loadOrCreateSeed(path)).rejects.toThrow("chmod 600");
    await chmod(path, 0o600);
    await expect(readSeed(path)).resolves.toBe(SEED);
  });
});
