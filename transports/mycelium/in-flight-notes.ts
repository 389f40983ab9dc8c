/** Notes on disk of the messages being handled, so that one that kills the process can not do so for ever. */

import { mkdir, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** A message whose handling was cut short by so many deaths is not handled again (spec: mycelium, "The listener"). */
const MAX_DEATHS = 2;
const MESSAGE_ID = /^[0-9a-f]{16}$/;
/** A note older than this belongs to a message that will not come again: its daemon gave it up long ago. */
const STALE_MS = 24 * 3_600_000;

/**
 * One file a message, named by its id, holding how often its handling has begun; removed when the message was taken.
 * What is there at the start was cut short by the death of the process.
 */
export class InFlightNotes {
  readonly #directory: string | undefined;
  readonly #now: () => number;
  readonly #begun = new Map<string, number>();

  /**
   * @param directory where the notes are; undefined keeps none, and a message that kills is met again at each start
   * @param now UNIX milliseconds
   */
  constructor(directory: string | undefined, now: () => number = Date.now) {
    this.#directory = directory;
    this.#now = now;
  }

  /** Makes the directory and reads what the last process left. */
  async load(): Promise<void> {
    if (this.#directory === undefined) {
      return;
    }
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    for (const id of await readdir(this.#directory)) {
      if (MESSAGE_ID.test(id)) {
        await this.#loadNote(id, join(this.#directory, id));
      }
    }
  }

  /**
   * Notes that the handling of a message begins. False: it was cut short too often, and must not be handled.
   * @throws Error when the note can not be written
   */
  async begin(id: string): Promise<boolean> {
    const deaths = this.#begun.get(id) ?? 0;
    if (deaths >= MAX_DEATHS) {
      return false;
    }
    if (this.#directory !== undefined) {
      await writeFile(join(this.#directory, id), String(deaths + 1), { mode: 0o600 });
    }
    return true;
  }

  /** The message is gone from the daemon, or its handling ended without harm. */
  async end(id: string): Promise<void> {
    this.#begun.delete(id);
    if (this.#directory !== undefined) {
      await rm(join(this.#directory, id), { force: true });
    }
  }

  async #loadNote(id: string, path: string): Promise<void> {
    const { mtimeMs } = await stat(path);
    if (this.#now() - mtimeMs > STALE_MS) {
      await rm(path, { force: true });
      return;
    }
    // Written in one go; an empty file is a death in between, and counts as one.
    this.#begun.set(id, Number.parseInt(await readFile(path, "utf8"), 10) || 1);
  }
}
