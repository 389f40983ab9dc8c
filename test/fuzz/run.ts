/** `npm run fuzz`: malformed inputs on HTTP and WebSocket, and whether the program took them as it must. */
import { parseArgs } from "node:util";

import { BREAKAGE_NAMES } from "./breakages.ts";
import { type FuzzOptions, type FuzzReport, type Progress, runFuzz } from "./fuzz.ts";

const USAGE = `npm run fuzz -- [options]

options:
  --seed <n>       decides every input; a new one unless given
  --inputs <n>     malformed ones; a good job goes with every 25th (10000)
  --only <n,...>   these inputs alone, by the numbers a run has named
  --lanes <n>      connections at a time (256)
  --deadline <ms>  for an answer or a close (15000)
  --broken <what>  a program broken on purpose: ${BREAKAGE_NAMES.join(", ")}
  --json           the result as JSON
`;

const OPTIONS = {
  seed: { type: "string" },
  inputs: { type: "string", default: "10000" },
  only: { type: "string" },
  lanes: { type: "string", default: "256" },
  deadline: { type: "string", default: "15000" },
  broken: { type: "string" },
  json: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({ args: [...argv], options: OPTIONS });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  const options: FuzzOptions = {
    seed: values.seed === undefined ? Date.now() % 1_000_000 : whole("seed", values.seed),
    inputs: whole("inputs", values.inputs),
    only: values.only?.split(",").map((text) => whole("only", text)),
    lanes: whole("lanes", values.lanes),
    deadlineMs: whole("deadline", values.deadline),
    broken: values.broken,
    signal: stop.signal,
    ...(process.stderr.isTTY ? { onProgress: progressTo((text) => process.stderr.write(text)) } : {}),
  };
  process.stderr.write(`seed ${options.seed}\n`);
  const report = await runFuzz(options);
  process.stderr.write(summary(report, options));
  if (values.json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  return report.findings.length > 0 || stop.signal.aborted ? 1 : 0;
}

function whole(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value)) return value;
  throw new RangeError(`--${name} "${text}" is not a whole number.`);
}

/** Between two lines, in ms. */
const LINE_MS = 1000;

/** One line that is written over. */
function progressTo(write: (text: string) => void): (progress: Progress) => void {
  let lastMs = 0;
  return ({ sent, of, jobs, findings }) => {
    if (performance.now() - lastMs < LINE_MS && sent < of) return;
    lastMs = performance.now();
    write(`\r${sent} of ${of} inputs, ${jobs} good jobs, ${findings} findings\u001b[K${sent < of ? "" : "\n"}`);
  };
}

const mib = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;

function summary(report: FuzzReport, { lanes }: FuzzOptions): string {
  const { seed, inputs, jobs, outcomes, findings, heap, tookMs } = report;
  const seconds = tookMs / 1000;
  const numbers = [...new Set(findings.flatMap((finding) => finding.inputs))];
  const lines = [
    `${inputs} inputs and ${jobs} good jobs in ${seconds.toFixed(1)} s, ${Math.round(inputs / seconds)} inputs a second`,
    ...Object.entries(outcomes).map(([name, count]) => `  ${String(count).padStart(7)} ${name}`),
    `heap ${mib(heap.before)} before, ${mib(heap.after)} after (${(heap.after / heap.before).toFixed(2)})`,
    findings.length === 0 ? "nothing found" : `${findings.length} findings`,
    ...findings.map(({ kind, inputs: of, text }) => `  ${kind} ${of.join(",")} ${text}`),
    ...(numbers.length === 0
      ? []
      : [`again: npm run fuzz -- --seed ${seed} --lanes ${lanes} --only ${numbers.join(",")}`]),
  ];
  return `${lines.join("\n")}\n`;
}

process.exitCode = await main(process.argv.slice(2));
