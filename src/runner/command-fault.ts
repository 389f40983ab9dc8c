/** Can an executor's command be started on this host? A runner looks before it takes jobs, each of which would fail. */
import { access, constants, stat } from "node:fs/promises";
import { delimiter, isAbsolute, join, resolve } from "node:path";

import type { Executor } from "./executor.ts";
import { DEFAULT_PATH } from "./job-environment.ts";

interface Surroundings {
  /** The PATH that jobs get; a plain one unless told. */
  readonly jobPath?: string;
  /** The PATH of whoever starts the runner: a command that is there alone is named by its whole path. */
  readonly ownPath?: string | undefined;
}

/**
 * What is wrong, where it was looked for, and the fix; undefined: nothing, or it hangs on the job (an executor that lets
 * its PATH through).
 */
export async function commandFault(executor: Executor, around: Surroundings = {}): Promise<string | undefined> {
  const { workingDirectory } = executor;
  if (workingDirectory !== undefined && !(await isDirectory(workingDirectory))) {
    return `working_directory "${workingDirectory}" is no directory here. Make it, or name another.`;
  }
  return executor.command[0].includes("/") ? pathFault(executor) : nameFault(executor, around);
}

async function pathFault({ command: [program], workingDirectory }: Executor): Promise<string | undefined> {
  const here = resolve(program);
  if (!isAbsolute(program) && workingDirectory === undefined) {
    const fix = (await isProgram(here)) ? `Write its whole path: ${here}` : "Write its whole path";
    return `"${program}" would be looked for in each job's own fresh directory, which is empty. ${fix}.`;
  }
  const path = resolve(workingDirectory ?? "", program);
  if (await isProgram(path)) return undefined;
  return (await isFile(path))
    ? `${path} may not be executed. Run: chmod +x ${path}`
    : `${path} is no file. Mend the path.`;
}

async function nameFault({ command: [program], env }: Executor, around: Surroundings): Promise<string | undefined> {
  const { jobPath = DEFAULT_PATH, ownPath = "" } = around;
  if (env.includes("PATH") || (await findIn(jobPath, program)) !== undefined) return undefined;
  const own = await findIn(ownPath, program);
  const fix = own === undefined ? "Mend its name, install it, or write its whole path" : `Write its whole path: ${own}`;
  return `no program "${program}" is in the PATH of jobs, ${jobPath}. ${fix}.`;
}

async function findIn(path: string, program: string): Promise<string | undefined> {
  for (const directory of path.split(delimiter).filter((entry) => isAbsolute(entry))) {
    const candidate = join(directory, program);
    if (await isProgram(candidate)) return candidate;
  }
  return undefined;
}

async function isProgram(path: string): Promise<boolean> {
  if (!(await isFile(path))) return false;
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
