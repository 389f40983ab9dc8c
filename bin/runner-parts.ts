/** The parts of a runner made from settings and flags: executors, verifier, memory on disk. */
import { createVerifier } from "../src/auth/native-verifier.ts";
import type { Signer } from "../src/auth/signature.ts";
import type { Config } from "../src/config.ts";
import type { DataPaths } from "../src/data-directory.ts";
import { errorText } from "../src/errors.ts";
import type { Log } from "../src/log.ts";
import {
  type AllowList,
  commandFault,
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
import { type CommandInput, type Flags, UsageError } from "./command.ts";
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

/** `--exec` and the `[executor.NAME]` tables of the file. @throws UsageError where there is neither, or one can start nothing */
export async function executorsOf(
  config: Config,
  { flags, terminal }: Pick<CommandInput, "flags" | "terminal">,
): Promise<ReadonlyMap<string, Executor>> {
  const executors = new Map<string, Executor>();
  const add = async (where: string, make: () => Executor): Promise<void> => {
    const executor = asUsage(make);
    const fault = await commandFault(executor, { ownPath: terminal.env["PATH"] });
    if (fault !== undefined) throw new UsageError(`${where}: every job would fail: ${fault}`);
    executors.set(executor.name, executor);
  };
  for (const [name, table] of Object.entries(config.executor)) {
    await add(`[executor.${name}]`, () => createExecutor(name, table));
  }
  const short = flags.text("exec");
  if (short !== undefined) await add(`--exec "${short}"`, () => parseExec(short));
  if (executors.size > 0) return executors;
  throw new UsageError(
    'What should jobs run with? --exec "bash -s", or [executor.NAME] tables in the file of --config.',
  );
}

function asUsage(make: () => Executor): Executor {
  try {
    return make();
  } catch (error) {
    throw new UsageError(errorText(error), { cause: error });
  }
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
