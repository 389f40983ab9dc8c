/** Runs a verified job's process and says what came of it: environment, scratch directory, output, end, result. */
import { setImmediate } from "node:timers/promises";

import type { Log } from "../log.ts";
import type { JobDocument } from "../rpc/schema.ts";
import { type ChildEnd, ChildProcess, type ChildSettings } from "./child-process.ts";
import type { Executor } from "./executor.ts";
import { type HostEnvironment, jobEnvironment } from "./job-environment.ts";
import type { AttemptLimits, RunnerLimits } from "./limits.ts";
import { LineSplitter, type Piece } from "./line-splitter.ts";
import type { LogWriter } from "./log-writer.ts";
import type { PipePool } from "./output-pipes.ts";
import { readResultFile } from "./result-file.ts";
import { Scratch } from "./scratch.ts";

/** What a finish says, less what only the attempt knows. */
export interface Outcome {
  readonly status: "completed" | "failed" | "timeout" | "cancelled";
  /** Exit code; 128 + signal; -1 where nothing ran. */
  readonly code: number;
  readonly reason?: string;
  readonly isRetryable: boolean;
  readonly result: Uint8Array;
}

/** Who may want the process to end, each a signal of its own. */
export interface Endings {
  /** At once: the lease is gone, and the outcome would be nobody's. */
  readonly kill: AbortSignal;
  /** SIGTERM first. */
  readonly cancel: AbortSignal;
  /** SIGTERM first; the job is given back. */
  readonly drain: AbortSignal;
  /** What another thread ended it for, while this one was busy. */
  readonly elsewhere: () => "kill" | "cancel" | undefined;
  /** Has the lease run out by the clock, whether or not a timer has said so? */
  readonly isTooLate: () => boolean;
}

export interface ExecutionOptions {
  readonly job: JobDocument;
  readonly attempt: number;
  readonly executor: Executor;
  readonly host: HostEnvironment;
  /** Where scratch directories are made. */
  readonly scratchParent: string;
  readonly limits: RunnerLimits;
  readonly logs: LogWriter;
  readonly pipes: PipePool;
  readonly endings: Endings;
  /** The process group that runs, or undefined: it is gone. */
  readonly onGroup: (group: number | undefined) => void;
  readonly log: Log;
}

/** Lines taken in one turn: renewals and other jobs get theirs in between. */
const TURN_LINES = 500;
const NO_RESULT = new Uint8Array(0);

/** Of a job that never began. No reason: the store knows why it was asked for, and says so itself. */
export const CANCELLED: Outcome = { status: "cancelled", code: -1, isRetryable: false, result: NO_RESULT };

/** The failure of a job whose process was never started. */
export function unstarted(reason: string, isRetryable: boolean): Outcome {
  return { status: "failed", code: -1, reason, isRetryable, result: NO_RESULT };
}

/** Resolves with the outcome, or `interrupted` when kill or drain ended it. Throws only for a fault of the runner's. */
export async function execute(options: ExecutionOptions): Promise<Outcome | "interrupted"> {
  const scratch = await Scratch.create(options.scratchParent);
  try {
    const environment = jobEnvironment({ ...options, resultPath: scratch.resultPath });
    if (!environment.ok) return unstarted(environment.reason, false);
    const { end, cause } = await runChild(options, scratch, environment.env);
    if (cause === "drain" || cause === "kill") return "interrupted";
    if (end === undefined) return CANCELLED;
    if (!end.isStarted) return unstarted(end.reason, true);
    const maxBytes = options.executor.limits?.maxResultBytes ?? options.limits.maxResultBytes;
    const result = await readResultFile(scratch.resultPath, maxBytes);
    const outcome = judge(end, cause, options.job.timeout);
    if (result.ok) return { ...outcome, result: result.bytes };
    options.logs.note(result.reason);
    const isJudged = outcome.status === "timeout" || outcome.status === "cancelled";
    return isJudged ? outcome : { ...outcome, status: "failed", reason: result.reason, isRetryable: false };
  } finally {
    await scratch.remove(options.log);
  }
}

/** Why the runner ended the process; undefined: it ended by itself. */
type Cause = "timeout" | "cancel" | "drain" | "kill" | undefined;

function judge(end: Extract<ChildEnd, { isStarted: true }>, cause: Cause, timeout: number): Outcome {
  const { code, signal } = end;
  const base = { code, isRetryable: true, result: NO_RESULT };
  if (cause === "timeout") return { ...base, status: "timeout", reason: `timed out after ${timeout} s` };
  // The store knows why it was asked for, and says so itself.
  if (cause === "cancel") return { ...base, status: "cancelled" };
  if (code === 0) return { ...base, status: "completed" };
  return { ...base, status: "failed", reason: signal === undefined ? `exit code ${code}` : `killed by ${signal}` };
}

interface Run {
  /** None: what would have ended the process came before it began. */
  readonly end: ChildEnd | undefined;
  readonly cause: Cause;
}

async function runChild(
  options: ExecutionOptions,
  scratch: Scratch,
  env: Readonly<Record<string, string>>,
): Promise<Run> {
  const { executor, job, logs } = options;
  const limits: AttemptLimits & RunnerLimits = { ...options.limits, ...executor.limits };
  const splitters = { stdout: new LineSplitter(limits.maxLineBytes), stderr: new LineSplitter(limits.maxLineBytes) };
  const settings: Omit<ChildSettings, "command" | "output"> = {
    env,
    workingDirectory: executor.workingDirectory ?? scratch.workPath,
    scratchPath: scratch.path,
    killGraceMs: limits.killGraceMs,
    pipeGraceMs: limits.pipeGraceMs,
    onOutput: async (stream, chunk) => {
      let count = 0;
      for (const piece of splitters[stream].push(chunk)) {
        writePiece(logs, stream, piece);
        count += 1;
        if (logs.isCrowded) await logs.room();
        else if (count % TURN_LINES === 0) await setImmediate();
      }
    },
    onGroup: options.onGroup,
    onCutOff: () => logs.stopStalling(),
  };
  const run = await withPayload(executor, job.payload, scratch, async (input) => {
    const output = await options.pipes.take();
    // The last look before it begins: a runner that was frozen up to here may have lost the job to another.
    const cause = causeBefore(options.endings);
    if (cause !== undefined) {
      output.discard();
      return { end: undefined, cause };
    }
    return superviseChild(new ChildProcess({ ...settings, ...input, output }), options);
  });
  for (const stream of ["stdout", "stderr"] as const) {
    for (const piece of splitters[stream].end()) writePiece(logs, stream, piece);
  }
  return run;
}

type Start = (input: Pick<ChildSettings, "command" | "stdin">) => Promise<Run>;

/** Never in argv: `ps` shows that to every user of the host. */
async function withPayload(executor: Executor, payload: string, scratch: Scratch, start: Start): Promise<Run> {
  if (executor.payload === "file")
    return start({ command: [...executor.command, await scratch.writePayload(payload)] });
  const file = await scratch.openPayload(payload);
  try {
    return await start({ command: executor.command, stdin: file.fd });
  } finally {
    await file.close();
  }
}

/** Ends the child for the first reason that comes; what comes after it exited, or after another reason, changes nothing. */
async function superviseChild(child: ChildProcess, { endings, job }: ExecutionOptions): Promise<Run> {
  let cause: Cause;
  const done = new AbortController();
  const terminate = async (reason: Exclude<Cause, undefined>): Promise<void> => {
    // Thawed after a freeze, timers come first: an exit that happened meanwhile is heard before it is judged.
    await setImmediate();
    if (child.hasExited || cause !== undefined) return;
    cause = reason;
    child.terminate();
  };
  // Node's timers follow the monotonic clock: setting the host's clock neither shortens nor lengthens a job.
  const timer = setTimeout(() => void terminate("timeout"), job.timeout * 1000);
  onAbort(endings.kill, done.signal, () => {
    if (!child.hasExited) cause ??= "kill";
    child.kill();
  });
  onAbort(endings.cancel, done.signal, () => void terminate("cancel"));
  onAbort(endings.drain, done.signal, () => void terminate("drain"));
  const end = await child.ended;
  clearTimeout(timer);
  done.abort();
  return { end, cause: cause ?? endings.elsewhere() };
}

function causeBefore({ kill, cancel, drain, isTooLate }: Endings): Cause {
  if (kill.aborted || isTooLate()) return "kill";
  if (cancel.aborted) return "cancel";
  return drain.aborted ? "drain" : undefined;
}

function onAbort(signal: AbortSignal, done: AbortSignal, callback: () => void): void {
  signal.addEventListener("abort", callback, { once: true, signal: done });
}

function writePiece(logs: LogWriter, stream: "stdout" | "stderr", piece: Piece): void {
  if (piece.kind === "line") logs.write(stream, piece.bytes);
  else if (piece.kind === "split_begins") logs.note(`${stream}: a line too long for one entry begins here`);
  else logs.note(`${stream}: the line of ${piece.bytes} bytes ends here`);
}
