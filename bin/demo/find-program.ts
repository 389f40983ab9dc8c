/** Programs on PATH. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** The first of the names that is there and may be run, as a path; undefined where none is. */
export function findProgram(
  names: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  const directories = (env["PATH"] ?? "").split(delimiter).filter((directory) => directory !== "");
  return names.flatMap((name) => directories.map((directory) => join(directory, name))).find(isExecutable);
}

/** Is it there, and may we run it? */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
