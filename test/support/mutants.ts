/** The program without one of its checks: attacks that it refuses pass there. */
import { describe, expect, test } from "vitest";

import * as whole from "./build-under-test.ts";
import { type Change, SourceModules } from "./source-modules.ts";

export type Build = typeof whole;

/** A check in words, the program without it, and an attack: true where it passes. */
export type MutantRow = readonly [string, Change, (build: Build) => Promise<boolean>];

const modules = new SourceModules(new URL("build-under-test.ts", import.meta.url));

/**
 * For each row: the program refuses the attack, and without the check it passes. `good` says of the program whether what
 * is good passes, so that the refusals mean something.
 */
export function describeMutants(rows: readonly MutantRow[], good: () => Promise<readonly boolean[]>): void {
  describe("the program", () => {
    test.each(rows)("refuses what would pass, but for: %s", async (_check, _change, attack) => {
      await expect(attack(whole)).resolves.toBe(false);
    });

    test("takes what is good", async () => {
      expect(await good()).not.toContain(false);
    });
  });

  describe("without the check", () => {
    test.each(rows)("%s: the attack passes", async (_check, change, attack) => {
      const mutant = await modules.load(change);
      if (!isBuild(mutant)) throw new Error(`src/${change.file} can not be loaded without: ${change.from}`);
      await expect(attack(mutant)).resolves.toBe(true);
    });
  });
}

/** The same entry, so the same names; what the change did to their types is what is asked. */
function isBuild(loaded: unknown): loaded is Build {
  return typeof loaded === "object" && loaded !== null && "createSubmit" in loaded;
}

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
export function withoutCheck(file: string, from: string): Change {
  return { file, from, to: from.replace(/^if \(.*?(?=\) (?:throw|return|\{))/u, "if (false") };
}
