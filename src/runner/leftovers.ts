/**
 * Finds and kills what an attempt left running outside its process group (`setsid`, daemons). Best effort, on Linux: a
 * process is known by the scratch directory in its environment or as its working directory; one that changed both and
 * its group escapes.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setImmediate } from "node:timers/promises";

/** A process that forks faster than it is found is looked for again, this often. */
const MAX_ROUNDS = 20;
/** Processes looked at in one turn. Reading /proc never waits for a disk, and synchronous reads cost a tenth. */
const TURN = 64;

/** Kills every process of the attempt whose scratch directory this is. Resolves with how many were killed. */
export async function killLeftovers(scratchPath: string): Promise<number> {
  let killed = 0;
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const hit = (await findProcesses(scratchPath)).filter((pid) => kill(pid)).length;
    if (hit === 0) break;
    killed += hit;
  }
  return killed;
}

/** Processes with the scratch directory in a value of their environment, or working in it. None where there is no /proc. */
export async function findProcesses(scratchPath: string): Promise<readonly number[]> {
  const found: number[] = [];
  const pids = listProcesses();
  for (let at = 0; at < pids.length; at += TURN) {
    found.push(...pids.slice(at, at + TURN).filter((pid) => carries(pid, scratchPath)));
    await setImmediate();
  }
  return found;
}

function listProcesses(): readonly number[] {
  try {
    const names = readdirSync("/proc").filter((name) => /^\d+$/u.test(name));
    return names.map(Number).filter((pid) => pid > 1 && pid !== process.pid);
  } catch {
    // Not Linux: the process group is all there is.
    return [];
  }
}

function carries(pid: number, scratchPath: string): boolean {
  try {
    if (readFileSync(`/proc/${pid}/environ`).includes(`=${scratchPath}/`)) return true;
    return readlinkSync(`/proc/${pid}/cwd`).startsWith(`${scratchPath}/`);
  } catch {
    // Gone in between, a zombie, or another user's: not ours to kill.
    return false;
  }
}

function kill(pid: number): boolean {
  try {
    process.kill(pid, "SIGKILL");
    return true;
  } catch {
    // Gone in between, which is what was wanted; or not ours, and then trying again changes nothing.
    return false;
  }
}
