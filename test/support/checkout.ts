/** A copy of the checkout to build and install from: this one's dist is in use by other tests. */
import { execFileSync } from "node:child_process";
import { cp, lstat, mkdir, mkdtemp, rm, symlink, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout that the tests lie in. */
export const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));

/**
 * Copies the working tree without what git ignores, and links the installed packages. Whoever asks removes it.
 * The copy's lock file is older than any installation: a quickstart that found it newer would install through the link,
 * and empty the checkout's own packages first.
 */
export async function copyCheckout(): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), "horus-checkout-"));
  try {
    const files = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
      cwd: CHECKOUT,
      encoding: "utf8",
    }).split("\0");
    for (const file of files.filter((name) => name !== "")) {
      // Deleted in the working tree, and not committed yet.
      if (!(await isThere(join(CHECKOUT, file)))) continue;
      await mkdir(dirname(join(copy, file)), { recursive: true });
      await cp(join(CHECKOUT, file), join(copy, file));
    }
    await utimes(join(copy, "package-lock.json"), 0, 0);
    await symlink(join(CHECKOUT, "node_modules"), join(copy, "node_modules"));
    return copy;
  } catch (error) {
    await rm(copy, { recursive: true, force: true });
    throw error;
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch {
    return false;
  }
}

/** What of the machine's environment npm and the programs it runs need; nothing of an npm that runs these tests. */
export function npmEnvironment(extra: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  const wanted =
    /^(?:PATH|HOME|LANG|npm_config_(?:registry|cache|userconfig|globalconfig|(?:https?_)?proxy|noproxy|cafile))$/iu;
  const kept = Object.entries(process.env).filter(
    (entry): entry is [string, string] => wanted.test(entry[0]) && entry[1] !== undefined,
  );
  return { ...Object.fromEntries(kept), ...extra };
}
