/** `npm run bench`: compiles the program, then runs the benches one after the other and prints their figures. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { runBareServer } from "./bare-server.ts";
import { boundText, isBroken } from "./bound.ts";
import { build } from "./build.ts";
import { runBullmq } from "./bullmq.ts";
import { benchCreateJob } from "./create-job.ts";
import { benchIdle, runCrowd } from "./crowd.ts";
import { benchDepth } from "./depth.ts";
import { benchEndToEnd } from "./end-to-end.ts";
import { benchFleet } from "./fleet.ts";
import { benchListing } from "./listing.ts";
import { runLoad } from "./load.ts";
import { describeMachine } from "./machine.ts";
import { benchMyceliumSustained } from "./mycelium-sustained.ts";
import { benchHttpBesideMycelium, benchMycelium } from "./mycelium.ts";
import { runPreload } from "./preload.ts";
import { RedisServer } from "./redis-server.ts";
import { comparisonText, type Figures, machineText } from "./report.ts";
import { isMissed } from "./rounds.ts";
import type { BenchOptions } from "./system.ts";
import { benchVerify } from "./verify.ts";

const USAGE = `npm run bench -- [options] [bench...]

benches, all of them but the last five unless named:
  create-job          signed create_job over HTTP against a bare pipeline
  verify              a signature by the whole rule against bare crypto.verify
  mycelium            calls and jobs over the overlay, on real daemons with MYCELIUM_BIN
  mycelium-http       HTTP's p99 beside a busy and a dead overlay
  end-to-end          jobs that do nothing beside BullMQ, which is installed for it (needs a registry)
  mycelium-sustained  ten minutes of the overlay's calls at the rate a daemon is given for long
  idle                a new caller's p99 beside 1,000 idle and 200 slow connections, and what becomes of the 1,001st
  fleet               20,000 jobs through two supervisors and four runners: each once, and evenly
  depth               calls with 200,000 jobs pending, and the memory of a job beside BullMQ's (needs a registry)
  listing             pages of an owner's 100,000 jobs among 1,000,000

options:
  --rounds <n>       rounds of each side (7)
  --seconds <n>      length of a round (2)
  --connections <n>  calls in flight (32)
  --jobs <n>         jobs of fleet, depth and listing, instead of those above
  --profile <dir>    write V8 profiles of the servers there
  --json             figures as JSON
  --check            exit code 1 when a ratio is below what is required

The last four exit with 1 whenever something required of them is missed.
`;

type Bench = (options: BenchOptions) => Promise<Figures>;

const BENCHES: Readonly<Record<string, Bench>> = {
  "create-job": async (options) => ({ comparisons: [await benchCreateJob(options)], notMeasured: [] }),
  verify: async (options) => ({ comparisons: [await benchVerify(options)], notMeasured: [] }),
  mycelium: benchMycelium,
  "mycelium-http": benchHttpBesideMycelium,
  "end-to-end": benchEndToEnd,
  "mycelium-sustained": benchMyceliumSustained,
  idle: benchIdle,
  fleet: benchFleet,
  depth: benchDepth,
  listing: benchListing,
};

/** Run only when they are named: they take minutes. */
const LONG = new Set(["mycelium-sustained", "idle", "fleet", "depth", "listing"]);
/** What they are asked holds on any machine: never let pass. */
const STRICT = new Set(["idle", "fleet", "depth", "listing"]);

/** Processes of the benches: this program again, with the role's name and its settings. */
const ROLES: Readonly<Record<string, (settings: unknown) => void | Promise<void>>> = {
  bare: runBareServer,
  bullmq: runBullmq,
  crowd: runCrowd,
  load: runLoad,
  preload: runPreload,
};

const OPTIONS = {
  rounds: { type: "string", default: "7" },
  seconds: { type: "string", default: "2" },
  connections: { type: "string", default: "32" },
  jobs: { type: "string" },
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
  const names = positionals.length === 0 ? Object.keys(BENCHES).filter((name) => !LONG.has(name)) : positionals;
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

interface Values {
  readonly rounds: string;
  readonly seconds: string;
  readonly connections: string;
  readonly jobs?: string;
  readonly profile?: string;
  readonly json: boolean;
  readonly check: boolean;
}

async function runBenches(names: readonly string[], values: Values): Promise<number> {
  const options: BenchOptions = {
    rounds: positive("rounds", values.rounds),
    seconds: positive("seconds", values.seconds),
    connections: positive("connections", values.connections),
    ...(values.jobs === undefined ? {} : { jobs: positive("jobs", values.jobs) }),
    profile: values.profile,
  };
  const machine = describeMachine(await redisVersion());
  const say = (text: string): void => void (values.json || process.stdout.write(text));
  say(`${machineText(machine)}${options.rounds} rounds of ${options.seconds} s, ${options.connections} in flight\n\n`);
  const all: Figures[] = [];
  let isFailure = false;
  for (const name of names) {
    const figures = await BENCHES[name]?.(options);
    if (figures === undefined) continue;
    all.push(figures);
    say(figuresText(name, figures));
    isFailure ||= (values.check || STRICT.has(name)) && isShort(figures);
  }
  const comparisons = all.flatMap((figures) => figures.comparisons);
  const bounds = all.flatMap((figures) => figures.bounds ?? []);
  const notMeasured = all.flatMap((figures) => figures.notMeasured);
  const result = { machine, options, comparisons, bounds, notMeasured };
  if (values.json) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
  return isFailure ? 1 : 0;
}

function figuresText(name: string, { comparisons, bounds, notMeasured }: Figures): string {
  const own = bounds === undefined ? "" : `${name}\n${bounds.map(boundText).join("")}\n`;
  return [...comparisons.map(comparisonText), own, ...notMeasured.map((reason) => `${reason}\n`)].join("");
}

function isShort({ comparisons, bounds = [] }: Figures): boolean {
  return comparisons.some(isMissed) || bounds.some(isBroken);
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
