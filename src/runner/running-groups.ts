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
/** How the list of processes shows it. */
const GUARD_NAME = "supervisor-job-guard";

const groups = new Set<number>();
let guard: ChildProcess | undefined;

/** To be told in the turn in which the group's leader is started. */
export function noteRunning(group: number): void {
  if (groups.size === 0) process.on("exit", killAll);
  groups.add(group);
  if (guard === undefined) startGuard();
  else tell(guard, `+ ${group}`);
}

/** To be told in the turn in which its end is learnt: the number may be another's soon. */
export function noteGone(group: number): void {
  groups.delete(group);
  if (groups.size === 0) process.off("exit", killAll);
  if (guard !== undefined) tell(guard, `- ${group}`);
}

function killAll(): void {
  for (const group of groups) signalGroup(group, "SIGKILL");
}

/** It is a help: without a shell, or once it was killed, jobs run all the same, and the next one tries again. */
function startGuard(): void {
  const started = spawn("/bin/sh", ["-c", GUARD, GUARD_NAME], {
    // Its own session: no signal of a terminal reaches it, and no directory is kept in use.
    detached: true,
    cwd: "/",
    env: {},
    stdio: ["pipe", "ignore", "ignore"],
  });
  const forget = (): void => {
    if (guard === started) guard = undefined;
  };
  started.on("error", forget).on("exit", forget);
  started.stdin.on("error", forget);
  // What keeps the process up is the runner; a pipe that is only written to never does.
  started.unref();
  guard = started;
  for (const group of groups) tell(started, `+ ${group}`);
}

function tell({ stdin }: ChildProcess, words: string): void {
  stdin?.write(`${words}\n`);
}
