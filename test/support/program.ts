/** The built program as processes: what a user would start by hand. */
import { fileURLToPath } from "node:url";

import { type Ran, RunningProcess, runProcess } from "./process.ts";

export type { Ran } from "./process.ts";

/** Needs a build: `npm test` makes one before it runs. */
export const PROGRAM = [process.execPath, fileURLToPath(new URL("../../dist/bin/supervisor.js", import.meta.url))];

export interface RunOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** A clean environment: nothing of the machine's own settings leaks into a test. */
function environment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  return { PATH: process.env["PATH"], HOME: process.env["HOME"], ...extra };
}

/** Runs a command to its end. */
export async function runProgram(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return runProcess([...PROGRAM, ...args], { ...options, env: environment(options.env) });
}

/** A command that goes on: a supervisor, a runner. */
export class RunningProgram extends RunningProcess {
  constructor(args: readonly string[], options: RunOptions = {}) {
    super([...PROGRAM, ...args], { ...options, env: environment(options.env) });
  }
}
