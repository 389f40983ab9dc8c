import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, onTestFinished, test } from "vitest";

import { freePort } from "../../../bin/demo/port.ts";
import { runLine, startLine, untilWritten } from "../../support/command-line.ts";
import { leftBehind } from "../../support/demo.ts";
import { allKeys, startRedis } from "../../support/redis.ts";
import { RecordingTerminal } from "../../support/terminal.ts";
import { waitUntil } from "../../support/wait.ts";

const env = { PATH: process.env["PATH"] ?? "", HOME: tmpdir() };

/** A port that somebody else serves on. */
async function aTakenPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** A whole system from source beside other tests: a bound, no pace. */
const TIMEOUT = { timeout: 120_000 };

describe("supervisor demo", () => {
  test("plays the way of a job on a given Redis, beside a taken port, until it is told to stop", TIMEOUT, async () => {
    const redis = await startRedis({ port: true });
    const client = redis.client();
    await client.set("horus:precious", "1");
    const port = await aTakenPort();
    // Settings that are meant for another supervisor.
    const given = { ...env, REDIS_URL: redis.url, SUPERVISOR_HTTP_HOST: "192.0.2.1" };

    const line = startLine(["demo", "--logs", "--port", String(port)], { env: given });
    await untilWritten(line, /The system goes on until Ctrl-C\./u);
    const { stdout, stderr } = line.terminal;
    const [, url = ""] = /SUPERVISOR_URL=(\S+)/u.exec(stderr) ?? [];
    const ready = await fetch(`${url}/readyz`);
    line.terminal.hangUp();

    await expect(line.ended).resolves.toBe(0);
    expect(ready.ok).toBe(true);
    expect(stderr).toContain(`demo: port ${port} is taken, taking `);
    expect(stderr).toMatch(/^demo: submitted job [0-9a-f-]{36}, signed by ed25519:[0-9a-f]{64}: pending$/mu);
    expect(stderr).toMatch(/^demo: [0-9a-f-]{36} completed on demo exit code 0$/mu);
    expect(stderr).toMatch(/^demo: result: \{"files":\d+,"lines":\d+,"package_sha256":"[0-9a-f]{64}"\}$/mu);
    expect(stderr).toMatch(/^demo: receipt: verified$/mu);
    expect(stdout).toMatch(/^counted \d+ files$/mu);
    expect(stderr).toMatch(/^supervisor \| [\d:.]+ info supervisor is up /mu);
    expect(stderr).toMatch(/^runner {5}\| [\d:.]+ info runner takes jobs /mu);
    expect(line.terminal.stderr).toMatch(/demo: stopped; no process, port or temporary file is left\n$/u);
    await expect(leftBehind(stderr)).resolves.toEqual([]);
    const [, prefix = "-"] = /its keys begin with "(demo-\w+:)"/u.exec(stderr) ?? [];
    const keys = await allKeys(client);
    expect(keys.filter((key) => !key.startsWith(prefix))).toEqual(["horus:precious"]);
    expect(keys.length).toBeGreaterThan(1);
  });

  test("cancels its job and cleans up when it is interrupted half-way", TIMEOUT, async () => {
    const line = startLine(["demo", "--port", String(await freePort())], { env });
    await untilWritten(line, /^counted \d+ of \d+ files/mu);

    line.terminal.interrupt();

    await expect(line.ended).resolves.toBe(1);
    expect(line.terminal.stderr).toMatch(
      /demo: interrupted\ndemo: stopped; no process, port or temporary file is left\n$/u,
    );
    await expect(leftBehind(line.terminal.stderr)).resolves.toEqual([]);
  });

  test("names the command to run where there is no Redis", async () => {
    const { code, stderr } = await runLine(["demo", "--once"], { env: { PATH: "/nowhere" } });

    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: .*Run: sudo apt-get install -y redis-server — or set REDIS_URL\.\n$/mu);
  });

  test("leaves nothing even when it is killed", TIMEOUT, async () => {
    const directory = await mkdtemp(join(tmpdir(), "horus-killed-"));
    // What was killed may still be writing there.
    onTestFinished(async () => rm(directory, { recursive: true, force: true, maxRetries: 5 }));
    const [program = "", ...words] = new RecordingTerminal().program;
    const demo = spawn(program, [...words, "demo"], { env: { ...env, TMPDIR: directory } });
    const stderr = await writtenUntil(demo, /redis-server on port \d+/u);

    demo.kill("SIGKILL");
    await once(demo, "exit");

    await waitUntil(async () => (await leftBehind(stderr)).length === 0);
    await waitUntil(async () => (await demoDirectories(directory)).length === 0);
    await expect(demoDirectories(directory)).resolves.toEqual([]);
  });
});

async function demoDirectories(parent: string): Promise<readonly string[]> {
  return (await readdir(parent)).filter((name) => name.startsWith("horus-demo-"));
}

/** What a process wrote to standard error until it matched. */
async function writtenUntil(child: ChildProcess, pattern: RegExp): Promise<string> {
  let text = "";
  for await (const chunk of child.stderr ?? []) {
    text += String(chunk);
    if (pattern.test(text)) return text;
  }
  throw new Error(`It ended without ${pattern.source}:\n${text}`);
}
