/** Secret seeds on disk: one line, mode 0600, made at once or not at all. No error shows a secret. */
import { randomBytes } from "node:crypto";
import { link, open, rm } from "node:fs/promises";
import { dirname } from "node:path";

import { errorText } from "../errors.ts";
import { makePrivateDirectory } from "../private-directory.ts";
import { generateSeed } from "./signature.ts";

const LINE = /^ed25519-seed:([0-9a-f]{64})\n?$/;
const SEED = /^[0-9a-f]{64}$/;
/** Group or world may do anything at all. */
const FOREIGN_ACCESS = 0o077;

/** A full disk, a place that takes no files. */
export class UnwritableError extends Error {
  override readonly name = "UnwritableError";

  constructor(path: string, cause: unknown) {
    super(`${path} can not be written (${errorText(cause)}).`, { cause });
  }
}

const NEW_KEY = "Make a key with: supervisor keygen --out FILE";

/**
 * Reads a seed, 64 hex. `fix` is for a file that is no seed.
 * @throws Error naming file and fix: missing (its cause has the code ENOENT), open to others, or not a seed.
 */
export async function readSeed(path: string, fix = NEW_KEY): Promise<string> {
  const text = await readSecret(path);
  const seed = LINE.exec(text)?.[1];
  if (seed !== undefined) return seed;
  throw new Error(`${path} is not one line of ed25519-seed: and 64 hex digits. ${fix}`);
}

/**
 * Writes a seed into a new file of mode 0600, in a directory that is made with mode 0700 where it is missing.
 * @throws Error when the file exists: a secret is never written over.
 */
export async function writeSeed(path: string, seedHex: string): Promise<void> {
  if (!SEED.test(seedHex)) throw new RangeError("A seed is 64 lower-case hex digits.");
  if (await createFile(path, `ed25519-seed:${seedHex}\n`)) return;
  throw new Error(`${path} exists, and a secret is never written over. Move it away, or name another file.`);
}

/** Reads a seed, or makes one. Processes that start at once agree on one of theirs; `isNew` is true for that one alone. */
export async function loadOrCreateSeed(path: string, fix = NEW_KEY): Promise<{ seed: string; isNew: boolean }> {
  try {
    return { seed: await readSeed(path, fix), isNew: false };
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  const seed = generateSeed();
  if (await createFile(path, `ed25519-seed:${seed}\n`)) return { seed, isNew: true };
  return { seed: await readSeed(path, fix), isNew: false };
}

async function readSecret(path: string): Promise<string> {
  try {
    await using file = await open(path, "r");
    const { mode } = await file.stat();
    if ((mode & FOREIGN_ACCESS) !== 0) {
      throw new Error(`${path} is a secret that others may read or write. Run: chmod 600 ${path}`);
    }
    return await file.readFile("utf8");
  } catch (error) {
    if (!hasCode(error)) throw error;
    throw new Error(`${path} can not be read (${errorText(error)}).`, { cause: error });
  }
}

/**
 * Creates a file with its whole content, or gives false when it is there already: written under a name of its own and
 * then linked, which fails where the name is taken. Nobody ever sees half a secret.
 */
async function createFile(path: string, text: string): Promise<boolean> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.new`;
  try {
    await makePrivateDirectory(dirname(path));
    await writeDurably(temporary, text);
    await link(temporary, path);
    return true;
  } catch (error) {
    // Of all steps only the link can find its name taken: the temporary name is random.
    if (hasCode(error) && error.code === "EEXIST") return false;
    throw new UnwritableError(path, error);
  } finally {
    // Where not even this works the error thrown above says why, and what stays is as closed as the secret itself.
    await rm(temporary, { force: true }).catch(() => undefined);
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  await using file = await open(path, "wx", 0o600);
  await file.writeFile(text);
  // On disk before it is linked: after a power cut an identity must not be an empty file.
  await file.sync();
}

function hasCode(error: unknown): error is Error & { readonly code: unknown } {
  return error instanceof Error && "code" in error;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && hasCode(error.cause) && error.cause.code === "ENOENT";
}
