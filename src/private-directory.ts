/** Directories that secrets lie in. */
import type { Stats } from "node:fs";
import { mkdir, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";

import { errorText } from "./errors.ts";

/**
 * Makes a directory for its owner alone (mode 0700), and its parents; what is there stays as it is. Step by step: Node's
 * own recursion never ends below a directory that takes no entries and says "no such file", as /proc does.
 * @throws Error naming the directory that can not be made, or the file in its place.
 */
export async function makePrivateDirectory(path: string): Promise<void> {
  const directory = resolve(path);
  const found = await look(directory);
  if (found !== undefined && !found.isDirectory()) throw new Error(`${directory} is no directory`);
  if (found !== undefined) return;
  if (dirname(directory) !== directory) await makePrivateDirectory(dirname(directory));
  try {
    await mkdir(directory, { mode: 0o700 });
  } catch (error) {
    // Somebody else made it meanwhile.
    if ((await look(directory))?.isDirectory() === true) return;
    throw new Error(`${directory} can not be made (${errorText(error)})`, { cause: error });
  }
}

async function look(path: string): Promise<Stats | undefined> {
  return stat(path).catch(() => undefined);
}
