/** `supervisor init`: what a first start makes on disk, and what to do next. */
import { access } from "node:fs/promises";

import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { dataPaths, inDataDirectory, openDataDirectory, writeKeyring } from "../../src/data-directory.ts";
import type { Command } from "../command.ts";
import { CONFIG_OPTION, configOf } from "../config.ts";
import { retold } from "../shell-words.ts";
import { printData } from "../terminal.ts";

export const init: Command = {
  options: [
    { flag: "--data-dir <dir>", description: "Data directory", default: "~/.local/share/horus-supervisor" },
    CONFIG_OPTION,
    { flag: "--force", description: "Write a new keys.toml for the owner key where it is missing" },
    { flag: "--json", description: "Print data as JSON" },
  ],
  examples: ["supervisor init", "supervisor init --data-dir /srv/horus --json"],
  async run({ flags, terminal }) {
    const { data_dir: directory } = await configOf(flags, terminal);
    const isMended = flags.has("force") && (await writeMissingKeyring(directory));
    const opened = await openDataDirectory(directory);
    const identity = createNativeSigner(opened.identitySeed).publicKey;
    // What this directory was found by, the start needs as well.
    const told = retold(flags, ["config", "data-dir"]);
    printData(
      terminal,
      { directory, identity, new: opened.isNew, mended: isMended },
      {
        isJson: flags.has("json"),
        lines: () => [
          whatWasDone(directory, { isNew: opened.isNew, isMended }),
          `Identity: ${identity}`,
          `Next: ${["supervisor --port 8080 --redis-url redis://localhost:6379", ...told].join(" ")}`,
        ],
      },
    );
    return 0;
  },
};

function whatWasDone(directory: string, { isNew, isMended }: { isNew: boolean; isMended: boolean }): string {
  if (isNew) return `Made ${directory}: identity, owner key, keys.toml.`;
  if (isMended) return `Made a new keys.toml in ${directory}, with the owner key alone in it.`;
  return `${directory} is there already; nothing was changed.`;
}

/** For a directory that has keys but no keys.toml any more: true when one was written. One that is there stays. */
async function writeMissingKeyring(directory: string): Promise<boolean> {
  const paths = dataPaths(directory);
  if (await isThere(paths.keyring)) return false;
  if (!(await isThere(paths.owner)) && !(await isThere(paths.identity))) return false;
  await inDataDirectory(writeKeyring(paths));
  return true;
}

async function isThere(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
