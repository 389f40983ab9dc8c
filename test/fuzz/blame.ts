/** Which of many inputs ended the program: halved until one is left that does it alone, each time in a new process. */
import { setTimeout as sleep } from "node:timers/promises";

import { exchange } from "./exchange.ts";
import type { FuzzInput } from "./inputs.ts";
import { type FuzzSystem, startFuzzSystem, type SystemOptions } from "./system.ts";

/** For suspects to end the process once they are sent, in ms. */
const SUSPECT_MS = 2000;
/** What they have left behind is read by then. */
const GRACE_MS = 200;

export interface BlameOptions extends SystemOptions {
  inputOf(system: FuzzSystem, index: number): Promise<FuzzInput>;
}

/** Its number; none where they do not do it again. */
export async function blame(suspects: readonly number[], options: BlameOptions): Promise<readonly number[]> {
  if (suspects.length === 0 || !(await endTheProgram(suspects, options))) return [];
  if (suspects.length === 1) return suspects;
  const middle = Math.ceil(suspects.length / 2);
  const guilty = await blame(suspects.slice(0, middle), options);
  return guilty.length > 0 ? guilty : blame(suspects.slice(middle), options);
}

async function endTheProgram(suspects: readonly number[], options: BlameOptions): Promise<boolean> {
  await using system = await startFuzzSystem(options);
  const inputs = await Promise.all(suspects.map(async (index) => options.inputOf(system, index)));
  await Promise.all(
    // A connection that is refused says the same as the look below.
    inputs.map(async (input) => exchange(system.port, input, SUSPECT_MS).catch(() => undefined)),
  );
  await sleep(GRACE_MS);
  return !(await system.isServing());
}
