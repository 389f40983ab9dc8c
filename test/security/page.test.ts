/** SECURITY.md is held to what there is: the tests it names exist, and its commands and flags are those of the program. */
import { existsSync, readFileSync } from "node:fs";

import { describe, expect, test } from "vitest";

import { optionName } from "../../bin/command.ts";
import { COMMANDS } from "../../bin/commands.ts";

const root = new URL("../../", import.meta.url);
const page = readFileSync(new URL("SECURITY.md", root), "utf8");
const rows = page.split("\n").filter((line) => line.startsWith("| ") && !/^\| (?:who |-)/u.test(line));
const commands = page.split("\n").flatMap((line) => {
  const words = /^ {4}supervisor (.+)$/u.exec(line)?.[1]?.split("#", 1)[0]?.trim();
  return words === undefined ? [] : [words];
});

describe("SECURITY.md", () => {
  test.each(rows.map((row) => row.split("|").map((cell) => cell.trim())))(
    "names a test that is there for %s%s",
    (_empty, _who, ...cells) => {
      const named = [...(cells.at(-2) ?? "").matchAll(/`([a-z0-9/-]+)`/gu)].map(([, name = ""]) => name);

      expect(named).not.toEqual([]);
      const missing = named.filter(
        (name) => !existsSync(new URL(`test/${name}.test.ts`, root)) && !existsSync(new URL(`test/${name}/`, root)),
      );
      expect(missing).toEqual([]);
    },
  );

  test("has drills", () => {
    expect(commands.length).toBeGreaterThan(15);
  });

  test.each(commands)("supervisor %s: is a command with these flags", async (line) => {
    const words = line.split(/\s+/u);
    const names = [words.slice(0, 2).join(" "), words[0] ?? "", ""];
    const entry = names
      .map((name) => COMMANDS.find((known) => known.name === name))
      .find((known) => known !== undefined);
    const command = await entry?.load();

    expect(entry?.name === "" ? line.startsWith("--") : entry !== undefined).toBe(true);
    const flags = words.filter((word) => word.startsWith("--")).map((word) => word.slice(2));
    const known = new Set((command?.options ?? []).map(optionName));
    expect(flags.filter((flag) => !known.has(flag))).toEqual([]);
  });
});
