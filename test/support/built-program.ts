/** The program as `npm test` has built it, for tests that run it as a whole. */
import { cp, mkdtemp, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { Build } from "../bench/build.ts";
import { ourDirectory } from "./guard.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** A copy of `dist` in a directory of its own, where it may be broken: a compilation takes seconds. */
export async function copyBuild(): Promise<Build> {
  const directory = await mkdtemp(join(ourDirectory(), "program-"));
  await cp(join(ROOT, "dist"), directory, { recursive: true });
  await cp(join(ROOT, "package.json"), join(directory, "package.json"));
  await symlink(join(ROOT, "node_modules"), join(directory, "node_modules"));
  return { directory, [Symbol.asyncDispose]: async () => rm(directory, { recursive: true, force: true }) };
}
