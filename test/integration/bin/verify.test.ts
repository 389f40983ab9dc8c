/** A receipt checked from files, by somebody who has no server and trusts none. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { type Console, startConsole } from "../../support/command-line.ts";
import type { Ran } from "../../support/program.ts";

let system: Console;
let runnerKey = "";
let supervisor = "";
let owner = "";
const file = (name: string): string => join(system.directory, name);

/** Whoever verifies: a data directory of their own, with nothing in it. */
async function verify(...words: readonly string[]): Promise<Ran> {
  return system.run(["verify", "receipt", ...words], { env: { SUPERVISOR_DATA_DIR: file("auditor") } });
}

beforeAll(async () => {
  system = await startConsole();
  await system.startRunner("demo");
  const payload = 'echo one; echo two; printf done > "$HORUS_RESULT"';
  const { id } = await system.json(["submit", "--runner", "demo", "--payload", payload, "--wait"]);
  await writeFile(file("view.json"), (await system.run(["job", "get", String(id), "--json"])).stdout);
  await writeFile(file("log.jsonl"), (await system.run(["job", "logs", String(id), "--json"])).stdout);
  const status = await system.json(["runner", "status", "demo"]);
  await writeFile(file("runner.json"), JSON.stringify(status));
  runnerKey = String(status["key"]);
  supervisor = String((await system.json(["init"]))["identity"]);
  owner = String((await system.json(["whoami"]))["key"]);
});

afterAll(async () => system[Symbol.asyncDispose]());

describe("verify receipt", () => {
  test("says what was proved and what was not, with a pinned runner", async () => {
    const words = ["--view", file("view.json"), "--logs", file("log.jsonl"), "--supervisor", supervisor];
    const ran = await verify(...words, "--runner-key", runnerKey);

    expect(ran.code).toBe(0);
    expect(ran.stdout.match(/^proved {2}/gmu)).toHaveLength(7);
    expect(ran.stdout).toContain("proved  log: 2 entries, none missing");
    expect(ran.stdout).toContain("not proved: that the runner told the truth");
    expect(ran.stdout).not.toContain("not proved: the log");
    expect(ran.stdout).toContain(`Verified: ${runnerKey}, which you trust`);
  });

  test("takes a pinned registrar with the stored registration as root of trust, and no other key's", async () => {
    const words = ["--view", file("view.json"), "--supervisor", supervisor, "--registration", file("runner.json")];
    const trusted = await verify(...words, "--registrar-key", owner);
    const foreign = await verify(...words, "--registrar-key", supervisor);

    expect(trusted.code).toBe(0);
    expect(trusted.stdout).toContain("not proved: the log; give it with --logs");
    expect(foreign.code).toBe(1);
    expect(foreign.stdout).toContain("Vouched for by the supervisor");
  });

  test("without a pin says vouched for, and fails", async () => {
    const ran = await verify("--view", file("view.json"), "--supervisor", supervisor);

    expect(ran.code).toBe(1);
    expect(ran.stdout).toContain(`not proved: that ${runnerKey} is a runner you trust`);
    expect(ran.stdout).toContain("Vouched for by the supervisor");
  });

  test("on the runner's own host, and where known_runners names it, no pin is needed", async () => {
    const own = await system.run(["verify", "receipt", "--view", file("view.json"), "--json"]);
    await system.run(["init", "--data-dir", file("other")]);
    await writeFile(join(file("other"), "known_runners"), `# pinned by hand\ndemo ${runnerKey}\n`);
    const env = { SUPERVISOR_DATA_DIR: file("other") };
    const words = ["verify", "receipt", "--view", file("view.json"), "--supervisor", supervisor];
    const known = await system.run(words, { env });
    await writeFile(join(file("other"), "known_runners"), "demo ed25519:00\n");
    const bad = await system.run(words, { env });

    expect(JSON.parse(own.stdout)).toMatchObject({ ok: true, trust: "verified" });
    expect(known.code).toBe(0);
    expect(bad.code).toBe(2);
  });

  test.each([
    ["--runner-key", "SUPERVISOR"],
    ["--registrar-key", "SUPERVISOR"],
    ["--registration", "RUNNER"],
    ["--registration", "RUNNER", "--registrar-key", "SUPERVISOR"],
  ])("on the runner's own host %s %s counts instead of the keys there", async (...words) => {
    const places = new Map([
      ["SUPERVISOR", supervisor],
      ["RUNNER", file("runner.json")],
    ]);
    const pins = words.map((word) => places.get(word) ?? word);
    const ran = await system.run(["verify", "receipt", "--view", file("view.json"), ...pins]);

    expect(ran.code).toBe(1);
    expect(ran.stdout).toContain(`not proved: that ${runnerKey} is a runner you trust`);
    expect(ran.stdout).not.toContain("Verified:");
  });

  test("its help names whom it trusts unless told", async () => {
    const ran = await system.run(["verify", "receipt", "--help"]);

    expect(ran.stdout).toMatch(/--runner-key <key> .*unless any is told: .*runners\/\*\.key.*known_runners/u);
  });

  test("submit --wait on the runner's host says verified", async () => {
    const ran = await system.run(["submit", "--runner", "demo", "--payload", "true", "--wait"]);

    expect(ran.stderr).toContain("receipt good (verified)");
  });

  test.each<readonly [string, string, (text: string) => string, RegExp]>([
    ["a changed payload", "view.json", (text) => text.replace("echo one", "echo own"), /WRONG {3}job:/u],
    ["a changed result", "view.json", (text) => text.replace('"done"', '"gone"'), /WRONG {3}result:/u],
    [
      "a changed state",
      "view.json",
      (text) => text.replace('"state":"completed"', '"state":"failed"'),
      /WRONG {3}outcome/u,
    ],
    ["a changed line", "log.jsonl", (text) => text.replace('"two"', '"too"'), /WRONG {3}log:/u],
    ["a missing line", "log.jsonl", (text) => text.slice(text.indexOf("\n") + 1), /WRONG {3}log: entry 1 is missing/u],
  ])("finds %s", async (_what, name, change, says) => {
    const changed = change(await readFile(file(name), "utf8"));
    await writeFile(file(`changed-${name}`), changed);
    const view = name === "view.json" ? file("changed-view.json") : file("view.json");
    const log = name === "log.jsonl" ? file("changed-log.jsonl") : file("log.jsonl");

    const ran = await verify("--view", view, "--logs", log, "--supervisor", supervisor, "--runner-key", runnerKey);

    expect(ran.code).toBe(1);
    expect(ran.stdout).toMatch(says);
    expect(ran.stdout).toContain("WRONG: this is not what a runner signed");
    expect(ran.stdout).not.toContain("a runner you trust");
  });

  test.each([
    [[], 2, "--view is missing"],
    [["--view", "missing.json"], 2, "can not be read"],
    [["--view", "VIEW"], 2, "Pin its identity"],
    [["--view", "VIEW", "--supervisor", "x"], 2, '--supervisor "x" is not ed25519:'],
    [["--view", "LOG", "--supervisor", "KEY"], 1, "is not JSON"],
    [["--view", "RUNNER", "--supervisor", "KEY"], 1, "is no job"],
    [["--view", "VIEW", "--supervisor", "KEY", "--logs", "VIEW"], 1, "line 1, is no log entry"],
    [["--view", "VIEW", "--supervisor", "KEY", "--registration", "VIEW"], 1, "is no runner"],
  ])("with %j ends with %d", async (words, code, says) => {
    const places = new Map([
      ["VIEW", file("view.json")],
      ["LOG", file("log.jsonl")],
      ["RUNNER", file("runner.json")],
      ["KEY", supervisor],
    ]);
    const ran = await verify(...words.map((word) => places.get(word) ?? word));

    expect(ran.code).toBe(code);
    expect(ran.stderr).toContain(says);
  });
});
