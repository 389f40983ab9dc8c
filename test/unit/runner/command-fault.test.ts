import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { commandFault } from "../../../src/runner/command-fault.ts";
import { createExecutor } from "../../../src/runner/executor.ts";

let directory = "";
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "horus-command-"));
  await writeFile(join(directory, "tool"), "#!/bin/sh\n", { mode: 0o755 });
  await writeFile(join(directory, "plain"), "#!/bin/sh\n", { mode: 0o644 });
});
afterAll(async () => rm(directory, { recursive: true, force: true }));

async function faultOf(
  program: string,
  { table = {}, ownPath = "" }: { table?: { env?: string[]; working_directory?: string }; ownPath?: string } = {},
): Promise<string | undefined> {
  return commandFault(createExecutor("x", { command: [program, "-s"], ...table }), { ownPath });
}

describe("An executor's command", () => {
  test("is good where a job's PATH has it, or its path is that of a program", async () => {
    await expect(faultOf("sh")).resolves.toBeUndefined();
    await expect(faultOf(join(directory, "tool"))).resolves.toBeUndefined();
    await expect(faultOf("./tool", { table: { working_directory: directory } })).resolves.toBeUndefined();
  });

  test("that is nowhere is named with the PATH it was looked for in", async () => {
    await expect(faultOf("bsah")).resolves.toMatch(
      /^no program "bsah" is in the PATH of jobs, \/usr\/local\/sbin:.*:\/bin\. Mend its name, install it, or write/u,
    );
  });

  test("that only the person's own PATH has is named by its whole path", async () => {
    await expect(faultOf("tool", { ownPath: `relative::${directory}` })).resolves.toMatch(
      new RegExp(`no program "tool" .* Write its whole path: ${directory}/tool\\.$`, "u"),
    );
  });

  test("without a directory of its own is looked for by jobs in an empty one, wherever the runner is started", async () => {
    const path = `./${relative(process.cwd(), join(directory, "tool"))}`;

    await expect(faultOf(path)).resolves.toContain(
      `fresh directory, which is empty. Write its whole path: ${directory}/tool.`,
    );
    await expect(faultOf("./nowhere")).resolves.toMatch(/Write its whole path\.$/u);
  });

  test("that may not be executed, or is no file, is told apart", async () => {
    await expect(faultOf(join(directory, "plain"))).resolves.toContain(`Run: chmod +x ${directory}/plain`);
    await expect(faultOf(directory)).resolves.toBe(`${directory} is no file. Mend the path.`);
  });

  test("hangs on the job where the executor lets its PATH through", async () => {
    await expect(faultOf("bsah", { table: { env: ["PATH"] } })).resolves.toBeUndefined();
    await expect(faultOf("bsah", { table: { env: ["*"] } })).resolves.toContain("no program");
  });

  test("has to have the directory it works in", async () => {
    const table = { working_directory: join(directory, "none") };
    await expect(faultOf("sh", { table })).resolves.toBe(
      `working_directory "${directory}/none" is no directory here. Make it, or name another.`,
    );
  });
});
