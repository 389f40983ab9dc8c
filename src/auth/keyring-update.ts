/** Replaces keys.toml by an edited text: whole or not at all, mode 0600, and never over somebody else's edit. */
import { randomBytes } from "node:crypto";
import { open, realpath, rename, rm, stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

import { errorText } from "../errors.ts";
import type { EditedKeyring } from "./keyring-edit.ts";
import { readKeyringText } from "./keyring-file.ts";
import type { KeyringContents } from "./keyring-toml.ts";

/** An edit takes milliseconds: who waits longer than two seconds waits for one that was killed. */
const LOCK_PAUSE_MS = 20;
const LOCK_TRIES = 100;

/**
 * Reads the file, edits it, and puts the result in its place: what does not parse never gets there. A symbolic link stays
 * one. A text that stays the same is not written.
 * @throws Error naming the file and why it was left as it is.
 */
export async function updateKeyring(path: string, edit: (text: string) => EditedKeyring): Promise<KeyringContents> {
  return locked(await realpath(path).catch(() => path), async () => {
    const before = await readKeyringText(path);
    const edited = edit(before);
    if (!edited.ok) throw new Error(`${path}: ${edited.problem}`);
    if (edited.text !== before) await replaceText(await realpath(path), before, edited.text);
    return edited.contents;
  });
}

/** One edit at a time: of two that read the same text the later one would undo the other, a revocation perhaps. */
async function locked<Value>(path: string, work: () => Promise<Value>): Promise<Value> {
  const lock = `${path}.lock`;
  await takeLock(path, lock);
  try {
    return await work();
  } finally {
    await rm(lock, { force: true });
  }
}

async function takeLock(path: string, lock: string): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      await (await open(lock, "wx", 0o600)).close();
      return;
    } catch (error) {
      const isTaken = error instanceof Error && "code" in error && error.code === "EEXIST";
      // Where no lock can be made no file can be replaced either, and that attempt says it better.
      if (!isTaken) return;
      if (tries < LOCK_TRIES) await sleep(LOCK_PAUSE_MS);
      else
        throw new Error(`${path} is being edited by another command. Where none is at work: rm ${lock}`, {
          cause: error,
        });
    }
  }
}

async function replaceText(path: string, before: string, text: string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.new`;
  try {
    await writeClosed(temporary, text, await stat(path));
    // An editor that saved meanwhile: its change would be lost without a word.
    if ((await readKeyringText(path)) !== before) throw new Error("it was changed meanwhile; look at it, and repeat");
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw new Error(`${path} was left as it is (${errorText(error)}).`, { cause: error });
  }
}

/** On disk before it is renamed: after a power cut the root of trust must not be an empty file. */
async function writeClosed(
  path: string,
  text: string,
  { uid, gid }: { readonly uid: number; readonly gid: number },
): Promise<void> {
  await using file = await open(path, "wx", 0o600);
  await file.writeFile(text);
  // Root edits the file of the user that the supervisor runs as, who must be able to read it afterwards.
  if (process.getuid?.() === 0) await file.chown(uid, gid);
  await file.sync();
}
