/** `npm run bench`: compiles the program, then runs the benches one after the other and prints their figures. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { runBareServer } from "./bare-server.ts";
import { build } from "./build.ts";
import { runBullmq } from "./bullmq.ts";
import { benchCreateJob } from "./create-job.ts";
import { benchEndToEnd } from "./end-to-end.ts";
import { runLoad } from "./load.ts";
import { describeMachine } from "./machine.ts";
import { benchMyceliumSustained } from "./mycelium-sustained.ts";
import { benchHttpBesideMycelium, benchMycelium } from "./mycelium.ts";
import { RedisServer } from "./redis-server.ts";
import { comparisonText, type Figures, machineText } from "./report.ts";
import { isMissed } from "./rounds.ts";
import type { BenchOptions } from "./system.ts";
import { benchVerify } from "./verify.ts";

const USAGE = `npm run bench -- [options] [bench...]

benches, all of them but the last unless named:
  create-job          signed create_job over HTTP against a bare pipeline
  verify              a signature by the whole rule against bare crypto.verify
  mycelium            calls and jobs over the overlay, on real daemons with MYCELIUM_BIN
  mycelium-http       HTTP's p99 beside a busy and a dead overlay
  end-to-end          jobs that do nothing beside BullMQ, which is installed for it (needs a registry)
  mycelium-sustained  ten minutes of the overlay's calls at the rate a daemon is given for long

options:
  --rounds <n>       rounds of each side (7)
  --seconds <n>      length of a round (2)
  --connections <n>  calls in flight (32)
  --profile <dir>    write V8 profiles of the servers there
  --json             figures as JSON
  --check            exit code 1 when a ratio is below what is required
`;

type Bench = (options: BenchOptions) => Promise<Figures>;

const BENCHES: Readonly<Record<string, Bench>> = {
  "create-job": async (options) => ({ comparisons: [await benchCreateJob(options)], notMeasured: [] }),
  verify: async (options) => ({ comparisons: [await benchVerify(options)], notMeasured: [] }),
  mycelium: benchMycelium,
  "mycelium-http": benchHttpBesideMycelium,
  "end-to-end": benchEndToEnd,
  "mycelium-sustained": benchMyceliumSustained,
};

/** Run only when it is named: it takes ten minutes. */
const LONG = "mycelium-sustained";

/** Processes of the benches: this program again, with the role's name and its settings. */
const ROLES: Readonly<Record<string, (settings: unknown) => void | Promise<void>>> = {
  bare: runBareServer,
  bullmq: runBullmq,
  load: runLoad,
};

const OPTIONS = {
  rounds: { type: "string", default: "7" },
  seconds: { type: "string", default: "2" },
  connections: { type: "string", default: "32" },
  profile: { type: "string" },
  json: { type: "boolean", default: false },
  check: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

async function main(argv: readonly string[]): Promise<number> {
  const role = ROLES[argv[0] ?? ""];
  if (role !== undefined) {
    await role(JSON.parse(argv[1] ?? "{}"));
    return 0;
  }
  const { values, positionals } = parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true });
  const names = positionals.length === 0 ? Object.keys(BENCHES).filter((name) => name !== LONG) : positionals;
  const unknown = names.filter((name) => !Object.hasOwn(BENCHES, name));
  if (values.help || unknown.length > 0) {
    process.stdout.write(`${unknown.map((name) => `"${name}" is no bench.\n`).join("")}${USAGE}`);
    return values.help ? 0 : 2;
  }
  // Under a loader: measure the compiled copy instead.
  if (import.meta.url.endsWith(".ts")) return runBuilt(argv);
  return runBenches(names, values);
}

async function runBuilt(argv: readonly string[]): Promise<number> {
  await using built = await build();
  const program = join(built.directory, "test", "bench", "run.js");
  return spawnSync(process.execPath, [program, ...argv], { stdio: "inherit" }).status ?? 1;
}

async function runBenches(
  names: readonly string[],
  values: { rounds: string; seconds: string; connections: string; profile?: string; json: boolean; check: boolean },
): Promise<number> {
  const options = {
    rounds: positive("rounds", values.rounds),
    seconds: positive("seconds", values.seconds),
    connections: positive("connections", values.connections),
    profile: values.profile,
  };
  const machine = describeMachine(await redisVersion());
  const say = (text: string): void => void (values.json || process.stdout.write(text));
  say(`${machineText(machine)}${options.rounds} rounds of ${options.seconds} s, ${options.connections} in flight\n\n`);
  const all: Figures[] = [];
  for (const name of names) {
    const figures = await BENCHES[name]?.(options);
    if (figures === undefined) continue;
    all.push(figures);
    for (const comparison of figures.comparisons) say(comparisonText(comparison));
    for (const reason of figures.notMeasured) say(`${reason}\n`);
  }
  const comparisons = all.flatMap((figures) => figures.comparisons);
  const notMeasured = all.flatMap((figures) => figures.notMeasured);
  if (values.json) process.stdout.write(`${JSON.stringify({ machine, options, comparisons, notMeasured }, null, 2)}\n`);
  return values.check && comparisons.some(isMissed) ? 1 : 0;
}

async function redisVersion(): Promise<string> {
  await using redis = await RedisServer.start();
  return redis.version();
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (value > 0) return value;
  throw new RangeError(`--${name} "${text}" is not a number above 0.`);
}

process.exitCode = await main(process.argv.slice(2));
