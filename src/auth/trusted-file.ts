/** Files that say whom to trust: of no use where others may write to them. */
import { open } from "node:fs/promises";

/** Group or world may write. */
const FOREIGN_WRITE = 0o022;

/**
 * Reads such a file: mode and text of one open file, so that nobody can swap it in between.
 * @throws Error naming file and fix where others may write to it; what the system throws where it can not be read.
 */
export async function readTrustedText(path: string): Promise<string> {
  await using file = await open(path, "r");
  const { mode } = await file.stat();
  if ((mode & FOREIGN_WRITE) !== 0) {
    throw new Error(`${path}: others may write to it, and so say whom to trust. Run: chmod go-w ${path}`);
  }
  return await file.readFile("utf8");
}
