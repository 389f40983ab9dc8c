import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { RpcError } from "../../src/client/index.ts";
import { ERRORS } from "../../src/errors.ts";
/** Pages of an owner's jobs among everybody's: what they cost beside the same jobs alone, and who may turn them. */
import { assemble, type OnEnd } from "../support/assemble.ts";
import type { Bound } from "./bound.ts";
import { Caller } from "./caller.ts";
import { type Call, compareLatencies, percentile } from "./latencies.ts";
import { residentBytes } from "./machine.ts";
import { Program } from "./part.ts";
import { OWNER, preload } from "./preload.ts";
import { Progress } from "./progress.ts";
import type { Figures } from "./report.ts";
import { type BenchOptions, startSystem, type System } from "./system.ts";

const ALL = 1_000_000;
/** As many owners as share all the jobs. */
const OWNERS = 10;
const PAGE_MS = 50;
const LIMIT = 200;
/** Of the other caller's key. */
const OTHER_SEED = "7".repeat(64);

export async function benchListing(options: BenchOptions): Promise<Figures> {
  const progress = new Progress("listing");
  const all = options.jobs ?? ALL;
  const own = Math.ceil(all / OWNERS);
  await using systems = await assemble(async (onEnd) => startSystems(onEnd, { options, all, own, progress }));
  const { among, alone } = systems;
  const comparisons = await compareLatencies({
    rounds: options.rounds,
    seconds: options.seconds,
    most: 2,
    title: (call) =>
      `${call} of ${own.toLocaleString("en-US")} jobs among ${all.toLocaleString("en-US")}, beside these alone`,
    subject: { name: "among", calls: among.calls },
    baseline: { name: "alone", calls: alone.calls },
    onRound: (round) => progress.tell("measuring", `round ${round} of ${options.rounds}`),
  });
  progress.tell("every page");
  const pages = await everyPage(among.caller, (count) => progress.tell("every page", `${count} jobs`));
  const refused = await refusals(among);
  progress.end();
  const bounds: Bound[] = [
    {
      title: `p99 of a page of ${LIMIT}, of all pages`,
      value: percentile(pages.ms, 0.99),
      unit: "ms",
      atMost: PAGE_MS,
    },
    {
      title: "of the owner's jobs on all pages, once each",
      value: pages.ids.size,
      unit: "jobs",
      atLeast: own,
      atMost: own,
    },
    { title: "on more than one page", value: pages.count - pages.ids.size, unit: "jobs", atMost: 0 },
    { title: "forged and foreign cursors refused", value: refused, unit: "of 3", atLeast: 3 },
    { title: "admitted while it was filled", value: systems.perSecond, unit: "jobs a second" },
    { title: "Redis memory of a record", value: systems.bytesPerJob, unit: "bytes" },
    {
      title: "resident memory of the supervisor",
      value: ((await residentBytes(among.system.supervisor.pid)) ?? Number.NaN) / 2 ** 20,
      unit: "MiB",
      atMost: 200,
    },
  ];
  return { comparisons, bounds, notMeasured: [] };
}

interface Listed {
  readonly system: System;
  readonly caller: Caller;
  readonly calls: Readonly<Record<string, Call>>;
}

async function startSystems(
  onEnd: OnEnd,
  {
    options,
    all,
    own,
    progress,
  }: { readonly options: BenchOptions; readonly all: number; readonly own: number; readonly progress: Progress },
): Promise<{
  readonly among: Listed;
  readonly alone: Listed;
  readonly perSecond: number;
  readonly bytesPerJob: number;
}> {
  const others = Array.from({ length: OWNERS - 1 }, (_, number) => `other-${number}`);
  const start = async (count: number, owners: readonly string[]) => {
    progress.tell("starting");
    const system = await startSystem(options);
    onEnd(async () => system[Symbol.asyncDispose]());
    const before = await system.redis.usedBytes();
    const onProgress = (done: number): void => progress.tell(`${count} jobs`, `${done} admitted`);
    const perSecond = await preload({ redisSocket: system.redis.socket, jobs: system.jobs, count, owners, onProgress });
    const bytesPerJob = ((await system.redis.usedBytes()) - before) / count;
    const caller = new Caller(system.supervisor.port, system.jobs);
    onEnd(async () => caller.close());
    return { system, caller, calls: callsOf(caller), perSecond, bytesPerJob };
  };
  const among = await start(all, [OWNER, ...others]);
  return { among, alone: await start(own, [OWNER]), perSecond: among.perSecond, bytesPerJob: among.bytesPerJob };
}

function callsOf(caller: Caller): Listed["calls"] {
  let cursor: string | undefined;
  return {
    "the first page": async () => (await caller.call("list_jobs", { limit: LIMIT })).ms,
    "a further page": async () => {
      const { value, ms } = await caller.call("list_jobs", {
        limit: LIMIT,
        ...(cursor === undefined ? {} : { cursor }),
      });
      cursor = value.next;
      return ms;
    },
    // Nothing fits: a page looks at so many entries and no more.
    "a page that finds nothing": async () => (await caller.call("list_jobs", { limit: LIMIT, state: "failed" })).ms,
  };
}

async function everyPage(
  caller: Caller,
  onPage: (count: number) => void,
): Promise<{ readonly ids: ReadonlySet<string>; readonly count: number; readonly ms: readonly number[] }> {
  const ids = new Set<string>();
  const taken: number[] = [];
  let count = 0;
  for (let cursor: string | undefined, isLast = false; !isLast;) {
    const { value, ms } = await caller.call("list_jobs", { limit: LIMIT, ...(cursor === undefined ? {} : { cursor }) });
    taken.push(ms);
    count += value.jobs.length;
    for (const { id } of value.jobs) ids.add(id);
    onPage(count);
    cursor = value.next;
    isLast = cursor === undefined;
  }
  return { ids, count, ms: taken };
}

/** How many of: a changed cursor, another filter's, another caller's. */
async function refusals({ system, caller }: Listed): Promise<number> {
  const signer = createNativeSigner(OTHER_SEED);
  const words = ["keys", "add", "--name", "other", "--principal", "other-0", "--key", signer.publicKey];
  await Program.run([...words, "--role", "submitter", "--runner", "*"], { env: system.env });
  const { next: cursor = "" } = (await caller.call("list_jobs", { limit: LIMIT })).value;
  const other = new Caller(system.supervisor.port, { ...system.jobs, seed: OTHER_SEED });
  try {
    await untilKnown(other);
    const forged = `${cursor.slice(0, 60)}${cursor[60] === "A" ? "B" : "A"}${cursor.slice(61)}`;
    const outcomes = await Promise.all([
      isRefused(async () => caller.call("list_jobs", { cursor: forged })),
      isRefused(async () => other.call("list_jobs", { cursor })),
    ]);
    outcomes.push(await isRefused(async () => caller.call("list_jobs", { cursor, state: "pending" })));
    return outcomes.filter(Boolean).length;
  } finally {
    other.close();
  }
}

/** The running supervisor follows the file of keys. */
async function untilKnown(caller: Caller): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      await caller.call("list_jobs", { limit: 1 });
      return;
    } catch (error) {
      if (tries > 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function isRefused(call: () => Promise<unknown>): Promise<boolean> {
  try {
    await call();
    return false;
  } catch (error) {
    return error instanceof RpcError && error.code === ERRORS.invalidParams.code;
  }
}
