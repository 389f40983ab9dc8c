/** What ends with this process however it ends: a test process that is killed runs no cleanup of its own. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Writable } from "node:stream";

/**
 * One shell for the whole process, since a fork of a large process is dear. Each line it reads names all that live, so one
 * that is gone is not killed when another process has got its number. Its input ends with this process; what a terminal
 * tells the whole group is not for it.
 */
const SCRIPT = `trap '' HUP INT TERM
while read -r pids; do living=$pids; done
[ -z "$living" ] || kill -9 $living
rm -rf "$0"`;

/** Of a process, as far as it matters here. */
interface Mortal {
  readonly pid?: number | undefined;
  once(event: "exit", listener: () => void): unknown;
}

type Guard = ChildProcessByStdio<Writable, null, null>;

const living = new Set<number>();
let guard: Guard | undefined;
let directory: string | undefined;

/** Kills the process when this one ends. */
export function endWithUs(child: Mortal): void {
  const { pid } = child;
  // It was never started.
  if (pid === undefined) return;
  living.add(pid);
  tell();
  child.once("exit", () => {
    living.delete(pid);
    tell();
  });
}

/** A directory that is removed when this process ends; what is in it may be removed earlier. */
export function ourDirectory(): string {
  guard ??= startGuard();
  return madeDirectory();
}

function madeDirectory(): string {
  directory ??= mkdtempSync(join(tmpdir(), "horus-test-"));
  return directory;
}

function tell(): void {
  guard ??= startGuard();
  guard.stdin.write(`${[...living].join(" ")}\n`);
}

function startGuard(): Guard {
  const started = spawn("sh", ["-c", SCRIPT, madeDirectory()], { stdio: ["pipe", "ignore", "ignore"] });
  // It waits for our end, not we for its.
  started.unref();
  // Its exit says the same.
  started.stdin.on("error", () => undefined);
  started.once("exit", () => {
    guard = undefined;
    tell();
  });
  return started;
}
