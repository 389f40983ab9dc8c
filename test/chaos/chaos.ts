/** One run: load and faults side by side, then quiet, then the evidence and the verdict. */
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

import { errorText } from "../../src/errors.ts";
import type { Build } from "../bench/build.ts";
import { seededRandom } from "../support/signing.ts";
import { check, recoveryMs, type Violation } from "./checker.ts";
import type { Evidence, FaultRecord } from "./evidence.ts";
import { FAULT_KINDS, type FaultKind, planFaults, type PlannedFault, type Victim } from "./faults.ts";
import { acceptancesOf, lookInside, readExecutions, readFinals } from "./findings.ts";
import { History } from "./history.ts";
import { planJobs } from "./jobs.ts";
import { Line } from "./line.ts";
import { Load } from "./load.ts";
import { type ChaosSystem, GROUP, RUNNERS, startChaosSystem } from "./system.ts";

export interface ChaosOptions {
  /** Decides jobs and faults; what the machine makes of them in between is its own. */
  readonly seed: number;
  readonly jobs: number;
  readonly faults: number;
  /** All there are unless told. */
  readonly kinds?: readonly FaultKind[];
  /** Most jobs that are not ended. */
  readonly lanes: number;
  readonly leaseMs: number;
  /** Longest time to a job's end, from the last fault's end or from a later acknowledgement. */
  readonly recoveryMs: number;
  /** Given up when no job ends for so long. */
  readonly patienceMs: number;
  /** Where the history is written. */
  readonly historyPath: string;
  /** Which part of the program is broken on purpose; none unless told. */
  readonly broken?: string;
  /** The compiled program, in which that is broken. */
  readonly built: Pick<Build, "directory">;
  /** Ends the run early. */
  readonly signal?: AbortSignal;
  onProgress?(progress: Progress): void;
}

export interface Progress {
  readonly sent: number;
  readonly ended: number;
  readonly faults: number;
  /** What has just begun or ended, in words. */
  readonly news?: string;
}

export interface ChaosReport {
  readonly seed: number;
  readonly jobs: number;
  /** Of the load, in ms. */
  readonly tookMs: number;
  readonly faults: readonly FaultRecord[];
  /** Calls of `create_job` by how they ended. */
  readonly calls: Readonly<Record<string, number>>;
  readonly states: Readonly<Record<string, number>>;
  readonly executions: number;
  /** Attempts that were taken from runners. */
  readonly lost: number;
  /** From the last fault's end to the last job's. */
  readonly recoveryMs: number;
  readonly violations: readonly Violation[];
}

/** Everything of one run. */
interface Run {
  readonly options: ChaosOptions;
  readonly system: ChaosSystem;
  readonly history: History;
  readonly load: Load;
  readonly lines: readonly Line[];
  readonly givenUp: AbortController;
  readonly tell: (news?: string) => void;
}

/** Between two looks at how far the load has come, in ms. */
const LOOK_MS = 20;

/** @throws Error when the system can not be started, or what the signal was aborted with. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const { seed, jobs, leaseMs, broken, built, signal } = options;
  const givenUp = new AbortController();
  const ending = signal === undefined ? givenUp.signal : AbortSignal.any([givenUp.signal, signal]);
  // Every lane listens to it.
  setMaxListeners(0, ending);
  const history = new History(options.historyPath);
  await using system = await startChaosSystem({
    built,
    leaseMs,
    signal: ending,
    ...(broken === undefined ? {} : { broken }),
  });
  const random = seededRandom(seed);
  const plans = planJobs({ count: jobs, leaseMs, group: GROUP, runners: RUNNERS, random });
  const pause = async (ms: number): Promise<void> => sleep(ms, undefined, { signal: ending });
  const faults = planFaults(
    { ...options, kinds: options.kinds ?? FAULT_KINDS, count: options.faults, random, pause },
    system.victims,
  );
  const lines = system.supervisors.map((member) => new Line(member, system));
  const load = new Load({ system, lines, history, plans, lanes: options.lanes, callMs: leaseMs, signal: ending });
  const tell = (news?: string): void => {
    const counts = { sent: load.jobs.size, ended: history.ends.length, faults: history.faults.length };
    options.onProgress?.(news === undefined ? counts : { ...counts, news });
  };
  const run = { options, system, history, load, lines, givenUp, tell };
  const startMs = performance.now();
  try {
    await Promise.all([rage(run, faults, ending), carry(run)]);
    signal?.throwIfAborted();
    const tookMs = performance.now() - startMs;
    return report(run, await look(run), tookMs);
  } finally {
    for (const line of lines) await line.close();
  }
}

/** The load to its end, unless it comes to a stand. */
async function carry({ options, history, load, givenUp, tell }: Run): Promise<void> {
  // Building and starting the system took its own time.
  const beganMs = Date.now();
  const watch = setInterval(() => {
    tell();
    const quietMs = Date.now() - Math.max(beganMs, history.lastEndMs);
    if (quietMs > options.patienceMs) givenUp.abort(new Error(standText(options, load, history)));
  }, 1000);
  try {
    await load.run();
  } finally {
    clearInterval(watch);
  }
}

/** How far a run came that goes no further. */
function standText({ jobs, faults, patienceMs }: ChaosOptions, load: Load, history: History): string {
  const sent = `${load.jobs.size} of ${jobs} jobs sent, ${history.ends.length} ended`;
  return `no job ended for ${patienceMs} ms; ${sent}, ${history.faults.length} of ${faults} faults mended`;
}

/** Each fault at its moment, side by side but for those that hit the same process; resolves when all is mended. */
async function rage(run: Run, faults: readonly PlannedFault[], signal: AbortSignal): Promise<void> {
  const busy = new Map<Victim, Promise<void>>();
  const struck: Promise<void>[] = [];
  for (const { fault, afterEnded, delayMs } of faults) {
    while (!signal.aborted && run.history.ends.length < afterEnded) await sleep(LOOK_MS);
    if (signal.aborted) break;
    const before = fault.victims.map(async (victim) => busy.get(victim));
    const done = sleep(delayMs)
      .then(async () => Promise.all(before))
      .then(async () => strike(run, fault, signal));
    for (const victim of fault.victims) busy.set(victim, done);
    struck.push(done);
  }
  await Promise.all(struck);
}

async function strike({ history, tell }: Run, fault: PlannedFault["fault"], signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const mended = history.strike(fault.name);
  tell(fault.name);
  try {
    await fault.inject();
    mended();
  } catch (error) {
    // Given up: whatever is left is taken down with the system.
    if (!signal.aborted) throw new Error(`${fault.name}: ${errorText(error)}`, { cause: error });
  }
}

/** Runners end in order first, so that whatever they still had to say is said. */
async function look({ system, load, lines, history, givenUp }: Run): Promise<Evidence> {
  const { runners, redis, executions } = system;
  await Promise.all(runners.map(async (runner) => runner.stop()));
  const evidence = {
    jobs: load.jobs,
    calls: history.calls,
    ends: history.ends,
    faults: history.faults,
    executions: await readExecutions(executions),
    acceptances: acceptancesOf(runners),
    finals: await readFinals(load.jobs.keys(), lines),
    ...(await lookInside(redis)),
    ...(givenUp.signal.aborted ? { givenUp: errorText(givenUp.signal.reason) } : {}),
  };
  for (const execution of evidence.executions) history.note("execution", execution);
  for (const acceptance of evidence.acceptances) history.note("accepted", acceptance);
  for (const [job, final] of evidence.finals) history.note("final", { job, ...final });
  return evidence;
}

function report({ options, history }: Run, evidence: Evidence, tookMs: number): ChaosReport {
  const violations = check(evidence, options);
  for (const violation of violations) history.note("violation", violation);
  const finals = [...evidence.finals.values()];
  return {
    seed: options.seed,
    jobs: evidence.jobs.size,
    tookMs: Math.round(tookMs),
    faults: evidence.faults,
    calls: countOf(evidence.calls.map(({ outcome }) => outcome)),
    states: countOf(finals.map((final) => final?.state ?? "none")),
    executions: evidence.executions.filter(({ phase }) => phase === "start").length,
    lost: finals.reduce((sum, final) => sum + (final?.losses ?? 0), 0),
    recoveryMs: recoveryMs(evidence),
    violations,
  };
}

function countOf(words: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}
