/** `npm run chaos`: a run of jobs under faults, and whether the promises held. */
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { build } from "../bench/build.ts";
import { BREAKAGE_NAMES } from "./breakages.ts";
import { type ChaosOptions, type ChaosReport, type Progress, runChaos } from "./chaos.ts";
import { FAULT_KINDS, type FaultKind, isFaultKind } from "./faults.ts";
import { runStormCommand } from "./storm-run.ts";
import { wholeNumber } from "./whole-number.ts";

const USAGE = `npm run chaos -- [options]
npm run chaos -- mycelium [options]    a storm over the overlay; its own --help

options:
  --seed <n>         decides jobs and faults; a new one unless given
  --jobs <n>         (3000)
  --faults <n>       (30)
  --only <kind,...>  of ${FAULT_KINDS.join(", ")} (all)
  --lanes <n>        most jobs that are not ended (64)
  --lease <ms>       lease of an attempt (2000)
  --recovery <ms>    a job ends so soon after the last fault (five leases)
  --patience <ms>    given up when no job ends for so long (60000)
  --history <file>   where the history is written (a temporary file, kept when something broke)
  --broken <what>    a program broken on purpose: ${BREAKAGE_NAMES.join(", ")}
  --json             the result as JSON
`;

const OPTIONS = {
  seed: { type: "string" },
  jobs: { type: "string", default: "3000" },
  faults: { type: "string", default: "30" },
  only: { type: "string" },
  lanes: { type: "string", default: "64" },
  lease: { type: "string", default: "2000" },
  recovery: { type: "string" },
  patience: { type: "string", default: "60000" },
  history: { type: "string" },
  broken: { type: "string" },
  json: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

/** A lease, a hold after a restart of Redis, the largest backoff, one job, and what a busy machine takes. */
const RECOVERY_LEASES = 5;
/** Violations that are printed. */
const SHOWN = 20;

async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({ args: [...argv], options: OPTIONS });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const seed = values.seed === undefined ? Date.now() % 1_000_000 : wholeNumber("seed", values.seed);
  const leaseMs = wholeNumber("lease", values.lease);
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => stop.abort(new Error(`ended by ${signal}`)));
  }
  const options = {
    seed,
    jobs: wholeNumber("jobs", values.jobs),
    faults: wholeNumber("faults", values.faults),
    kinds: kindsOf(values.only),
    lanes: wholeNumber("lanes", values.lanes),
    leaseMs,
    recoveryMs: values.recovery === undefined ? leaseMs * RECOVERY_LEASES : wholeNumber("recovery", values.recovery),
    patienceMs: wholeNumber("patience", values.patience),
    historyPath: values.history ?? join(tmpdir(), `horus-chaos-${seed}.jsonl`),
    ...(values.broken === undefined ? {} : { broken: values.broken }),
    signal: stop.signal,
    onProgress: progressTo((text) => process.stderr.write(text)),
  };
  process.stderr.write(`seed ${seed}\n`);
  await using built = await build();
  const report = await runChaos({ ...options, built });
  process.stderr.write(summary(report, options));
  if (values.json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  if (report.violations.length > 0) return 1;
  // Nobody asked for it, and there is nothing to look up in it.
  if (values.history === undefined) await rm(options.historyPath, { force: true });
  return 0;
}

function kindsOf(text: string | undefined): readonly FaultKind[] {
  if (text === undefined) return FAULT_KINDS;
  return text.split(",").map((name) => {
    if (isFaultKind(name)) return name;
    throw new RangeError(`--only "${name}" is no kind of fault. Choose of: ${FAULT_KINDS.join(", ")}.`);
  });
}

/** A line for each fault, and one a second between them. */
function progressTo(write: (text: string) => void): (progress: Progress) => void {
  const startMs = performance.now();
  return ({ sent, ended, faults, news }) => {
    const at = seconds(performance.now() - startMs).padStart(8);
    write(`${at}  ${sent} sent, ${ended} ended, ${faults} mended${news === undefined ? "" : `  ${news}`}\n`);
  };
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function list(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([name, count]) => `${count} ${name}`)
    .join(", ");
}

function summary(report: ChaosReport, options: Omit<ChaosOptions, "built">): string {
  const { tookMs, calls, states, executions, lost, violations } = report;
  const told = violations.slice(0, SHOWN).map(({ invariant, job, text }) => `  ${invariant} ${job ?? ""} ${text}\n`);
  const more = violations.length > SHOWN ? `  and ${violations.length - SHOWN} more\n` : "";
  return [
    `${report.jobs} jobs and ${report.faults.length} faults in ${seconds(tookMs)}\n`,
    `calls: ${list(calls)}\n`,
    `jobs: ${list(states)}; ${executions} executions, ${lost} attempts lost\n`,
    `the last job ended ${seconds(report.recoveryMs)} after the last fault\n`,
    violations.length === 0 ? "all invariants held\n" : `${violations.length} violations\n${told.join("")}${more}`,
    violations.length === 0 ? "" : `history: ${options.historyPath}\n`,
    `again: npm run chaos -- ${replay(options)}\n`,
  ].join("");
}

/** The options that make the same jobs and faults. */
function replay({
  seed,
  jobs,
  faults,
  kinds = FAULT_KINDS,
  lanes,
  leaseMs,
  broken,
}: Omit<ChaosOptions, "built">): string {
  const counts = `--seed ${seed} --jobs ${jobs} --faults ${faults} --lanes ${lanes} --lease ${leaseMs}`;
  const only = kinds.length === FAULT_KINDS.length ? "" : ` --only ${kinds.join(",")}`;
  return `${counts}${only}${broken === undefined ? "" : ` --broken ${broken}`}`;
}

const [first, ...rest] = process.argv.slice(2);
process.exitCode = first === "mycelium" ? await runStormCommand(rest) : await main(process.argv.slice(2));
