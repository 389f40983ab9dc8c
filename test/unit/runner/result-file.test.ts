import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { readResultFile, toJobResult } from "../../../src/runner/result-file.ts";
import { VECTORS } from "../../support/signing.ts";

/** Of the system, not of a package. */
const MKFIFO = "mkfifo";

let directory = "";
let path = "";

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "horus-result-test-"));
  path = join(directory, "result");
});

afterEach(async () => rm(directory, { recursive: true, force: true }));

describe("readResultFile", () => {
  test("is empty where the job wrote none", async () => {
    expect(await readResultFile(path, 10)).toEqual({ ok: true, bytes: new Uint8Array(0) });
  });

  test.each(["", "ok\n", "1234567890"])("gives the bytes: %j", async (text) => {
    await writeFile(path, text);

    const result = await readResultFile(path, 10);

    expect(result.ok && Buffer.from(result.bytes).toString()).toBe(text);
  });

  test("refuses one byte over the limit", async () => {
    await writeFile(path, "12345678901");

    expect(await readResultFile(path, 10)).toEqual({
      ok: false,
      reason: "result too large: 11 bytes, max_result_bytes is 10",
    });
  });

  test("reads a file whose size says nothing, up to the limit", async () => {
    // Files of /proc have the size 0.
    const result = await readResultFile("/proc/self/status", 10);

    expect(result).toEqual({ ok: false, reason: "result too large: at least 11 bytes, max_result_bytes is 10" });
  });

  test("what keeps it from being read and is not the job's doing is an error, not a bad result", async () => {
    // As without a free descriptor, or with a disk that fails.
    await expect(readResultFile(join(directory, "x".repeat(300)), 10)).rejects.toThrow("ENAMETOOLONG");
  });

  test("a directory that the job put a file in the place of has no result that can be read", async () => {
    await writeFile(path, "");

    expect(await readResultFile(join(path, "result"), 10)).toMatchObject({ ok: false });
  });

  const strange: readonly { name: string; make: () => Promise<unknown> }[] = [
    { name: "a link", make: async () => symlink("/etc/passwd", path) },
    { name: "a link to nothing", make: async () => symlink("/no/such", path) },
    { name: "a directory", make: async () => mkdir(path) },
    { name: "a FIFO that nobody writes to", make: async () => execFileSync(MKFIFO, [path]) },
    { name: "a link to a device", make: async () => symlink("/dev/zero", path) },
  ];
  test.each(strange)("$name is not read, and does not hold the runner", async ({ make }) => {
    await make();

    expect(await readResultFile(path, 10)).toEqual({
      ok: false,
      reason: "the result is not a regular file that can be read",
    });
  });
});

describe("toJobResult", () => {
  test("is text where the bytes are UTF-8, base64 where not, and absent where there are none", () => {
    expect(toJobResult(Buffer.from(VECTORS.result.bytes_utf8))).toEqual({ text: VECTORS.result.bytes_utf8 });
    expect(toJobResult(Buffer.from("\u{FEFF}x"))).toEqual({ text: "\u{FEFF}x" });
    expect(toJobResult(new Uint8Array([0xff]))).toEqual({ base64: "/w==" });
    expect(toJobResult(new Uint8Array(0))).toBeUndefined();
  });
});
