/** `npm run chaos -- mycelium`: the full storm over the overlay, and whether the promises held. */
import { parseArgs } from "node:util";

import { runStorm } from "../support/storm.ts";
import { describeStorm, FULL_STORM, judgeStorm } from "./storm.ts";
import { wholeNumber } from "./whole-number.ts";

const USAGE = `npm run chaos -- mycelium [options]

A supervisor at every node but the last, callers at the last, simulated daemons between them: 10 % loss, duplication,
reordering, delays, a partition, and every daemon and each step of every supervisor killed once.

options:
  --seed <n>         decides the blows; a new one unless given
  --nodes <n>        two or more (3)
  --jobs <n>         (${FULL_STORM.jobs})
  --partition <ms>   (${FULL_STORM.partitionMs})
  --delays <ms>      a message comes up to so much later than the next one (${FULL_STORM.delaysUpToMs})
`;

const OPTIONS = {
  seed: { type: "string" },
  nodes: { type: "string", default: "3" },
  jobs: { type: "string", default: String(FULL_STORM.jobs) },
  partition: { type: "string", default: String(FULL_STORM.partitionMs) },
  delays: { type: "string", default: String(FULL_STORM.delaysUpToMs) },
  help: { type: "boolean", default: false },
} as const;

/** The exit code: 1 where something did not hold, or a blow was left when all jobs were settled. */
export async function runStormCommand(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({ args: [...argv], options: OPTIONS });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const storm = {
    ...FULL_STORM,
    seed: values.seed === undefined ? Date.now() % 1_000_000 : wholeNumber("seed", values.seed),
    nodes: Math.max(2, wholeNumber("nodes", values.nodes)),
    jobs: wholeNumber("jobs", values.jobs),
    partitionMs: wholeNumber("partition", values.partition),
    delaysUpToMs: wholeNumber("delays", values.delays),
  };
  process.stderr.write(`seed ${storm.seed}\n`);
  const startedMs = performance.now();
  const after = await runStorm(storm, (news) => {
    process.stderr.write(`${((performance.now() - startedMs) / 1000).toFixed(1).padStart(8)} s  ${news}\n`);
  });
  const left = after.blows - after.deeds.length;
  const wrong = [...judgeStorm(after, storm), ...(left === 0 ? [] : [`${left} blows were not dealt: send more jobs`])];
  const verdict = wrong.length === 0 ? "all promises held\n" : wrong.map((text) => `  ${text}\n`).join("");
  process.stderr.write(`${describeStorm(after)}${verdict}`);
  const { seed, nodes, jobs, partitionMs, delaysUpToMs } = storm;
  const again = `--seed ${seed} --nodes ${nodes} --jobs ${jobs} --partition ${partitionMs} --delays ${delaysUpToMs}`;
  process.stderr.write(`again: npm run chaos -- mycelium ${again}\n`);
  return wrong.length === 0 ? 0 : 1;
}
