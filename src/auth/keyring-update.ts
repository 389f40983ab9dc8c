/** Replaces keys.toml by an edited text: whole or not at all, mode 0600, and never over somebody else's edit. */
import { randomBytes } from "node:crypto";
import { open, realpath, rename, rm, stat } from "node:fs/promises";

import { errorText } from "../errors.ts";
import type { EditedKeyring } from "./keyring-edit.ts";
import { readKeyringText } from "./keyring-file.ts";
import type { KeyringContents } from "./keyring-toml.ts";

/**
 * Reads the file, edits it, and puts the result in its place: what does not parse never gets there. A symbolic link stays
 * one. A text that stays the same is not written.
 * @throws Error naming the file and why it was left as it is.
 */
export async function updateKeyring(path: string, edit: (text: string) => EditedKeyring): Promise<KeyringContents> {
  const before = await readKeyringText(path);
  const edited = edit(before);
  if (!edited.ok) throw new Error(`${path}: ${edited.problem}`);
  if (edited.text !== before) await replaceText(await realpath(path), before, edited.text);
  return edited.contents;
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
