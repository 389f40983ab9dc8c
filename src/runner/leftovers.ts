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
  return search.find(scratchPath);
}

/** A look at every process for those of some attempts, by scratch directory. */
interface Look {
  readonly paths: Set<string>;
  readonly found: Promise<ReadonlyMap<string, readonly number[]>>;
}

/**
 * Looks at all processes one after the other. Attempts that end while one look goes on share the next: a host may run
 * thousands of processes, and each look costs some microseconds for every one of them.
 */
class ProcessSearch {
  #last: Promise<unknown> = Promise.resolve();
  /** Not begun: it sees everything that runs when it is asked for. */
  #next: Look | undefined;

  async find(path: string): Promise<readonly number[]> {
    this.#next ??= this.#plan();
    this.#next.paths.add(path);
    return (await this.#next.found).get(path) ?? [];
  }

  #plan(): Look {
    const paths = new Set<string>();
    const found = this.#last.then(async () => {
      this.#next = undefined;
      return lookAtAll([...paths]);
    });
    this.#last = found;
    return { paths, found };
  }
}

/** One for the whole process, as the processes of the host are. */
const search = new ProcessSearch();

async function lookAtAll(paths: readonly string[]): Promise<ReadonlyMap<string, readonly number[]>> {
  const found = new Map<string, number[]>(paths.map((path) => [path, []]));
  const pids = listProcesses();
  for (let at = 0; at < pids.length; at += TURN) {
    for (const pid of pids.slice(at, at + TURN)) {
      for (const path of carriedBy(pid, paths)) found.get(path)?.push(pid);
    }
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

/** Those of the scratch directories that a process carries. */
function carriedBy(pid: number, paths: readonly string[]): readonly string[] {
  try {
    const environment = readFileSync(`/proc/${pid}/environ`);
    const directory = readlinkSync(`/proc/${pid}/cwd`);
    return paths.filter((path) => environment.includes(`=${path}/`) || directory.startsWith(`${path}/`));
  } catch {
    // Gone in between, a zombie, or another user's: not ours to kill.
    return [];
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
