/** A compiled copy of the program and of these benches: what is measured is what is shipped, not what a loader makes of it. */
import { spawnSync } from "node:child_process";
import { cp, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

export interface Build extends AsyncDisposable {
  /** Holds `bin/supervisor.js` and `test/bench/run.js`. */
  readonly directory: string;
}

/**
 * Compiles into a temporary directory, so that a bench neither needs nor disturbs `dist`. Loaders wrap every function
 * (esbuild's keepNames), which costs most where closures are made on the way of a call.
 * @throws Error with the compiler's output.
 */
export async function build(): Promise<Build> {
  const directory = await mkdtemp(join(tmpdir(), "horus-bench-"));
  const built: Build = {
    directory,
    [Symbol.asyncDispose]: async () => rm(directory, { recursive: true, force: true }),
  };
  try {
    await symlink(join(ROOT, "node_modules"), join(directory, "node_modules"));
    await cp(join(ROOT, "package.json"), join(directory, "package.json"));
    const config = join(directory, "tsconfig.json");
    await writeFile(config, JSON.stringify(configOf(directory)));
    run([compiler(), "-p", config], 'make "npm run check:types" pass');
    run([join(ROOT, "bin/bundle.mjs"), directory], "see bin/bundle.mjs");
    await cp(join(ROOT, "src/store/lua"), join(directory, "src/store/lua"), { recursive: true });
    return built;
  } catch (error) {
    await built[Symbol.asyncDispose]();
    throw error;
  }
}

function configOf(directory: string): object {
  return {
    extends: join(ROOT, "tsconfig.json"),
    // Types are for check:types to judge, and most of the time of a compilation.
    compilerOptions: { rootDir: ROOT, outDir: directory, declaration: false, noCheck: true },
    include: ["src", "transports", "bin", "test/bench"].map((part) => join(ROOT, part)),
  };
}

function compiler(): string {
  return join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
}

/** @throws Error with its output and the fix. */
function run(words: readonly string[], fix: string): void {
  const ran = spawnSync(process.execPath, words, { encoding: "utf8" });
  if (ran.status === 0) return;
  throw new Error(`The program can not be built; ${fix}.\n${ran.stdout}${ran.stderr}`);
}
