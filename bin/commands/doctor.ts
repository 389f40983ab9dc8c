/** `supervisor doctor`: looks at everything a node needs, changes nothing, and names a fix for each fault. */
import { existsSync } from "node:fs";

import { readSeed } from "../../src/auth/key-file.ts";
import { loadKeyring } from "../../src/auth/keyring-file.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { buildConfig, type Config } from "../../src/config.ts";
import { counted } from "../../src/counted.ts";
import { dataPaths, type DataPaths, readIdentity } from "../../src/data-directory.ts";
import { createLog } from "../../src/log.ts";
import { redactUrl } from "../../src/redact-url.ts";
import { examineRedis } from "../../src/store/redis-doctor.ts";
import { type Command, type CommandInput, UsageError } from "../command.ts";
import { configOf, settingOptions } from "../config.ts";
import { CONNECTION_OPTIONS, isMissing, targetOf } from "../connection.ts";
import { printAcl } from "../doctor/acl.ts";
import type { Check } from "../doctor/check.ts";
import { checkDaemon } from "../doctor/daemon.ts";
import { adviceChecks, revokedChecks } from "../doctor/keyring.ts";
import { checkSupervisor, namesSupervisor } from "../doctor/supervisor.ts";
import { redisStoreOptions } from "../redis-options.ts";
import { messageOf } from "../report.ts";
import { printData, styled } from "../terminal.ts";

export const doctor: Command = {
  options: [
    ...CONNECTION_OPTIONS,
    ...settingOptions(["redis-url", "mycelium", "allow-unsafe-redis"]),
    {
      flag: "--acl",
      description: "Print the rules of narrow Redis users for supervisor and runner, and look at nothing",
    },
    { flag: "--runner <name>", description: "With --acl: the runner's name" },
    { flag: "--groups <names>", description: "With --acl: the runner's groups, with commas between" },
  ],
  examples: [
    "supervisor doctor",
    "supervisor doctor --to mycelium://b6c3… --key bob.key",
    "supervisor doctor --redis-url redis://10.0.0.5:6379 --json",
    "supervisor doctor --acl --runner build-1 --groups build | redis-cli",
  ],
  async run(input) {
    const config = await configOf(input.flags, input.terminal);
    if (input.flags.has("acl")) {
      printAcl(input, config);
      return 0;
    }
    refuseAclFlags(input.flags);
    const checks = [...(await checkHost(input, config)), ...(await checkAway(input, config))];
    print(input, checks);
    return checks.some(({ verdict }) => verdict === "fault") ? 1 : 0;
  },
};

/** What a supervisor needs of its own host; on one that only sends jobs its absence is no fault. */
async function checkHost(input: CommandInput, config: Config): Promise<readonly Check[]> {
  if (runsNothing(input, config)) {
    const says =
      "none runs on this host (yet), so its store was not looked at: --redis-url URL does that; supervisor init makes one, " +
      "--to URL looks at another's";
    return [{ what: "supervisor", verdict: "good", says }];
  }
  return [...(await checkData(config)), ...(await checkRedis(config))];
}

/** Neither a supervisor's files nor a runner's, and nobody named a Redis. */
function runsNothing({ flags, terminal }: CommandInput, { data_dir: directory, redis }: Config): boolean {
  const { identity, keyring, runners } = dataPaths(directory);
  const isNamed = flags.text("redis-url") !== undefined || terminal.env["SUPERVISOR_REDIS_URL"] !== undefined;
  const isDefault = redis.url === buildConfig({}).redis.url;
  return !isNamed && isDefault && ![identity, keyring, runners].some((path) => existsSync(path));
}

/** What lies on the way to others: the daemon where the settings or the address use it, then the supervisor that is named. */
async function checkAway(input: CommandInput, config: Config): Promise<readonly Check[]> {
  const { flags, terminal } = input;
  const target = namesSupervisor(flags, terminal) ? await targetOf(input) : undefined;
  const usesDaemon = config.mycelium.enabled || target?.url.startsWith("mycelium:") === true;
  const daemon = usesDaemon ? await checkDaemon(config) : [];
  if (target === undefined) return daemon;
  const isCut = target.url.startsWith("mycelium:") && daemon.some(({ verdict }) => verdict === "fault");
  return [...daemon, ...(await checkSupervisor(target, { terminal, isCut }))];
}

function refuseAclFlags(flags: CommandInput["flags"]): void {
  const lone = ["runner", "groups"].find((name) => flags.text(name) !== undefined);
  if (lone !== undefined) throw new UsageError(`--${lone} goes with --acl.`);
}

function print({ flags, terminal }: CommandInput, checks: readonly Check[]): void {
  const styles = { good: "green", warning: "yellow", fault: "red" } as const;
  printData(terminal, checks, {
    isJson: flags.has("json"),
    lines: () =>
      checks.map(
        ({ what, verdict, says }) => `${styled(terminal, styles[verdict], verdict.padEnd(7), "out")} ${what}: ${says}`,
      ),
  });
}

async function checkData({ data_dir: directory }: Config): Promise<readonly Check[]> {
  const paths = dataPaths(directory);
  return [
    await checkSecret("identity key", paths.identity, readIdentity(paths)),
    await checkSecret("owner key", paths.owner, readSeed(paths.owner)),
    ...(await checkKeyring(paths)),
  ];
}

async function checkSecret(what: string, path: string, reading: Promise<string>): Promise<Check> {
  try {
    await reading;
    return { what, verdict: "good", says: path };
  } catch (error) {
    if (!isMissing(error)) return { what, verdict: "fault", says: messageOf(error) };
    return { what, verdict: "warning", says: `${path} is not there. A first start makes it, or: supervisor init` };
  }
}

async function checkKeyring({ keyring, identity, owner }: DataPaths): Promise<readonly Check[]> {
  const what = "keys.toml";
  try {
    const contents = await loadKeyring(keyring);
    return [{ what, verdict: "good", says: counted(contents.keys.length, "key") }, ...adviceChecks(contents)];
  } catch (error) {
    if (!isMissing(error)) return [{ what, verdict: "fault", says: messageOf(error) }];
    // Keys without a keyring: no start makes one there, since that would be a guess about whom to trust.
    const isMended = existsSync(identity) || existsSync(owner);
    return [
      isMended
        ? { what, verdict: "fault", says: `${keyring} is missing. Put it back, or: supervisor init --force` }
        : { what, verdict: "warning", says: `${keyring} is not there. A first start makes it, or: supervisor init` },
    ];
  }
}

/** A supervisor does not start on the data of another one. */
async function ownerChecks(
  { data_dir: directory, redis }: Config,
  owner: string | undefined,
): Promise<readonly Check[]> {
  const seed = await readIdentity(dataPaths(directory)).catch(() => undefined);
  if (seed === undefined || owner === undefined) return [];
  const identity = createNativeSigner(seed).publicKey;
  const what = `Redis data under "${redis.prefix}"`;
  if (owner === identity) return [{ what, verdict: "good", says: "belong to this supervisor" }];
  const says =
    `belong to the supervisor ${owner}, not to ${identity} of ${directory}. ` +
    "Name this one's Redis with --redis-url (and redis.prefix), or that one's data directory with --data-dir";
  return [{ what, verdict: "fault", says }];
}

async function checkRedis(config: Config): Promise<readonly Check[]> {
  const what = `Redis ${redactUrl(config.redis.url)}`;
  try {
    const log = createLog({ level: "silent", pretty: false });
    const report = await examineRedis(redisStoreOptions(config, log));
    return [
      { what, verdict: "good", says: `answers, durability ${report.durability}` },
      ...report.problems.map((says): Check => ({ what, verdict: "fault", says })),
      ...report.warnings.map((says): Check => ({ what, verdict: "warning", says })),
      ...report.checks,
      ...(await ownerChecks(config, report.owner)),
      ...(await revokedChecks(config)),
    ];
  } catch (error) {
    // Where it tried stands in `what` already.
    const says = messageOf(error).replace(/^.*?: (?=cannot connect to Redis)/u, "");
    return [{ what, verdict: "fault", says }];
  }
}
