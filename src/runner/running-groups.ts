/**
 * The process groups of jobs that run: whatever ends this process ends them too. An error or a second signal is met here;
 * a SIGKILL (`kill -9`, out of memory) gives no moment, so a small process beside this one, the guard, is told each group.
 */
import { type ChildProcess, spawn } from "node:child_process";

import { signalGroup } from "./process-group.ts";

/**
 * Hears `+ group` and `- group`. Its input ends when this process does, however that is: then it kills what it still knows.
 * Signals that are meant for all (a closed terminal, a service being stopped) are for this process to obey.
 */
const GUARD = `trap '' HUP INT TERM
groups=' '
while read -r word group; do
  case $word in
    +) groups="$groups$group " ;;
    -) others=' '
       for known in $groups; do [ "$known" = "$group" ] || others="$others$known "; done
       groups=$others ;;
  esac
done
for group in $groups; do kill -KILL -"$group"; done`;
/** How the list of processes shows it. Not by the program's name: who kills all of that name would kill it too. */
const GUARD_NAME = "job-guard";

const groups = new Set<number>();
let guard: ChildProcess | undefined;

/** To be called before a job's process is started, so that no moment lies between that and the guard's start. Never throws. */
export function ensureGuard(): void {
  guard ??= startGuard();
}

/** To be told in the turn in which the group's leader is started. */
export function noteRunning(group: number): void {
  if (groups.size === 0) process.on("exit", killAll);
  groups.add(group);
  tell(`+ ${group}`);
}

/** To be told in the turn in which its end is learnt: the number may be another's soon. */
export function noteGone(group: number): void {
  groups.delete(group);
  if (groups.size === 0) process.off("exit", killAll);
  tell(`- ${group}`);
}

/** A runner has stopped: without a job there is nothing to guard. */
export function dismissGuard(): void {
  if (groups.size === 0) endGuard();
}

function killAll(): void {
  for (const group of groups) signalGroup(group, "SIGKILL");
}

/** It is a help: without a shell or the means to start one jobs run all the same, and the next one tries again. */
function startGuard(): ChildProcess | undefined {
  const started = spawnGuard();
  const forget = (): void => {
    if (guard === started) guard = undefined;
  };
  started?.on("error", forget).on("exit", forget);
  // Absent as well: no descriptors were left for a pipe.
  if (started?.stdin?.writable !== true) return undefined;
  started.stdin.on("error", forget);
  // What keeps the process up is the runner.
  started.unref();
  for (const group of groups) started.stdin.write(`+ ${group}\n`);
  return started;
}

function spawnGuard(): ChildProcess | undefined {
  try {
    return spawn("/bin/sh", ["-c", GUARD, GUARD_NAME], {
      // Its own session: no signal of a terminal reaches it, and no directory is kept in use.
      detached: true,
      cwd: "/",
      env: {},
      stdio: ["pipe", "ignore", "ignore"],
    });
  } catch {
    // No memory to fork.
    return undefined;
  }
}

function tell(words: string): void {
  if (guard?.stdin === undefined || guard.stdin === null) return;
  // It is stopped, or hangs: what waits for it would be kept, and keep this process up. The next job starts another.
  if (guard.stdin.writableNeedDrain) endGuard();
  else guard.stdin.write(`${words}\n`);
}

function endGuard(): void {
  guard?.stdin?.destroy();
  guard?.kill("SIGKILL");
  guard = undefined;
}
