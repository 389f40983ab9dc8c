import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { makePrivateDirectory } from "../../src/private-directory.ts";

let parent = "";
beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), "horus-private-"));
});
afterAll(async () => rm(parent, { recursive: true, force: true }));

describe("makePrivateDirectory()", () => {
  test("makes a directory and its parents for their owner alone, once", async () => {
    const path = join(parent, "a", "b");

    await Promise.all([makePrivateDirectory(path), makePrivateDirectory(path)]);

    for (const each of [join(parent, "a"), path]) expect((await stat(each)).mode & 0o777).toBe(0o700);
  });

  test("ends where nothing can be made, though Node's own recursion does not", async () => {
    await expect(makePrivateDirectory("/proc/horus/data")).rejects.toThrow(/^\/proc\/horus can not be made \(ENOENT/u);
  });

  test("names the file that is in the way", async () => {
    const file = join(parent, "file");
    await writeFile(file, "");

    for (const path of [file, join(file, "data")])
      await expect(makePrivateDirectory(path)).rejects.toThrow(`${file} is no directory`);
  });
});
