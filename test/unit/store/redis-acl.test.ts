/** The table of the Redis users, held to the scripts and to what is sent past them. */
import { readdirSync, readFileSync } from "node:fs";

import { describe, expect, test } from "vitest";

import { ACL_COMMANDS, runnerUser, supervisorUser, toAclLine } from "../../../src/store/redis-acl.ts";

const STORE = new URL("../../../src/store/", import.meta.url);
const LUA = new URL("lua/", STORE);
/** What a runner's program is made of; the other files are the supervisor's. */
const OF_RUNNERS = ["redis-source.ts", "redis-claims.ts", "redis-leases.ts", "redis-renewer.ts"];
const SCOPE = { url: "redis://127.0.0.1", prefix: "horus" };

const files = readdirSync(STORE).filter((file) => file.endsWith(".ts"));
const sources = new Map(files.map((file) => [file, readFileSync(new URL(file, STORE), "utf8")]));
const library = readdirSync(new URL("lib/", LUA))
  .toSorted()
  .map((file) => readFileSync(new URL(`lib/${file}`, LUA), "utf8"))
  .join("\n");
/** The functions of lua/lib by name, with their text. */
const functions = new Map(
  [...library.matchAll(/^local function (\w+)(.*?)^end$/gmsu)].map(([, name = "", body = ""]) => [name, body]),
);
/** What stands before every script outside functions. */
const preamble = library.replaceAll(/^local function .*?^end$/gmsu, "");

/** Commands that a piece of Lua calls, through the functions it names. */
function called(text: string, seen: ReadonlySet<string> = new Set()): readonly string[] {
  const own = [...text.matchAll(/redis\.call\('(\w+)'/gu)].map(([, command = ""]) => command.toLowerCase());
  const used = [...functions.keys()].filter((name) => !seen.has(name) && new RegExp(`\\b${name}\\(`, "u").test(text));
  const next = new Set([...seen, ...used]);
  return [...own, ...used.flatMap((name) => called(functions.get(name) ?? "", next))];
}

/** Commands of some files: by the scripts they run, and past them. */
function sentBy(wanted: readonly string[]): Set<string> {
  const text = wanted.map((file) => sources.get(file) ?? "").join("\n");
  const scripts = [...text.matchAll(/\b(?:run|scriptText)\(\s*"([a-z-]+)"/gu)].map(([, name = ""]) => name);
  const inScripts = scripts.flatMap((name) => called(preamble + readFileSync(new URL(`${name}.lua`, LUA), "utf8")));
  const past = [...text.matchAll(/(?:\.call\(|\[)\s*"([A-Z]+)"(?:, "([A-Z]+)")?[,)]/gu)].map(([, command = "", word]) =>
    (word === undefined ? command : `${command}|${word}`).toLowerCase(),
  );
  return new Set([...inScripts, ...past]);
}

function sorted(commands: Iterable<string>): readonly string[] {
  const { connection } = ACL_COMMANDS;
  return [...new Set(commands)].filter((command) => !connection.some((one) => one === command)).toSorted();
}

/** Commands of a runner's user that its client sends on the way to an address. */
function wayOf(url: string): readonly string[] {
  const { rules } = runnerUser({ ...SCOPE, url }, { name: "a", groups: [] });
  return rules.filter((rule) => /^\+(?:select|asking|(?:client|cluster)\|.*|read.*)$/u.test(rule));
}

describe("The commands of the Redis users", () => {
  const { scripts, publish, both, runner, supervisor } = ACL_COMMANDS;

  test("are read from every script there is", () => {
    const named = [...sources.values()].join("\n");
    const unused = readdirSync(LUA).filter(
      (file) =>
        file.endsWith(".lua") && !new RegExp(`\\b(?:run|scriptText)\\("${file.replace(".lua", "")}"`, "u").test(named),
    );
    expect(unused).toEqual([]);
    expect(functions.size).toBeGreaterThan(15);
  });

  test("are those that runners send, each and no others", () => {
    expect(sorted([...sentBy(OF_RUNNERS), ...scripts])).toEqual(sorted([...scripts, ...publish, ...both, ...runner]));
  });

  test("are those that supervisors send, each and no others", () => {
    const sent = sentBy(files.filter((file) => !OF_RUNNERS.includes(file)));
    // Doctor asks nodes of a Cluster alone for those.
    for (const word of ["cluster|info", "cluster|slots"]) sent.delete(word);
    expect(sorted(sent)).toEqual(sorted([...scripts, ...publish, ...both, ...supervisor]));
  });

  test("are more where the URL names a database or a Cluster", () => {
    expect(wayOf("redis://host/0")).toEqual([]);
    expect(wayOf("redis://host/3")).toEqual(["+select"]);
    expect(wayOf("unix:///run/redis.sock")).toEqual([]);
    expect(wayOf("redis+sentinel://host:26379/mymaster")).toEqual([]);
    expect(wayOf("redis+cluster://host:7000")).toEqual([
      "+asking",
      "+client|setname",
      "+cluster|info",
      "+cluster|slots",
      "+readonly",
      "+readwrite",
    ]);
  });
});

test("A line is one that redis-cli takes, and says nothing of passwords, on or off", () => {
  const users = [
    supervisorUser({ ...SCOPE, url: "redis://user:secret@host" }),
    runnerUser(SCOPE, { name: "a", groups: ["b", "a", "b"] }),
  ];
  for (const user of users) {
    const line = toAclLine(user);
    expect(line).toMatch(/^ACL SETUSER horus-\S+ resetkeys clearselectors resetchannels -@all [^\n"']+$/u);
    expect(line).not.toMatch(/secret|[ (](?:[<>#!]|on\b|off\b|nopass|resetpass|reset\b|\+@)/u);
    // redis-cli reads a line of at most this length from a terminal.
    expect(line.length).toBeLessThan(4096);
    expect(new Set(user.rules).size).toBe(user.rules.length);
  }
});
