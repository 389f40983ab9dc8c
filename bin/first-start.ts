/** What a first start says: what it made, and the command that goes on from there. */
import { access } from "node:fs/promises";

import { buildConfig, type Config, loadConfig } from "../src/config.ts";
import type { DataPaths } from "../src/data-directory.ts";
import { redactUrl } from "../src/redact-url.ts";
import { ownUrl } from "./connection.ts";
import { quoted } from "./shell-words.ts";
import type { Terminal } from "./terminal.ts";

/** At once, whether or not the start succeeds: the files are there from now on. */
export function announceMade(terminal: Terminal, config: Config, identity: string): void {
  terminal.err(`First start: made ${config.data_dir} with the supervisor's identity ${identity},\n`);
  terminal.err("an owner key with all roles (owner.key), and keys.toml, which says who may do what.\n");
}

export interface NextStep {
  readonly config: Config;
  /** `--config`, which the next command needs as well. */
  readonly configFile: string | undefined;
  /** Where it serves: the port may be one that the system chose. */
  readonly url: string | undefined;
}

/** The command that starts a runner for this supervisor, from another terminal that has none of its environment. */
export async function announceNext(terminal: Terminal, next: NextStep): Promise<void> {
  const words = ['supervisor runner start demo --exec "bash -s"'];
  try {
    words.push(...(await wordsFor(terminal, next)));
  } catch {
    // The file is whole only together with this environment and these flags. A hint stops no supervisor.
  }
  terminal.err(`The command line uses the owner key. Next: ${words.join(" ")}\n`);
}

/** No runner ever had its key made here: a start after `init`, or after a first one that failed. */
export async function hadNoRunner(paths: DataPaths): Promise<boolean> {
  try {
    await access(paths.runners);
    return false;
  } catch {
    // Not there, or not ours to see: at worst a hint too many.
    return true;
  }
}

/** Flags for whatever is not as it would be without them. */
async function wordsFor(terminal: Terminal, { config, configFile, url }: NextStep): Promise<readonly string[]> {
  const env = { XDG_DATA_HOME: terminal.env["XDG_DATA_HOME"] };
  const untold = configFile === undefined ? buildConfig({ env }) : await loadConfig({ flags: {}, env, configFile });
  const to = url?.startsWith("http") === true ? ownUrl({ ...config.http, port: portOf(url) }) : url;
  return [
    ...(configFile === undefined ? [] : ["--config", configFile]),
    ...(to === undefined || to === ownUrl(untold.http) ? [] : ["--to", to]),
    ...(config.redis.url === untold.redis.url ? [] : ["--redis-url", redactUrl(config.redis.url)]),
    ...(config.data_dir === untold.data_dir ? [] : ["--data-dir", config.data_dir]),
  ].map(quoted);
}

function portOf(url: string): number {
  const { port, protocol } = new URL(url);
  return port === "" ? (protocol === "https:" ? 443 : 80) : Number(port);
}
