/** m-of-n approval by the command line: signed apart, shown, signed by others, sent, and only then admitted. */
import { appendFile, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { type Console, startConsole } from "../../support/command-line.ts";
import { waitUntil } from "../../support/wait.ts";

let system: Console;
const keyFile = (name: string): string => join(system.directory, `${name}.key`);
const jobFile = (name: string): string => join(system.directory, `${name}.job`);

async function keygen(name: string): Promise<string> {
  return (await system.run(["keygen", "--out", keyFile(name)])).stdout.trim();
}

/** Signs a job for the runner `prod` apart, and gives its file. */
async function signedApart(name: string, ...words: readonly string[]): Promise<string> {
  const made = await system.run(["submit", "--runner", "prod", "--sign-only", "--out", jobFile(name), ...words]);
  if (made.code !== 0) throw new Error(made.stderr);
  return jobFile(name);
}

function table(name: string, principal: string, key: string): string {
  return `\n[[key]]\nname = "${name}"\nprincipal = "${principal}"\nkey = "${key}"\nroles = []\n`;
}

beforeAll(async () => {
  system = await startConsole();
  await system.startRunner("prod");
  const [ops, second, security] = [await keygen("ops"), await keygen("ops-2"), await keygen("security")];
  await appendFile(
    join(system.dataDirectory, "keys.toml"),
    table("ops", "ops", ops) +
      table("ops-2", "ops", second) +
      table("security", "security", security) +
      '\n[[require]]\nrunner = "prod*"\nprincipals = ["ops", "security"]\nat_least = 2\n',
  );
  const loaded = system.supervisor.terminal;
  await waitUntil(async () => loaded.stderr.includes('"keys":4'));
});

afterAll(async () => system[Symbol.asyncDispose]());

describe("a job that needs approvals", () => {
  test("runs once enough principals have signed it, and is refused with the number missing before", async () => {
    const file = await signedApart("deploy", "--payload", "echo deployed");
    const send = async () => system.run(["submit", "--signed", file, "--follow"]);
    const add = async (name: string) => system.run(["cosign", file, "--key", keyFile(name), "--yes"]);

    const alone = await send();
    await add("ops");
    const withOne = await send();
    // A second key of the same principal is no second approval.
    await add("ops-2");
    const withOneTwice = await send();
    await add("security");
    const withBoth = await send();

    expect([alone.code, withOne.code, withOneTwice.code, withBoth.code]).toEqual([1, 1, 1, 0]);
    expect(alone.stderr).toContain("-32003: Approvals are missing (2 signatures more). ");
    expect(withOne.stderr).toContain("(1 signature more)");
    expect(withOneTwice.stderr).toContain("(1 signature more)");
    expect(withBoth.stdout).toBe("deployed\n");
  });

  test("is refused without a word of approvals when it is sent the plain way", async () => {
    const plain = await system.run(["submit", "--runner", "prod", "--payload", "true"]);

    expect(plain.code).toBe(1);
    expect(plain.stderr).toContain("Approvals are missing");
  });
});

describe("submit --sign-only", () => {
  test("writes to standard output what cosign and submit read from standard input", async () => {
    const made = await system.run(["submit", "--runner", "prod", "--payload", "echo piped", "--sign-only"]);
    const once = await system.run(["cosign", "-", "--key", keyFile("ops"), "--yes"], { input: made.stdout });
    const twice = await system.run(["cosign", "-", "--key", keyFile("security"), "--yes", "--out", "-"], {
      input: once.stdout,
    });
    const sent = await system.run(["submit", "--signed", "-", "--wait"], { input: twice.stdout });

    expect(sent.code).toBe(0);
    expect(JSON.parse(twice.stdout)).toMatchObject({ job: { payload: "echo piped" }, signatures: [{}, {}, {}] });
  });

  test("needs no supervisor, and keeps the file to its owner", async () => {
    const file = await signedApart("offline", "--payload", "true", "--to", "http://127.0.0.1:1");

    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  test.each([
    [["--out", "x"], "--out belongs to --sign-only"],
    [["--signed", "x", "--runner", "y"], "--runner can not change it"],
    [["--signed", "x", "--sign-only"], "supervisor cosign FILE"],
  ])("refuses %j", async (words, says) => {
    const file = await signedApart("usage", "--payload", "true");
    const ran = await system.run(["submit", ...words.map((word) => (word === "x" ? file : word))]);

    expect(ran).toMatchObject({ code: 2 });
    expect(ran.stderr).toContain(says);
  });
});

describe("cosign", () => {
  test("shows what would run where before it asks, and signs on yes alone", async () => {
    const file = await signedApart("asked", "--payload", "rm -rf /tmp/x", "--env", "TOKEN=hush", "--timeout", "77");

    const no = await system.run(["cosign", file, "--key", keyFile("ops")], { answer: "y" });
    const unsigned = await readFile(file, "utf8");
    const yes = await system.run(["cosign", file, "--key", keyFile("ops")], { answer: "yes" });

    expect(no.code).toBe(1);
    expect(JSON.parse(unsigned)).toMatchObject({ signatures: [{}] });
    expect(no.stderr).toContain("runs on     prod");
    expect(no.stderr).toContain("timeout     77 s");
    expect(no.stderr).toContain("  | rm -rf /tmp/x");
    expect(no.stderr).toContain("environment TOKEN");
    expect(no.stderr).not.toContain("hush");
    expect(no.stderr).toMatch(/signed by {3}ed25519:[0-9a-f]{64} \(owner\)/u);
    expect(yes.code).toBe(0);
    expect(JSON.parse(await readFile(file, "utf8"))).toMatchObject({ signatures: [{}, {}] });
  });

  test("does nothing where nobody can be asked and --yes is missing", async () => {
    const file = await signedApart("nobody", "--payload", "true");

    const ran = await system.run(["cosign", file, "--key", keyFile("ops")]);

    expect(ran.code).toBe(2);
    expect(JSON.parse(await readFile(file, "utf8"))).toMatchObject({ signatures: [{}] });
  });

  test("does not sign twice with one key", async () => {
    const file = await signedApart("twice", "--payload", "true");

    const ran = await system.run(["cosign", file, "--yes"]);

    expect(ran.code).toBe(0);
    expect(ran.stderr).toContain("has signed it already");
  });

  test.each([
    [
      "was changed after it was signed",
      (text: string) => text.replace('"payload": "true"', '"payload": "evil"'),
      "wrong",
    ],
    ["says one thing twice", (text: string) => text.replace('"job":', '"job": {}, "job":'), "is no signed job"],
    ["has a member more", (text: string) => text.replace('"job":', '"note": 1, "job":'), 'a member "note"'],
    ["is no job", (text: string) => text.replace('"runner"', '"run"'), "is no signed job"],
    ["has no signatures", (text: string) => text.replace(/"signatures": \[[^\]]*\]/u, '"signatures": []'), "1 to 16"],
    ["is cut off", (text: string) => text.slice(0, -20), "is not JSON"],
    ["is a list", () => "[]", "not an object"],
  ])("refuses a job that %s", async (_what, change, says) => {
    const file = await signedApart("changed", "--payload", "true");
    await writeFile(file, change(await readFile(file, "utf8")));

    const ran = await system.run(["cosign", file, "--key", keyFile("ops"), "--yes"]);

    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain(says);
  });
});
