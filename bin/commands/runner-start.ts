/** `supervisor runner start`: register, attach to Redis, run jobs until told to stop. */
import { loadOrCreateSeed } from "../../src/auth/key-file.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import type { Config } from "../../src/config.ts";
import { inDataDirectory } from "../../src/data-directory.ts";
import { CarrierError } from "../../src/errors.ts";
import type { Log } from "../../src/log.ts";
import { redactUrl } from "../../src/redact-url.ts";
import { type AllowList, DEFAULT_LIMITS, type Executor, type Runner, RunnerError } from "../../src/runner/index.ts";
import { createRedisJobSource } from "../../src/store/redis-source.ts";
import type { Command, CommandInput, Flags } from "../command.ts";
import { configOf, settingOptions } from "../config.ts";
import { type CommandConnection, CONNECTION_OPTIONS, withConnection } from "../connection.ts";
import { NotRunningError } from "../impatient-dialer.ts";
import { terminalLog } from "../log.ts";
import { startPatiently } from "../patient-start.ts";
import { messageOf } from "../report.ts";
import { allowListOf, executorsOf, makeRunner } from "../runner-parts.ts";
import { toTheSame } from "../shell-words.ts";
import { untilStopped } from "../terminal.ts";
import { REGISTRATION_OPTIONS, type Registration, register, runnerNameOf, slotsOf } from "./runner.ts";

const GRACE_SECONDS = DEFAULT_LIMITS.graceMs / 1000;

export const startRunner: Command = {
  options: [
    { flag: "--exec <command>", description: 'One executor in short form, payload on stdin: "bash -s"' },
    ...REGISTRATION_OPTIONS,
    { flag: "--allow <file>", description: "Allow-list: whose jobs run here; without it all that were admitted" },
    {
      flag: "--grace <seconds>",
      description: "How long a drain lets running jobs go on",
      default: String(GRACE_SECONDS),
    },
    ...settingOptions(["redis-url", "log-level", "log-pretty"]),
    ...CONNECTION_OPTIONS,
  ],
  examples: [
    'supervisor runner start demo --exec "bash -s"',
    "supervisor runner start build-1 --group build --slots 4 --config runner.toml",
  ],
  async run(input) {
    const { flags, terminal } = input;
    const config = await configOf(flags, terminal);
    const executors = await executorsOf(config, input);
    const allowList = await allowListOf(flags);
    const wanted = { name: runnerNameOf(input), groups: flags.many("group"), slots: slotsOf(flags) };
    const graceMs = (flags.integer("grace", [0, 86_400]) ?? GRACE_SECONDS) * 1000;
    const log = terminalLog(terminal, config.log);
    return withConnection(input, async (connection) =>
      run(input, { wanted, executors, allowList, config, log, connection, graceMs }),
    );
  },
};

interface StartParts {
  readonly wanted: Omit<Registration, "executors">;
  readonly executors: ReadonlyMap<string, Executor>;
  readonly allowList: AllowList | undefined;
  readonly config: Config;
  readonly log: Log;
  readonly connection: CommandConnection;
  readonly graceMs: number;
}

async function run({ terminal, flags }: CommandInput, parts: StartParts): Promise<number> {
  const { wanted, executors, allowList, config, log, connection, graceMs } = parts;
  const { paths, supervisor } = connection;
  const source = createRedisJobSource({
    url: config.redis.url,
    prefix: config.redis.prefix,
    supervisor,
    runner: wanted,
    commandTimeoutMs: config.redis.command_timeout_ms,
    log,
    now: Date.now,
  });
  // Before it registers: what can take no jobs leaves no registration behind.
  await source.start();
  try {
    const { seed } = await inDataDirectory(loadOrCreateSeed(paths.runnerKey(wanted.name)));
    const away = await tryRegister(connection, { ...wanted, executors: [...executors.keys()] });
    const removal = new AbortController();
    const onRemoved = (reason: string): void => removal.abort(new Error(`${wanted.name}: ${reason}`));
    const wish = { ...wanted, executors, allowList, config, paths, supervisor, log, onRemoved, graceMs };
    const { runner, seen } = await makeRunner(wish, { source, signer: createNativeSigner(seed) });
    // A terminal that is closed ends what was started in it: unheard it would leave the processes of jobs behind.
    const hangUp = new AbortController();
    const stopListening = terminal.onReload(() => hangUp.abort());
    try {
      const stop = AbortSignal.any([terminal.stop, hangUp.signal]);
      const entry: Entry = { name: wanted.name, away, redis: redactUrl(config.redis.url), flags };
      await runUntilStopped(runner, { stop, log, entry, removed: removal.signal });
    } finally {
      await runner.stop();
      await seen.close();
      stopListening();
    }
  } finally {
    await source.stop();
  }
  return 0;
}

/** What was done before it attaches, for words about a refusal. */
interface Entry {
  readonly name: string;
  /** Why it is not registered now. */
  readonly away: Error | undefined;
  /** Where it looks for jobs. */
  readonly redis: string;
  readonly flags: Flags;
}

interface Watch {
  /** Ends when it is told to stop. */
  readonly stop: AbortSignal;
  readonly log: Log;
  readonly entry: Entry;
  /** Aborts when the runner may not go on; its reason is what the command fails with. */
  readonly removed: AbortSignal;
}

async function runUntilStopped(runner: Runner, watch: Watch): Promise<void> {
  const { log, entry, removed } = watch;
  const { name, away } = entry;
  const stop = AbortSignal.any([watch.stop, removed]);
  if (!(await explained(entry, startPatiently(runner, log, stop)))) return;
  if (away !== undefined) {
    const text = "supervisor away: going on with the present enrolment";
    log.warn({ event: "not_registered_now", error: away.message }, text);
  }
  log.info({ event: "runner_started", runner: name }, "runner takes jobs");
  await untilStopped({ stop });
  await runner.drain("told to stop; told again, it ends at once");
  removed.throwIfAborted();
}

/**
 * Registers with the supervisor; one that is away is no reason not to run: the enrolment may stand in Redis already. Gives
 * why it is away.
 */
async function tryRegister(
  connection: CommandConnection,
  registration: Parameters<typeof register>[1],
): Promise<Error | undefined> {
  try {
    await register(connection, registration);
    return undefined;
  } catch (error) {
    if (!(error instanceof CarrierError || error instanceof NotRunningError)) throw error;
    return error;
  }
}

/** A runner that is not let in, or whose Redis went away: says what that means after what was done before. */
async function explained<Value>({ name, away, redis, flags }: Entry, step: Promise<Value>): Promise<Value> {
  try {
    return await step;
  } catch (error) {
    const isUnknown = error instanceof RunnerError && error.outcome === "not_registered";
    if (error instanceof RunnerError && !isUnknown) throw error;
    if (away !== undefined)
      throw new NotRunningError(`${away.message} Without it: ${messageOf(error)}`, { cause: error });
    if (!isUnknown) throw error;
    throw new Error(
      `The supervisor registered the runner, and ${redis} does not know "${name}": that supervisor has another Redis. Name its ` +
        `own with --redis-url, or take the registration back: supervisor runner remove ${toTheSame(flags, name)}`,
      { cause: error },
    );
  }
}
