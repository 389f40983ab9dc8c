/** Programs of the machine that some tests need: told how to get where they are missing, and demanded in CI. */
import { spawnSync } from "node:child_process";

export interface MachineTool {
  /** Runs it; exit code 0 says that it is there. */
  readonly probe: readonly [program: string, ...words: string[]];
  /** Debian's packages that bring it. */
  readonly packages: readonly string[];
}

/** Debian's own: another python may come first on PATH and know nothing of Debian's packages. */
export const PYTHON = "/usr/bin/python3";

export const CURL: MachineTool = { probe: ["curl", "--version"], packages: ["curl"] };
export const JSONRPCLIB: MachineTool = {
  probe: [PYTHON, "-c", "import jsonrpclib"],
  packages: ["python3-jsonrpclib-pelix"],
};
export const PYTHON_WEBSOCKETS: MachineTool = {
  probe: [PYTHON, "-c", "import websockets"],
  packages: ["python3-websockets"],
};
/** What the runner in test/conformance/python stands on. */
export const PYTHON_RUNNER: MachineTool = {
  probe: [PYTHON, "-c", "import cryptography, redis"],
  packages: ["python3-redis", "python3-cryptography"],
};

/**
 * Is it there? Where it is not, its tests are skipped with a word on standard error.
 * @throws Error in CI (`CI=true`), where nothing may be skipped
 */
export function isHere({ probe: [program, ...words], packages }: MachineTool): boolean {
  if (spawnSync(program, words, { stdio: "ignore" }).status === 0) return true;
  const fix = `${[program, ...words].join(" ")} fails: apt-get install ${packages.join(" ")}`;
  if (process.env["CI"] === "true") throw new Error(fix);
  process.stderr.write(`Skipped: ${fix}\n`);
  return false;
}
