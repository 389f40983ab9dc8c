/** The directory of one attempt: a fresh working directory, the payload, and the place of the result. */
import {
  chmod,
  type FileHandle,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  realpath,
  rm,
  rmdir,
  unlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";

import { errorText } from "../errors.ts";
import type { Log } from "../log.ts";
import { killLeftovers } from "./leftovers.ts";

/** What every name the runner makes begins with. */
const PREFIX = "horus-";

/**
 * Kills and removes what an earlier process of this runner left behind when it was killed itself. Only for a directory
 * that is one runner's alone, and only once it holds its name: another live process would lose its jobs.
 */
export async function clearScratch(parent: string, log: Log): Promise<void> {
  const killed = await killLeftovers(await realpath(parent).catch(() => parent));
  const names = await readdir(parent).catch(() => []);
  const left = names.filter((name) => name.startsWith(PREFIX));
  for (const name of left) await removeTree(join(parent, name), log);
  if (killed + left.length > 0) {
    log.warn(
      { event: "scratch_cleared", killed, directories: left.length },
      "cleared away what an earlier process left",
    );
  }
}

async function removeTree(path: string, log: Log): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true, maxRetries: 3 }).catch(async () => {
      // Caches of modules are read-only directories: nothing can be taken out of one.
      await openTree(path);
      await rm(path, { recursive: true, force: true, maxRetries: 3 });
    });
  } catch (error) {
    log.warn(
      { event: "scratch_left", path, error: errorText(error) },
      "a job's directory could not be removed; remove it by hand",
    );
  }
}

/** Makes every directory in it the owner's to change; a link that stands in its place leads elsewhere. */
async function openTree(path: string): Promise<void> {
  if (!(await lstat(path)).isDirectory()) return;
  await chmod(path, 0o700);
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await openTree(join(path, entry.name));
  }
}

export class Scratch {
  /** Random, so that it is also the mark by which the attempt's processes are found. */
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Makes it under `parent`, mode 0700. */
  static async create(parent: string): Promise<Scratch> {
    await mkdir(parent, { recursive: true, mode: 0o700 });
    // Without links, as the system names a process's working directory: what is left of an attempt is found by that.
    const scratch = new Scratch(await mkdtemp(join(await realpath(parent), `${PREFIX}job-`)));
    try {
      await mkdir(scratch.workPath);
    } catch (error) {
      // A disk that has no room would be given one directory more with each try.
      await rmdir(scratch.path);
      throw error;
    }
    return scratch;
  }

  /** Where the process starts. */
  get workPath(): string {
    return join(this.path, "work");
  }

  /** What `$HORUS_RESULT` names; the job makes the file. */
  get resultPath(): string {
    return join(this.path, "result");
  }

  /** Writes the payload to a file of its own, mode 0600, and gives its path. */
  async writePayload(payload: string): Promise<string> {
    const path = join(this.path, "payload");
    await writeFile(path, payload, { mode: 0o600, flag: "wx" });
    return path;
  }

  /**
   * The payload open for reading, its name already gone. A file and not a pipe: nothing breaks when the job does not
   * read it, and `/dev/stdin` can be opened (node's pipes are sockets, which can not).
   */
  async openPayload(payload: string): Promise<FileHandle> {
    const path = await this.writePayload(payload);
    try {
      return await open(path, "r");
    } finally {
      await unlink(path);
    }
  }

  /** Removes all of it. A job may have made that impossible; that is said in the log and harms nothing else. */
  async remove(log: Log): Promise<void> {
    await removeTree(this.path, log);
  }
}
