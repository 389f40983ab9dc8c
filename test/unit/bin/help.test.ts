import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { optionName } from "../../../bin/command.ts";
import { COMMANDS } from "../../../bin/commands.ts";
import { programVersion } from "../../../bin/version.ts";
import { allSettings } from "../../../src/settings.ts";
import { runLine } from "../../support/command-line.ts";

// cac ends its help, which went to the terminal already, with a line end of its own.
beforeEach(() => {
  vi.spyOn(console, "info").mockReturnValue();
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** Entries of a list in help: what is before the gap, and what is after it. */
function entriesOf(text: string, title: string): ReadonlyMap<string, string> {
  const [, section = ""] = text.split(`\n${title}:\n`);
  const lines = section.split("\n\n", 1)[0]?.split("\n") ?? [];
  return new Map(lines.map((line) => [line.slice(2).split(/ {2,}/u, 1)[0] ?? "", line.replace(/^ {2}.*? {2,}/u, "")]));
}

describe("help of the program", () => {
  test("lists every command by its whole name with what it does", async () => {
    const { code, stdout, stderr } = await runLine(["--help"]);

    const named = COMMANDS.filter(({ name }) => name !== "");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect([...entriesOf(stdout, "Commands")]).toEqual(
      named.map(({ name, args, summary }) => [`${name} ${args}`.trim(), summary]),
    );
  });

  test("lists every flag of starting the supervisor with its default", async () => {
    const { stdout } = await runLine(["-h"]);

    const flags = [...entriesOf(stdout, "Options of starting the supervisor")];
    for (const { flag, type, default: value } of allSettings().filter((setting) => setting.flag !== undefined)) {
      const hasDefault = type !== "boolean" && value !== "";
      const [, says] = flags.find(([name]) => name.split(" ")[0] === `--${flag}`) ?? [];
      expect(says).toContain(hasDefault ? `(default: ${String(value)})` : "");
    }
    expect(flags.map(([name]) => name)).toEqual(expect.arrayContaining(["--config <file>", "--no-http"]));
    expect(stdout).not.toContain("(default: true)");
  });

  test("shows the program's examples, and where to go on", async () => {
    const { stdout } = await runLine(["--help"]);

    expect(stdout).toContain("  $ supervisor --port 8080 --mycelium --redis-url redis://localhost:6379\n");
    expect(stdout).toContain("mycelium.toml.example");
    expect(stdout).toMatch(/Exit codes: 0 done, 1 failed or refused,\n2 wrong usage, 3 no answer/u);
    expect(stdout).toContain("Help of one command: supervisor <command> --help");
    expect(stdout).toContain(programVersion());
  });

  test.each([
    { asked: ["help"], same: ["--help"] },
    { asked: ["help", "job"], same: ["job", "--help"] },
    { asked: ["help", "job", "logs"], same: ["job", "logs", "--help"] },
    { asked: ["help", "submit", "--help"], same: ["submit", "--help"] },
  ])("is also what 'supervisor $asked' shows", async ({ asked, same }) => {
    const help = await runLine(asked);

    expect(help).toEqual(await runLine(same));
    expect(help).toMatchObject({ code: 0, stderr: "" });
  });

  test("has no line that ends in blanks", async () => {
    const { stdout } = await runLine(["--help"]);

    expect(stdout).not.toMatch(/[ \t]$/mu);
  });
});

describe("help of a noun", () => {
  test.each(["job", "runner"])("lists the commands of %s alone", async (noun) => {
    const { code, stdout } = await runLine([noun, "--help"]);

    const own = COMMANDS.filter(({ name }) => name.startsWith(`${noun} `));
    expect(code).toBe(0);
    expect([...entriesOf(stdout, "Commands").keys()]).toEqual(
      own.map(({ name, args }) => `${name.slice(noun.length + 1)} ${args}`.trim()),
    );
  });
});

describe("help of a command", () => {
  const named = COMMANDS.filter(({ name }) => name !== "");

  test.each(named)("of $name teaches usage, options and examples", async ({ name, args, summary, load }) => {
    const { code, stdout } = await runLine([...name.split(" "), "--help"]);

    const command = await load();
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`^supervisor ${name}: `, "u"));
    expect(stdout).toContain(summary);
    expect(stdout).toContain(`  $ supervisor ${`${name} ${args}`.trim()} [options]\n`);
    expect([...entriesOf(stdout, "Options").keys()]).toEqual([
      ...command.options.map(({ flag }) => flag),
      "-h, --help",
    ]);
    expect(command.examples.length).toBeGreaterThan(0);
    for (const example of command.examples) expect(stdout).toContain(`  $ ${example}`);
  });

  test("is given wherever --help stands", async () => {
    const { code, stdout } = await runLine(["submit", "--runner", "demo", "--help"]);

    expect(code).toBe(0);
    expect(stdout).toMatch(/^supervisor submit: /u);
  });
});

describe("the table of commands", () => {
  test.each(COMMANDS)("has each option of '$name' once", async ({ load }) => {
    const names = (await load()).options.map(optionName);

    expect(names).toEqual([...new Set(names)]);
  });

  test.each(COMMANDS.filter(({ name }) => name !== ""))(
    "has examples of $name that begin with it",
    async ({ name, load }) => {
      for (const example of (await load()).examples) expect(example).toContain(`supervisor ${name}`);
    },
  );
});

describe("the version", () => {
  test.each([["--version"], ["-v"]])("is printed alone for %s", async (flag) => {
    await expect(runLine([flag])).resolves.toEqual({ code: 0, stdout: `${programVersion()}\n`, stderr: "" });
  });
});
