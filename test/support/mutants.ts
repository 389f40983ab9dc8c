/** Copies of the program in which one piece of source text is another: the build without that check. */
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import type * as whole from "./build-under-test.ts";

export type Build = typeof whole;

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

export interface Mutation {
  /** In `src/`. */
  readonly file: string;
  /** Stands there once. */
  readonly from: string;
  readonly to: string;
}

/** Loads the program from a copy of its source with that change. @throws Error where the text does not stand there once */
export async function loadMutant({ file, from, to }: Mutation): Promise<Build> {
  const directory = await mkdtemp(join(tmpdir(), "horus-mutant-"));
  try {
    await cp(join(ROOT, "src"), join(directory, "src"), { recursive: true });
    await symlink(join(ROOT, "node_modules"), join(directory, "node_modules"));
    const path = join(directory, "src", file);
    const [before, after, ...more] = (await readFile(path, "utf8")).split(from);
    if (before === undefined || after === undefined || more.length > 0) {
      throw new Error(`src/${file} does not hold this text once: ${from}`);
    }
    await writeFile(path, before + to + after);
    const entry = await readFile(new URL("build-under-test.ts", import.meta.url), "utf8");
    await writeFile(join(directory, "build.ts"), entry.replaceAll("../../src/", "./src/"));
    const loaded: unknown = await import(pathToFileURL(join(directory, "build.ts")).href);
    if (!isBuild(loaded)) throw new Error(`src/${file} can not be loaded without: ${from}`);
    return loaded;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The same entry, so the same names; what the change did to their types is what is asked. */
function isBuild(loaded: unknown): loaded is Build {
  return typeof loaded === "object" && loaded !== null && "createSubmit" in loaded;
}

/** A check in words, the program without it, and an attack: true where it passes. */
export type MutantRow = readonly [string, Mutation, (build: Build) => Promise<boolean>];

/** Was it not refused? A mutant has error classes of its own, so a refusal is known by its code. */
export async function isTaken(work: Promise<unknown>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && typeof error.code === "number") return false;
    throw error;
  }
}

/** A check of the form `if (…) throw`, taken out. */
export function withoutCheck(file: string, from: string): Mutation {
  return { file, from, to: from.replace(/^if \(.*?(?=\) (?:throw|return|\{))/u, "if (false") };
}
