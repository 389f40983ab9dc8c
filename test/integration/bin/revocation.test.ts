/** A key revoked at one supervisor, with another one on the same Redis that goes by a keys.toml of its own. */
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { type Console, type RunningLine, startConsole } from "../../support/command-line.ts";
import { waitUntil } from "../../support/wait.ts";

let system: Console;
let other: RunningLine;
let otherUrl = "";
const keyFile = (): string => join(system.directory, "alice.key");
const auditFile = (): string => join(system.directory, "audit.log");

beforeAll(async () => {
  system = await startConsole();
  await system.startRunner("demo");
  const key = (await system.run(["keygen", "--out", keyFile()])).stdout.trim();
  await system.run(["keys", "add", "--name", "alice", "--key", key, "--role", "submitter", "--runner", "*"]);
  await waitUntil(async () => (await alice("whoami")).code === 0);
  const copy = join(system.directory, "copy");
  await cp(system.dataDirectory, copy, { recursive: true });
  other = system.start(["--port", "0", "--data-dir", copy, "--audit-log", auditFile()]);
  [, otherUrl = ""] = await other.terminal.waitFor(/"(http:\/\/127\.0\.0\.1:\d+)\/?"/u);
});

afterAll(async () => system[Symbol.asyncDispose]());

async function alice(...words: readonly string[]): ReturnType<Console["run"]> {
  return system.run([...words, "--key", keyFile()]);
}

async function stateOf(id: unknown): Promise<unknown> {
  return (await system.json(["job", "get", String(id)]))["state"];
}

describe("supervisor keys revoke --cancel-running", () => {
  test("ends waiting and running jobs of the key, and its rights at the other supervisor too", async () => {
    const submit = ["submit", "--runner", "demo", "--payload", "sleep 300", "--key", keyFile()];
    const running = (await system.json(submit))["id"];
    const waiting = (await system.json(submit))["id"];
    await waitUntil(async () => (await stateOf(running)) === "running");
    expect((await alice("whoami", "--to", otherUrl)).code).toBe(0);

    await system.run(["keys", "revoke", "alice", "--cancel-running"]);
    await waitUntil(async () => (await stateOf(running)) === "cancelled" && (await stateOf(waiting)) === "cancelled");
    const refused = await alice("whoami", "--to", otherUrl);

    expect((await system.json(["job", "get", String(waiting)]))["reason"]).toBe("revoked");
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("-32001: Unauthenticated");
  });

  test("turns health red where the other's file still has the key, until SIGHUP reads the same file there", async () => {
    const isReady = async () => (await fetch(`${otherUrl}/readyz`)).status === 200;
    await waitUntil(async () => !(await isReady()));
    expect(await (await fetch(`${otherUrl}/readyz`)).text()).toContain("keys.toml differs");

    const text = await readFile(join(system.dataDirectory, "keys.toml"), "utf8");
    await writeFile(join(system.directory, "copy", "keys.toml"), text);
    other.terminal.hangUp();

    await waitUntil(isReady);
  });

  test("is a line of the audit trail, in a file of its own and not in the log", async () => {
    const trail = await readFile(auditFile(), "utf8");

    expect(trail).toMatch(/"event":"audit","what":"whoami","outcome":"refused","code":-32001,"claimed_key":"ed25519:/u);
    expect(trail).toMatch(/"what":"key_revoked","outcome":"done","key":"ed25519:[0-9a-f]{64}","name":"alice"/u);
    expect(trail).toMatch(/"what":"revocation","key":"ed25519:[0-9a-f]{64}","outcome":"done"/u);
    expect(other.terminal.stderr).not.toContain('"event":"audit"');
    expect(system.supervisor.terminal.stderr).toContain('"event":"audit"');
  });
});
