/** The directory that holds what a node keeps on disk: identity, owner key, keys.toml, runner keys (all mode 0600). */
import { constants } from "node:fs";
import { access, readdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { loadOrCreateSeed, readSeed, UnwritableError } from "./auth/key-file.ts";
import { createNativeSigner } from "./auth/native-verifier.ts";
import { errorText } from "./errors.ts";
import { makePrivateDirectory } from "./private-directory.ts";
import { ROLES } from "./rpc/method.ts";

/** Where each thing lies in a data directory. */
export interface DataPaths {
  readonly identity: string;
  readonly owner: string;
  readonly keyring: string;
  readonly knownSupervisors: string;
  /** Runner keys that were pinned by hand: lines of `<name> ed25519:…`. */
  readonly knownRunners: string;
  /** The directory of what runners on this host keep. */
  readonly runners: string;
  runnerKey(name: string): string;
  runnerSeen(name: string): string;
  /** Working directories of its attempts; what a killed runner left there is ended at its next start. */
  runnerScratch(name: string): string;
}

export function dataPaths(directory: string): DataPaths {
  return {
    identity: join(directory, "identity.key"),
    owner: join(directory, "owner.key"),
    keyring: join(directory, "keys.toml"),
    knownSupervisors: join(directory, "known_supervisors"),
    knownRunners: join(directory, "known_runners"),
    runners: join(directory, "runners"),
    runnerKey: (name) => join(directory, "runners", `${name}.key`),
    runnerSeen: (name) => join(directory, "runners", `${name}.seen`),
    runnerScratch: (name) => join(directory, "runners", `${name}.work`),
  };
}

export interface DataDirectory {
  readonly paths: DataPaths;
  /** Seed of the supervisor's identity key. */
  readonly identitySeed: string;
  /** Made by this call: the caller says so. */
  readonly isNew: boolean;
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path, constants.F_OK);
    return true;
  } catch {
    return false;
  }
}

/** A new identity would be nobody that Redis, callers and runners know. */
const LOST_IDENTITY =
  "Restore it from the backup: Redis, callers and runners know the supervisor by this key and refuse another. Only for a " +
  "supervisor that never ran, move the file away: the next start makes a new one.";

/** A first start's keys.toml: one owner key with every role. */
function firstKeyring(ownerKey: string): string {
  return [
    "# The root of trust: who may do what. One key a table, one setting a line.",
    "# Reloaded on change and on SIGHUP; a file with a fault is refused whole.",
    "",
    "[[key]]",
    'name = "owner"',
    'principal = "owner"',
    `key = "${ownerKey}"`,
    `roles = [${ROLES.map((role) => `"${role}"`).join(", ")}]`,
    'runners = ["*"]',
    "",
  ].join("\n");
}

/**
 * Opens a data directory, or makes it on a first start: identity key, one owner key with all roles, keys.toml.
 * A directory that has something in it but no keys.toml is refused: making a new root of trust there would be a guess.
 * @throws Error naming the command that mends it.
 */
export async function openDataDirectory(directory: string): Promise<DataDirectory> {
  await makeDataDirectory(directory);
  return inDataDirectory(fillDataDirectory(directory));
}

async function fillDataDirectory(directory: string): Promise<DataDirectory> {
  const paths = dataPaths(directory);
  const hasKeyring = await exists(paths.keyring);
  if (!hasKeyring && (await holdsKeys(directory))) {
    throw new Error(
      `${paths.keyring} is missing, but ${directory} has keys in it. Put the file back, or make a new one for the ` +
        `owner key with: supervisor init --force --data-dir ${directory}`,
    );
  }
  const identity = await loadOrCreateSeed(paths.identity, LOST_IDENTITY);
  if (!hasKeyring) await writeKeyring(paths);
  return { paths, identitySeed: identity.seed, isNew: !hasKeyring };
}

/** The seed of the identity. @throws Error naming file and fix; its cause has the code ENOENT where the file is missing */
export async function readIdentity({ identity }: DataPaths): Promise<string> {
  return readSeed(identity, LOST_IDENTITY);
}

/** Says the ways out where a file of the data directory can not be written. */
export async function inDataDirectory<Value>(writing: Promise<Value>): Promise<Value> {
  try {
    return await writing;
  } catch (error) {
    if (!(error instanceof UnwritableError)) throw error;
    throw new Error(`${error.message} Free space there, or choose another directory with --data-dir.`, {
      cause: error,
    });
  }
}

async function makeDataDirectory(directory: string): Promise<void> {
  try {
    await makePrivateDirectory(directory);
  } catch (error) {
    throw new Error(`The data directory: ${errorText(error)}. Choose another one with --data-dir.`, { cause: error });
  }
}

/** Writes keys.toml for the owner key, which it makes when it is not there. Replaces nothing: the file must be absent. */
export async function writeKeyring(paths: DataPaths): Promise<void> {
  const owner = await loadOrCreateSeed(paths.owner);
  const text = firstKeyring(createNativeSigner(owner.seed).publicKey);
  const temporary = `${paths.keyring}.${process.pid}.new`;
  try {
    await writeFile(temporary, text, { mode: 0o600, flag: "wx" });
    await rename(temporary, paths.keyring);
  } catch (error) {
    throw new UnwritableError(paths.keyring, error);
  }
}

/** Keys without a keyring: an identity or an owner key lies there. Runner keys alone make no supervisor. */
async function holdsKeys(directory: string): Promise<boolean> {
  const names = await readdir(directory);
  return names.some((name) => name === "identity.key" || name === "owner.key");
}
