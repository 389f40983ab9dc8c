/** `npm run conformance`: a runner in whatever language, through every check of the protocol. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { build } from "../bench/build.ts";
import { Unmet } from "./check.ts";
import { CHECKS } from "./checks.ts";
import { type ConformanceOptions, runConformance, type Verdict } from "./conformance.ts";
import { count, listLines, reportLines } from "./report.ts";
import { DEFAULT_LEASE_MS } from "./site.ts";

const USAGE = `npm run conformance -- [options] [-- COMMAND [ARGUMENT...]]

COMMAND is a runner; it gets what it needs by RUNNER_... variables (test/conformance/README.md). Without one, the
reference runner is tested. Exit code 0: every check that was asked for passed; 1: not; 2: wrong usage.

options:
  --only <name,...>    these checks alone
  --list               the checks, and nothing is run
  --json               the outcome as JSON
  --output             what the runner writes, on standard error
  --lease <ms>         lease of the shared supervisor (${DEFAULT_LEASE_MS})
  --patience <ms>      how long anything is waited for (20000)
  --concurrency <n>    checks at a time (8)
  --help
`;

const OPTIONS = {
  only: { type: "string" },
  list: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
  output: { type: "boolean", default: false },
  lease: { type: "string", default: String(DEFAULT_LEASE_MS) },
  patience: { type: "string", default: "20000" },
  concurrency: { type: "string", default: "8" },
  help: { type: "boolean", default: false },
} as const;

class UsageError extends Error {
  override readonly name = "UsageError";
}

type Flags = ReturnType<typeof parse>["values"];

function parse(argv: readonly string[]): {
  readonly values: ReturnType<typeof parseArgs<{ options: typeof OPTIONS; allowPositionals: true }>>["values"];
  readonly command: readonly string[];
} {
  // What stands behind "--" is the runner's, options of its own included; npm may pass on the dashes it was given.
  const at = argv.indexOf("--");
  const own = at === -1 ? argv : argv.slice(0, at);
  try {
    const { values, positionals } = parseArgs({ args: [...own], options: OPTIONS, allowPositionals: true });
    return { values, command: [...positionals, ...(at === -1 ? [] : argv.slice(at + 1))] };
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

async function main(argv: readonly string[]): Promise<number> {
  const { values, command } = parse(argv);
  if (values.help) return say(USAGE);
  const checks = chosen(values.only);
  if (values.list) return say(`${listLines(checks).join("\n")}\n`);
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort());
  const options = {
    checks,
    leaseMs: whole("lease", values.lease, 500),
    patienceMs: whole("patience", values.patience, 1000),
    concurrency: whole("concurrency", values.concurrency, 1),
    signal: stop.signal,
    ...listeners(values),
  };
  const verdicts = await (command.length === 0 ? runReference(options) : runConformance({ ...options, command }));
  say(
    values.json
      ? `${JSON.stringify({ command, checks: verdicts }, null, 2)}\n`
      : `${reportLines(verdicts).join("\n")}\n`,
  );
  return count(verdicts, "passed") === checks.length ? 0 : 1;
}

/** A compiled copy, so that neither a build nor its absence matters. */
async function runReference(options: Omit<ConformanceOptions, "command">): Promise<readonly Verdict[]> {
  await using built = await build();
  const command = [fileURLToPath(new URL("reference.sh", import.meta.url))];
  const env = { PROGRAM: join(built.directory, "bin/supervisor.js"), NODE: process.execPath };
  return await runConformance({ ...options, command, env });
}

function write(text: string): void {
  process.stderr.write(text);
}

function listeners({ output, json }: Flags): Pick<ConformanceOptions, "onOutput" | "onVerdict"> {
  const isWatched = process.stderr.isTTY && !json;
  return {
    ...(output ? { onOutput: write } : {}),
    ...(isWatched ? { onVerdict: ({ name, outcome }: Verdict) => write(`${outcome.padEnd(14)}${name}\n`) } : {}),
  };
}

function chosen(only: string | undefined): typeof CHECKS {
  if (only === undefined) return CHECKS;
  const names = only.split(",");
  const unknown = names.filter((name) => !CHECKS.some((check) => check.name === name));
  if (unknown.length > 0) throw new UsageError(`--only: no check is called ${unknown.join(", ")}. --list shows all.`);
  return CHECKS.filter(({ name }) => names.includes(name));
}

function whole(name: string, text: string, least: number): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new UsageError(`--${name} "${text}" is not a whole number from ${least}.`);
}

function say(text: string): 0 {
  process.stdout.write(text);
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UsageError || error instanceof Unmet)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
