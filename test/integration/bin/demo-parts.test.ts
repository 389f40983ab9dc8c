import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, onTestFinished, test } from "vitest";

import { Child } from "../../../bin/demo/child.ts";
import { Guard } from "../../../bin/demo/guard.ts";
import { freePort } from "../../../bin/demo/port.ts";
import { withStage } from "../../../bin/demo/stage.ts";
import { waitUntil } from "../../../bin/demo/wait-until.ts";
import { RecordingTerminal } from "../../support/terminal.ts";
import { waitUntil as until } from "../../support/wait.ts";

const never = new AbortController().signal;

/** A shell that is gone with the test. */
function aShell(script: string, onLine?: (line: string) => void): Child {
  const child = new Child("shell", { argv: ["/bin/sh", "-c", script], env: process.env, cwd: "/", onLine });
  onTestFinished(async () => child.stop());
  return child;
}

describe("a child of the demo", () => {
  test("says each of its lines, whole, and keeps the last twenty", async () => {
    const lines: string[] = [];

    const child = aShell(
      "for i in $(seq 1 30); do echo line $i; done; printf 'half '; sleep 0.1; echo whole >&2; printf end",
      (line) => lines.push(line),
    );
    await until(() => lines.length === 32);

    expect(lines).toEqual(expect.arrayContaining(["line 1", "line 30", "whole", "half end"]));
    expect(child.lastWords.split("\n")).toHaveLength(20);
  });

  test("that can not be started says why and is not up", async () => {
    const child = new Child("nothing", { argv: ["/nowhere/program"], env: {}, cwd: "/" });

    await until(() => child.lastWords !== "");

    expect(child.isUp).toBe(false);
    expect(child.lastWords).toContain("ENOENT");
    await expect(child.stop()).resolves.toBeUndefined();
  });

  test("stops at SIGTERM", async () => {
    const child = aShell("sleep 300");

    await child.stop();

    expect(child.isUp).toBe(false);
    await expect(child.ended(never)).resolves.toBeUndefined();
  });
});

describe("waiting for a child", () => {
  test("is over when it is so", async () => {
    let asked = 0;
    const isSo = async (): Promise<boolean> => (asked += 1) === 3;

    await expect(waitUntil({ what: "it", isSo, child: aShell("sleep 300"), signal: never })).resolves.toBeUndefined();
  });

  test("ends with the child's last words when it ends before", async () => {
    const child = aShell("echo last words; exit 3");

    const waiting = waitUntil({ what: "the moon", isSo: async () => false, child, signal: never });

    await expect(waiting).rejects.toThrow("shell ended while waiting for the moon:\nlast words");
  });

  test("ends with the signal's reason", async () => {
    const waiting = waitUntil({
      what: "it",
      isSo: async () => false,
      child: aShell("sleep 300"),
      signal: AbortSignal.abort(new Error("stop")),
    });

    await expect(waiting).rejects.toThrow("stop");
  });
});

describe("a free port", () => {
  test("is the preferred one, or another where that is taken", async () => {
    const free = await freePort();
    const same = await freePort(free);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(free, "127.0.0.1", resolve));
    onTestFinished(() => {
      server.close();
    });

    const other = await freePort(free);

    expect(same).toBe(free);
    expect(other).not.toBe(free);
    expect(other).toBeGreaterThan(0);
  });
});

describe("the demo's stage", () => {
  test("tells that one of its processes ended by itself, and stops the others", async () => {
    const terminal = new RecordingTerminal({ env: { PATH: process.env["PATH"] } });
    const children: Child[] = [];

    const playing = withStage(terminal, {
      showsLogs: false,
      play: async (stage) => {
        children.push(stage.start("steady", ["/bin/sh", "-c", "sleep 300"]));
        children.push(stage.start("flaky", ["/bin/sh", "-c", "echo oh no; exit 3"]));
        await stage.untilStopped();
      },
    });

    await expect(playing).rejects.toThrow("flaky ended by itself:\noh no");
    expect(children.map(({ isUp }) => isUp)).toEqual([false, false]);
    expect(terminal.reloadListeners).toBe(0);
  });

  test("keeps settings for other supervisors from its processes", async () => {
    const terminal = new RecordingTerminal({
      env: { PATH: process.env["PATH"], SUPERVISOR_HTTP_PORT: "1", KEPT: "2" },
    });

    await withStage(terminal, {
      showsLogs: true,
      play: async (stage) => {
        const child = stage.start("env", ["/usr/bin/env"], { OWN: "3" });
        await child.ended(never);
        await until(() => terminal.stderr.includes("OWN=3"));
      },
    });

    expect(terminal.stderr).toMatch(/^env {8}\| KEPT=2$/mu);
    expect(terminal.stderr).not.toContain("SUPERVISOR_HTTP_PORT");
  });
});

describe("the demo's guard", () => {
  test("lets go of everything when it is dismissed", async () => {
    const directory = await mkdtemp(join(tmpdir(), "horus-guard-"));
    onTestFinished(async () => rm(directory, { recursive: true, force: true }));
    const guard = new Guard(directory);
    const child = aShell("sleep 300");
    guard.watch(child.pid);
    await writeFile(join(directory, "file"), "");

    await guard.dismiss();
    await guard.dismiss();

    expect(child.isUp).toBe(true);
    await expect(access(directory)).resolves.toBeUndefined();
  });
});
