/** The parts of a runner made from settings and flags: executors, verifier, memory on disk. */
import { createVerifier } from "../src/auth/native-verifier.ts";
import type { Signer } from "../src/auth/signature.ts";
import type { Config } from "../src/config.ts";
import type { DataPaths } from "../src/data-directory.ts";
import { errorText } from "../src/errors.ts";
import type { Log } from "../src/log.ts";
import {
  type AllowList,
  createExecutor,
  createJobVerifier,
  createRunner,
  type Executor,
  type JobSource,
  loadAllowList,
  openSeenJobs,
  parseExec,
  type Runner,
  type SeenJobs,
} from "../src/runner/index.ts";
import { type Flags, UsageError } from "./command.ts";
import { programVersion } from "./version.ts";

export interface RunnerWish {
  readonly name: string;
  readonly groups: readonly string[];
  readonly slots: number;
  readonly executors: ReadonlyMap<string, Executor>;
  /** Whose jobs run here; undefined: everybody's that were admitted. */
  readonly allowList: AllowList | undefined;
  readonly config: Config;
  readonly paths: DataPaths;
  /** The pinned identity of the supervisor. */
  readonly supervisor: string;
  readonly log: Log;
  /** How long a drain lets running jobs go on. */
  readonly graceMs: number;
  /** The registration is gone, or the name was taken over: it drains by itself, and is to be stopped. */
  readonly onRemoved: (reason: string) => void;
}

/** `--exec` alone, or the `[executor.NAME]` tables of the file. @throws UsageError where there is neither */
export function executorsOf(config: Config, flags: Flags): ReadonlyMap<string, Executor> {
  const short = flags.text("exec");
  const tables = Object.entries(config.executor).map(([name, settings]) => createExecutor(name, settings));
  const executors = short === undefined ? tables : [...tables, parseExec(short)];
  if (executors.length === 0) {
    throw new UsageError(
      'What should jobs run with? --exec "bash -s", or [executor.NAME] tables in the file of --config.',
    );
  }
  return new Map(executors.map((executor) => [executor.name, executor]));
}

/** `--allow`. @throws UsageError for a file that can not be read or is refused */
export async function allowListOf(flags: Flags): Promise<AllowList | undefined> {
  const file = flags.text("allow");
  try {
    return file === undefined ? undefined : await loadAllowList(file);
  } catch (error) {
    throw new UsageError(`--allow "${file}": ${errorText(error)}`, { cause: error });
  }
}

/** Makes the runner; whoever makes it closes `seen` after its stop. */
export async function makeRunner(
  wish: RunnerWish,
  { source, signer }: { readonly source: JobSource; readonly signer: Signer },
): Promise<{ readonly runner: Runner; readonly seen: SeenJobs }> {
  const { name, groups, config, allowList, log } = wish;
  const seen = await openSeenJobs({ path: wish.paths.runnerSeen(name), now: Date.now });
  const runner = createRunner({
    name,
    groups,
    slots: wish.slots,
    version: programVersion(),
    source,
    signer,
    supervisor: wish.supervisor,
    executors: wish.executors,
    verifyJob: createJobVerifier({
      supervisor: wish.supervisor,
      queues: [name, ...groups],
      verifier: createVerifier({ crypto: config.auth.crypto, maxInFlight: config.auth.max_verifications }),
      ...(allowList === undefined ? {} : { allowList }),
      now: Date.now,
    }),
    seen,
    limits: {
      maxLogBytes: config.jobs.max_log_bytes,
      maxLineBytes: config.jobs.max_log_line_bytes,
      maxResultBytes: config.jobs.max_result_bytes,
      graceMs: wish.graceMs,
      killGraceMs: config.jobs.kill_grace_ms,
    },
    scratchDirectory: wish.paths.runnerScratch(name),
    onEvent: (event) => {
      if (event.kind === "removed") wish.onRemoved(event.reason);
    },
    log,
    now: Date.now,
  });
  return { runner, seen };
}
