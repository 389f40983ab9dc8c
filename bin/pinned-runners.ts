/** Runner keys that this host vouches for by itself: those in its data directory, and lines of known_runners. */
import { readdir, readFile } from "node:fs/promises";
import { basename } from "node:path";

import { readSeed } from "../src/auth/key-file.ts";
import { createNativeSigner } from "../src/auth/native-verifier.ts";
import { isPublicKey } from "../src/auth/signature.ts";
import type { DataPaths } from "../src/data-directory.ts";
import { UsageError } from "./command.ts";

const KEY_FILE = ".key";

/**
 * Public keys against which a receipt counts as verified: of every runner that has its key here, and of every line
 * `<name> ed25519:…` in known_runners (`#` begins a comment).
 * @throws UsageError for a line that is no pin: going on without it would be a guess about whom to trust.
 */
export async function pinnedRunnerKeys(paths: DataPaths): Promise<readonly string[]> {
  return [...new Set([...(await ownKeys(paths)), ...(await knownKeys(paths.knownRunners))])];
}

async function ownKeys(paths: DataPaths): Promise<readonly string[]> {
  const names = (await orNone(readdir(paths.runners))).filter((file) => file.endsWith(KEY_FILE));
  const keys = names.map(async (file) => {
    try {
      return [createNativeSigner(await readSeed(paths.runnerKey(basename(file, KEY_FILE)))).publicKey];
    } catch {
      // Not readable by this user, or half written: that runner is not pinned, which claims less and not more.
      return [];
    }
  });
  return (await Promise.all(keys)).flat();
}

async function knownKeys(path: string): Promise<readonly string[]> {
  const [text = ""] = await orNone(readFile(path, "utf8").then((whole) => [whole]));
  return text.split("\n").flatMap((line) => {
    const [name = "", ...keys] = line.replace(/#.*/u, "").trim().split(/\s+/u);
    if (name === "" || (keys.length === 1 && keys.every(isPublicKey))) return keys;
    throw new UsageError(`${path}: "${keys.join(" ")}" after ${name} is not ed25519: and 64 lower-case hex digits.`);
  });
}

/** Both are optional: a host that never ran a runner has neither. */
async function orNone<Item>(items: Promise<readonly Item[]>): Promise<readonly Item[]> {
  try {
    return await items;
  } catch {
    return [];
  }
}
