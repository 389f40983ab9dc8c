/** A Python 3 that the runner in `python/` can run with: the one that is there, or one made for it. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The packages of Debian 12 and what is younger. */
const PROBE =
  "import sys, redis, cryptography; sys.exit(sys.version_info < (3, 9) or int(cryptography.__version__.split('.')[0]) < 38)";
/** What pip is asked for where the system has none. */
const PINNED = ["redis==5.2.1", "cryptography==44.0.0"];
const VENV = fileURLToPath(new URL("../../node_modules/.cache/conformance-python", import.meta.url));

export const PYTHON_FIX = "apt-get install python3-redis python3-cryptography, or pip install redis cryptography";

/** The program and whatever it needs in front of the script. Undefined: none is here, and none can be made. */
export function findPython(): string | undefined {
  const candidates = [process.env["PYTHON"], "python3", "/usr/bin/python3", join(VENV, "bin/python3")];
  const found = candidates.find((python) => python !== undefined && runs(python, ["-c", PROBE]));
  if (found !== undefined) return found;
  const isMade =
    runs("python3", ["-m", "venv", VENV]) && runs(join(VENV, "bin/pip"), ["install", "--quiet", ...PINNED]);
  return isMade ? join(VENV, "bin/python3") : undefined;
}

function runs(program: string, words: readonly string[]): boolean {
  try {
    execFileSync(program, words, { stdio: "ignore", timeout: 120_000 });
    return true;
  } catch {
    // Not there, or without the packages: the next one is tried.
    return false;
  }
}
