/** `supervisor runner register|list|status|remove`. */
import { loadOrCreateSeed } from "../../src/auth/key-file.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { signDocument } from "../../src/auth/signature.ts";
import { counted } from "../../src/counted.ts";
import { inDataDirectory } from "../../src/data-directory.ts";
import type { RunnerDocument, RunnerView } from "../../src/rpc/schema.ts";
import { type Command, type CommandInput, type Flags, type Option, UsageError } from "../command.ts";
import { type CommandConnection, CONNECTION_OPTIONS, withConnection } from "../connection.ts";
import { explainRemovalRefusal } from "../hints.ts";
import { clockTime, printData, table } from "../terminal.ts";

/** How long a registration may be presented, in seconds; the enrolment lasts until removal. */
const REGISTRATION_SECONDS = 300;

export interface Registration {
  readonly name: string;
  readonly groups: readonly string[];
  readonly executors: readonly string[];
  readonly slots: number;
}

/** Registers a runner with the key in the data directory, which it makes when it is not there. */
export async function register(connection: CommandConnection, wanted: Registration): Promise<RunnerView> {
  const { seed } = await inDataDirectory(loadOrCreateSeed(connection.paths.runnerKey(wanted.name)));
  const signer = createNativeSigner(seed);
  const now = Math.floor(Date.now() / 1000);
  const registration: RunnerDocument = {
    v: 1,
    aud: connection.supervisor,
    name: wanted.name,
    key: signer.publicKey,
    groups: [...wanted.groups],
    executors: [...wanted.executors],
    slots: wanted.slots,
    iat: now,
    exp: now + REGISTRATION_SECONDS,
  };
  const { signature } = await signDocument(signer, "runner", registration);
  return connection.client.call("register_runner", { registration, signature });
}

/** What a registration says of a runner, as flags. */
export const REGISTRATION_OPTIONS: readonly Option[] = [
  { flag: "--group <name>", description: "Group it belongs to; may be given more than once", isMany: true },
  { flag: "--slots <n>", description: "Jobs it runs at a time", default: "1" },
];

/** The name on the command line. @throws UsageError for what the supervisor would not take: a key file is made for it first */
export function runnerNameOf({ positionals }: CommandInput): string {
  return checkedRunnerName(positionals[0] ?? "");
}

/** @throws UsageError for what is no name of a runner or group */
export function checkedRunnerName(name: string): string {
  if (/^[a-z0-9][a-z0-9._-]{0,63}$/u.test(name)) return name;
  throw new UsageError(`"${name}" is no runner's name: up to 64 of a-z, 0-9, ".", "_", "-", a letter or digit first.`);
}

/** `--slots`, within what a registration may say. @throws UsageError */
export function slotsOf(flags: Flags): number {
  return flags.integer("slots", [1, 1024]) ?? 1;
}

export const registerRunner: Command = {
  options: [
    ...REGISTRATION_OPTIONS,
    { flag: "--executor <name>", description: "Executor it offers; may be given more than once", isMany: true },
    ...CONNECTION_OPTIONS,
  ],
  examples: ["supervisor runner register build-1 --group build --slots 4"],
  async run(input) {
    const { flags } = input;
    const rest = { groups: flags.many("group"), executors: flags.many("executor"), slots: slotsOf(flags) };
    return withRunner(input, async (connection, name) => register(connection, { name, ...rest }));
  },
};

export const listRunners: Command = {
  options: CONNECTION_OPTIONS,
  examples: ["supervisor runner list"],
  async run(input) {
    const { runners } = await withConnection(input, async ({ client }) => client.call("list_runners", {}));
    printData(input.terminal, runners, { isJson: input.flags.has("json"), lines: () => runnerTable(runners) });
    return 0;
  },
};

export const runnerStatus: Command = {
  options: CONNECTION_OPTIONS,
  examples: ["supervisor runner status demo"],
  async run(input) {
    return withRunner(input, async ({ client }, name) => client.call("get_runner_status", { name }));
  },
};

export const removeRunner: Command = {
  options: [{ flag: "--force", description: "Cancel the jobs that wait for it" }, ...CONNECTION_OPTIONS],
  examples: ["supervisor runner remove demo"],
  async run(input) {
    const { flags, terminal } = input;
    const name = runnerNameOf(input);
    const removed = await withConnection(input, async ({ client }) => {
      try {
        return await client.call("remove_runner", { name, ...(flags.has("force") ? { force: true } : {}) });
      } catch (error) {
        throw explainRemovalRefusal(error, name, flags);
      }
    });
    printData(terminal, removed, {
      isJson: flags.has("json"),
      lines: () => [`removed ${removed.name}, ${counted(removed.cancelled, "job")} cancelled`],
    });
    return 0;
  },
};

async function withRunner(
  input: CommandInput,
  use: (connection: CommandConnection, name: string) => Promise<RunnerView>,
): Promise<number> {
  const name = runnerNameOf(input);
  const runner = await withConnection(input, async (connection) => use(connection, name));
  printData(input.terminal, runner, { isJson: input.flags.has("json"), lines: () => runnerLines(runner) });
  return 0;
}

function runnerTable(runners: readonly RunnerView[]): readonly string[] {
  return table(
    ["NAME", "STATE", "GROUPS", "SLOTS", "RUNNING", "WAITING", "LAST HEARTBEAT"],
    runners.map((runner) => [
      runner.name,
      runner.state,
      runner.groups.join(",") || "-",
      String(runner.slots),
      String(runner.running),
      String(runner.waiting),
      clockTime(runner.heartbeat_ms),
    ]),
  );
}

function runnerLines(runner: RunnerView): readonly string[] {
  return [
    `name       ${runner.name}`,
    `state      ${runner.state}`,
    `version    ${runner.version ?? "-"}`,
    `key        ${runner.key}`,
    `groups     ${runner.groups.join(", ") || "-"}`,
    `executors  ${runner.executors.join(", ") || "-"}`,
    `slots      ${runner.running} of ${runner.slots} taken`,
    `waiting    ${runner.waiting}${runner.oldest_waiting_ms === undefined ? "" : `, the oldest for ${runner.oldest_waiting_ms} ms`}`,
    `heartbeat  ${clockTime(runner.heartbeat_ms)}`,
    `claimed    ${clockTime(runner.claimed_ms)}`,
    `finished   ${clockTime(runner.finished_ms)}`,
  ];
}
