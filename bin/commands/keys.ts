/** `supervisor keys list|add|revoke|check`: looks at keys.toml and edits it; a running supervisor follows the file. */
import { keyringAdvice, keyState } from "../../src/auth/keyring-advice.ts";
import { addKey, revokeKey } from "../../src/auth/keyring-edit.ts";
import { loadKeyring } from "../../src/auth/keyring-file.ts";
import { updateKeyring } from "../../src/auth/keyring-update.ts";
import type { EnrolledKey, KeyringContents } from "../../src/auth/keyring.ts";
import { counted } from "../../src/counted.ts";
import { dataPaths } from "../../src/data-directory.ts";
import { type Command, type CommandInput, type Flags, type Option, UsageError } from "../command.ts";
import { CONFIG_OPTION, configOf } from "../config.ts";
import { printData, styled, table, type Terminal } from "../terminal.ts";

const OPTIONS: readonly Option[] = [
  { flag: "--data-dir <dir>", description: "Data directory", default: "~/.local/share/horus-supervisor" },
  CONFIG_OPTION,
  { flag: "--json", description: "Print data as JSON" },
];

export const listKeys: Command = {
  options: OPTIONS,
  examples: ["supervisor keys list", "supervisor keys list --json"],
  async run(input) {
    const { flags, terminal } = input;
    const contents = await loadKeyring(await keyringPath(input));
    const keys = contents.keys.map(toShown);
    const requirements = contents.requirements.map(({ runner, principals, atLeast }) => ({
      runner,
      principals,
      at_least: atLeast,
    }));
    printData(terminal, { keys, requirements }, { isJson: flags.has("json"), lines: () => listLines(contents) });
    return 0;
  },
};

export const addKeyCommand: Command = {
  options: [
    { flag: "--name <name>", description: "What to call the key (required)" },
    { flag: "--principal <who>", description: "Who owns it, and with it the jobs; the name unless told" },
    { flag: "--key <key>", description: "Public key, ed25519:…, as keygen prints it (required)" },
    {
      flag: "--role <role>",
      description: "submitter, runner, registrar, observer, admin; more than once",
      isMany: true,
    },
    { flag: "--runner <pattern>", description: "Granted runner or group, prefix* or *; more than once", isMany: true },
    { flag: "--not-after <date>", description: "Last day, 2027-01-01, or moment, 2027-01-01T12:00:00Z" },
    { flag: "--overlay <node>", description: "Only carried by this node, x25519:…; more than once", isMany: true },
    { flag: "--rate <n>", description: "Calls a second" },
    ...OPTIONS,
  ],
  examples: [
    "supervisor keys add --name alice-laptop --principal alice --key ed25519:… --role submitter --runner build",
    "supervisor keys add --name ops --key ed25519:…   # without roles: it can approve, and nothing else",
  ],
  async run(input) {
    const { flags } = input;
    const name = required(flags, "name");
    const notAfter = flags.text("not-after");
    const rate = flags.text("rate");
    const overlay = flags.many("overlay");
    const added = {
      name,
      principal: flags.text("principal") ?? name,
      key: required(flags, "key"),
      roles: flags.many("role"),
      runners: flags.many("runner"),
      ...(notAfter === undefined ? {} : { notAfter }),
      ...(rate === undefined ? {} : { rate }),
      ...(overlay.length === 0 ? {} : { overlay }),
    };
    const contents = await updateKeyring(await keyringPath(input), (text) => addKey(text, added));
    return done(input, contents, { name, says: `Enrolled "${name}".` });
  },
};

export const revokeKeyCommand: Command = {
  options: [
    { flag: "--cancel-running", description: "Cancel its running jobs too, not only those that wait" },
    ...OPTIONS,
  ],
  examples: ["supervisor keys revoke alice-laptop", "supervisor keys revoke ed25519:… --cancel-running"],
  async run(input) {
    const { flags, positionals } = input;
    const [which = ""] = positionals;
    const revocation = { which, now: Date.now(), cancelRunning: flags.has("cancel-running") };
    const contents = await updateKeyring(await keyringPath(input), (text) => revokeKey(text, revocation));
    const name = contents.keys.find((key) => key.key === which)?.name ?? which;
    return done(input, contents, {
      name,
      says: `Revoked "${name}", for good: the same key is refused for ever, its owner needs a new one.`,
    });
  },
};

export const checkKeys: Command = {
  options: OPTIONS,
  examples: ["supervisor keys check", "supervisor keys check new-keys.toml"],
  async run(input) {
    const { flags, terminal, positionals } = input;
    const path = positionals[0] ?? (await keyringPath(input));
    const contents = await loadKeyring(path);
    const advice = keyringAdvice(contents, Date.now());
    const { keys, requirements } = contents;
    printData(
      terminal,
      { file: path, keys: keys.length, requirements: requirements.length, advice },
      {
        isJson: flags.has("json"),
        lines: () => [
          `${path} is good: ${counted(keys.length, "key")}, ${counted(requirements.length, "requirement")}`,
        ],
      },
    );
    if (!flags.has("json")) printAdvice(terminal, advice);
    return 0;
  },
};

async function keyringPath({ flags, terminal }: CommandInput): Promise<string> {
  const { data_dir: directory } = await configOf(flags, terminal);
  return dataPaths(directory).keyring;
}

function required(flags: Flags, name: string): string {
  const value = flags.text(name);
  if (value !== undefined) return value;
  throw new UsageError(`--${name} is missing: supervisor keys add --name NAME --key ed25519:… --role ROLE`);
}

function done(
  { flags, terminal }: CommandInput,
  contents: KeyringContents,
  { name, says }: { readonly name: string; readonly says: string },
): number {
  const shown = contents.keys.filter((key) => key.name === name).map(toShown);
  printData(terminal, shown[0], { isJson: flags.has("json"), lines: () => [says] });
  terminal.err("Supervisors on this data directory follow the file; a copy elsewhere must be changed as well.\n");
  printAdvice(terminal, keyringAdvice(contents, Date.now()));
  return 0;
}

function printAdvice(terminal: Terminal, advice: readonly string[]): void {
  for (const sentence of advice) terminal.err(`${styled(terminal, "yellow", "warning:")} ${sentence}\n`);
}

/** A key as JSON shows it: the names of the file. */
function toShown(key: EnrolledKey): Readonly<Record<string, unknown>> {
  return {
    name: key.name,
    principal: key.principal,
    key: key.key,
    state: keyState(key, Date.now()),
    roles: key.roles,
    runners: key.runners,
    not_after: moment(key.notAfterMs),
    revoked_at: moment(key.revokedAtMs),
    cancel_running: key.cancelRunning,
    overlay: key.overlay,
    rate: key.rate,
  };
}

function moment(ms: number | undefined): string | undefined {
  return ms === undefined ? ms : new Date(ms).toISOString();
}

function listLines({ keys, requirements }: KeyringContents): readonly string[] {
  const rows = keys.map((key) => [
    key.name,
    key.principal,
    keyState(key, Date.now()),
    key.roles.join(",") || "-",
    key.runners.join(",") || "-",
    key.key,
  ]);
  return [
    ...table(["NAME", "PRINCIPAL", "STATE", "ROLES", "RUNNERS", "KEY"], rows),
    ...requirements.map(
      ({ runner, principals, atLeast }) => `jobs for ${runner} need ${atLeast} of: ${principals.join(", ")}`,
    ),
  ];
}
