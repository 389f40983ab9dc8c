import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { openSeenJobs, type SeenJobs } from "../../../src/runner/seen-jobs.ts";

const ID = "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b";
const OTHER = "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5c";
const NOW = 1_790_000_000;

let directory = "";
let path = "";
let open: SeenJobs | undefined;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "horus-seen-test-"));
  path = join(directory, "runners", "build-1.seen");
});

afterEach(async () => {
  await open?.close();
  open = undefined;
  await rm(directory, { recursive: true, force: true });
});

async function load(nowSeconds = NOW): Promise<SeenJobs> {
  await open?.close();
  open = await openSeenJobs({ path, now: () => nowSeconds * 1000 });
  return open;
}

async function lines(): Promise<string[]> {
  return (await readFile(path, "utf8")).split("\n").filter(Boolean);
}

describe("SeenJobs", () => {
  test("knows nothing at first, in a file that is the owner's alone", async () => {
    const seen = await load();

    expect(seen.recall(ID, 1)).toBeUndefined();
    await seen.started({ id: ID, attempt: 1, expiresAt: NOW + 60 });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(directory, "runners"))).mode & 0o777).toBe(0o700);
  });

  test("makes a file that others could read the owner's alone", async () => {
    await load();
    await writeFile(path, "", { mode: 0o644 });

    await (await load()).started({ id: ID, attempt: 1, expiresAt: NOW + 60 });

    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  test("recalls an attempt that was started, and lower ones, but not the next", async () => {
    const seen = await load();

    await seen.started({ id: ID, attempt: 2, expiresAt: NOW + 60 });

    expect(seen.recall(ID, 1)).toBe("begun");
    expect(seen.recall(ID, 2)).toBe("begun");
    expect(seen.recall(ID, 3)).toBeUndefined();
    expect(seen.recall(OTHER, 1)).toBeUndefined();
  });

  test("recalls every attempt of a job whose outcome was accepted", async () => {
    const seen = await load();

    await seen.started({ id: ID, attempt: 1, expiresAt: NOW + 60 });
    await seen.accepted({ id: ID, attempt: 1, expiresAt: NOW + 60 });

    expect(seen.recall(ID, 99)).toBe("finished");
  });

  test("a start is on disk when it resolves, and remembered by the next process", async () => {
    const seen = await load();
    await seen.started({ id: ID, attempt: 1, expiresAt: NOW + 60 });
    await seen.accepted({ id: OTHER, attempt: 4, expiresAt: NOW + 60 });

    expect(await lines()).toEqual([
      `{"id":"${ID}","attempt":1,"exp":${NOW + 60}}`,
      `{"id":"${OTHER}","attempt":4,"exp":${NOW + 60},"accepted":true}`,
    ]);
    const after = await load();
    expect(after.recall(ID, 1)).toBeDefined();
    expect(after.recall(OTHER, 5)).toBeDefined();
  });

  test("many at once are all on disk", async () => {
    const seen = await load();
    const ids = Array.from({ length: 200 }, (_, index) => `0190a3b2-7c4d-7e5f-8a9b-${String(index).padStart(12, "0")}`);

    await Promise.all(ids.map(async (id) => seen.started({ id, attempt: 1, expiresAt: NOW + 60 })));

    expect(new Set(await lines()).size).toBe(200);
  });

  test("a second process that only reads does not take the file from the first", async () => {
    const first = await openSeenJobs({ path, now: () => NOW * 1000 });
    await first.started({ id: ID, attempt: 1, expiresAt: NOW + 60 });
    const second = await load();
    await first.started({ id: OTHER, attempt: 1, expiresAt: NOW + 60 });
    await first.close();

    expect(second.recall(ID, 1)).toBeDefined();
    expect((await load()).recall(OTHER, 1)).toBeDefined();
  });

  test("is written anew with the first start: one line a job, without what expired more than an hour ago", async () => {
    const seen = await load();
    await seen.started({ id: ID, attempt: 1, expiresAt: NOW + 60 });
    await seen.started({ id: ID, attempt: 2, expiresAt: NOW + 60 });
    await seen.started({ id: OTHER, attempt: 1, expiresAt: NOW });

    const third = { id: "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5d", attempt: 1, expiresAt: NOW + 60 };
    await (await load(NOW + 3600)).started(third);
    expect(await lines()).toHaveLength(3);

    await (await load(NOW + 3601)).started(third);
    expect(await lines()).toEqual([
      `{"id":"${ID}","attempt":2,"exp":${NOW + 60}}`,
      `{"id":"${third.id}","attempt":1,"exp":${NOW + 60}}`,
    ]);
  });

  test("is written anew when it has grown", async () => {
    const seen = await load();

    await Promise.all(
      Array.from({ length: 10_050 }, async (_, index) =>
        seen.started({ id: ID, attempt: index + 1, expiresAt: NOW + 60 }),
      ),
    );
    await seen.started({ id: OTHER, attempt: 1, expiresAt: NOW + 60 });

    expect((await lines()).length).toBeLessThan(10);
    expect(seen.recall(ID, 10_050)).toBeDefined();
  });

  test("forgets what has expired, in memory and on disk, while every job leaves its two lines", async () => {
    let nowSeconds = NOW;
    const seen = await openSeenJobs({ path, now: () => nowSeconds * 1000 });
    open = seen;
    const runAll = async (prefix: string): Promise<void> => {
      const ids = Array.from(
        { length: 6000 },
        (_, index) => `${prefix}-7c4d-7e5f-8a9b-${String(index).padStart(12, "0")}`,
      );
      await Promise.all(ids.map(async (id) => seen.started({ id, attempt: 1, expiresAt: nowSeconds + 60 })));
      await Promise.all(ids.map(async (id) => seen.accepted({ id, attempt: 1, expiresAt: nowSeconds + 60 })));
    };

    for (let day = 0; day < 6; day += 1) {
      await runAll(`0190a3b${day}-0000`);
      nowSeconds += 86_400;
    }

    expect((await lines()).length).toBeLessThan(3 * 12_000);
    expect(seen.recall("0190a3b0-0000-7c4d-7e5f-8a9b-000000000000", 1)).toBeUndefined();
  });

  test("what an earlier process wrote while this one waited for its name is kept", async () => {
    const earlier = await openSeenJobs({ path, now: () => NOW * 1000 });
    await earlier.started({ id: ID, attempt: 1, expiresAt: NOW + 60 });
    const seen = await load();
    await earlier.accepted({ id: ID, attempt: 1, expiresAt: NOW + 60 });
    await earlier.close();

    await seen.reload();
    expect(seen.recall(ID, 2)).toBe("finished");
    await seen.started({ id: OTHER, attempt: 1, expiresAt: NOW + 60 });

    expect((await load()).recall(ID, 2)).toBe("finished");
  });

  test("a process that was frozen while another took its place can start nothing more, and takes nothing back", async () => {
    const frozen = await openSeenJobs({ path, now: () => NOW * 1000 });
    await frozen.started({ id: ID, attempt: 1, expiresAt: NOW + 60 });
    await (await load()).started({ id: OTHER, attempt: 1, expiresAt: NOW + 60 });
    const third = "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5d";

    for (const attempt of [1, 2]) {
      const begun = frozen.started({ id: third, attempt, expiresAt: NOW + 60 });
      await expect(begun).rejects.toThrow(/build-1\.seen: another process has put its own in its place/u);
    }
    await frozen.close();

    const after = await load();
    expect(after.recall(ID, 1)).toBeDefined();
    expect(after.recall(OTHER, 1)).toBeDefined();
    expect(after.recall(third, 1)).toBeUndefined();
  });

  test("what could not be written is written at the end, where there is room again", async () => {
    const seen = await load();
    await seen.started({ id: ID, attempt: 1, expiresAt: NOW + 60 });
    await rm(join(directory, "runners"), { recursive: true });
    await writeFile(join(directory, "runners"), "");
    const accepted = async (): Promise<void> => seen.accepted({ id: ID, attempt: 1, expiresAt: NOW + 60 });
    // Whatever is under way is one line; what fails is the file that is written anew.
    await expect(Promise.all(Array.from({ length: 10_010 }, accepted))).rejects.toThrow("ENOTDIR");

    await rm(join(directory, "runners"));
    await mkdir(join(directory, "runners"));

    expect((await load()).recall(ID, 2)).toBe("finished");
  });

  test("a last line that a crash cut is dropped: its attempt never started", async () => {
    const seen = await load();
    await seen.started({ id: ID, attempt: 1, expiresAt: NOW + 60 });
    await appendFile(path, `{"id":"${OTHER}","att`);

    const after = await load();

    expect(after.recall(ID, 1)).toBeDefined();
    expect(after.recall(OTHER, 1)).toBeUndefined();
    await after.started({ id: OTHER, attempt: 1, expiresAt: NOW + 60 });
    expect(await lines()).toHaveLength(2);
  });

  test.each(["not json", '{"id":"x","attempt":1,"exp":1}', '{"id":1}'])(
    "a broken line in the middle is refused with its number and the fix: %s",
    async (line) => {
      await load();
      await appendFile(path, `${line}\n{"id":"${ID}","attempt":1,"exp":${NOW}}\n`);

      await expect(load()).rejects.toThrow(/build-1\.seen: line 1 is broken\. Put the file back/);
    },
  );

  test("a file that can not be read is an error, not an empty memory", async () => {
    path = directory;

    await expect(openSeenJobs({ path, now: () => 0 })).rejects.toThrow("EISDIR");
  });

  test("what can not be written is told to who asked, and is written with the next that can", async () => {
    const seen = await load();
    await rm(join(directory, "runners"), { recursive: true });
    const many = Array.from({ length: 10_010 }, async (_, index) =>
      seen.started({ id: ID, attempt: index + 1, expiresAt: NOW + 60 }),
    );
    const failed = (await Promise.allSettled(many)).filter((result) => result.status === "rejected");
    expect(failed.length).toBeGreaterThan(0);

    await mkdir(join(directory, "runners"));
    await seen.started({ id: OTHER, attempt: 1, expiresAt: NOW + 60 });

    expect(await lines()).toEqual([
      `{"id":"${ID}","attempt":10010,"exp":${NOW + 60}}`,
      `{"id":"${OTHER}","attempt":1,"exp":${NOW + 60}}`,
    ]);
  });

  test("what can not be written costs no descriptor, however often it is tried", async () => {
    const seen = await load();
    // A directory in the place of the file: its replacement is opened and filled, and can not be put there.
    await mkdir(path);
    const before = (await readdir("/proc/self/fd")).length;

    for (let attempt = 1; attempt <= 20; attempt += 1) {
      await expect(seen.started({ id: ID, attempt, expiresAt: NOW + 60 })).rejects.toThrow("EISDIR");
    }

    expect((await readdir("/proc/self/fd")).length).toBeLessThan(before + 10);
  });

  test("nothing is taken after it was closed", async () => {
    const seen = await load();
    await seen.close();

    await expect(seen.started({ id: ID, attempt: 1, expiresAt: NOW })).rejects.toThrow("closed");
  });
});
