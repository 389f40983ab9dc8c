/** Builds that are broken on purpose: a harness that finds nothing wrong with them finds nothing at all. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

interface Change {
  /** Below `src/store/lua`; made where it is missing. */
  readonly file: string;
  readonly to: (text: string) => string;
}

/** In one chunk with the library, whose locals it replaces: the fragments are joined in the order of their names. */
const override = (text: string): Change => ({ file: "lib/99-broken.lua", to: () => text });
const replace = (file: string, what: string, by: string): Change => ({ file, to: (text) => text.replace(what, by) });
/** As a script's first statement behind its flags. */
const begin = (file: string, text: string): Change => replace(file, "\n", `\n${text}\n`);

/** Renewals and log entries are fenced as well: a late runner that was refused there would never hand its outcome in. */
const RENEWED = "held[1] == 'running' and held[2] == ARGV[at + 1] and held[3] == ARGV[at + 2]";
const REFUSED = "held[1] ~= 'running' or held[2] ~= ARGV[2] or held[3] ~= ARGV[3]";

/** By name; each changes the scripts of a compiled copy, never those that ship. */
const BREAKAGES: Readonly<Record<string, readonly Change[]>> = {
  /** Whoever ran a job hands its outcome in, whenever that is. */
  fence: [
    override("is_held = function() return true end\n"),
    replace("renew.lua", RENEWED, "held[1]"),
    replace("append.lua", REFUSED, "not held[1]"),
  ],
  /** An outcome is taken from any attempt while the job runs: a terminal state still never changes. */
  "fence-token": [
    override("is_held = function(job) return job.state == 'running' end\n"),
    replace("renew.lua", RENEWED, "held[1] == 'running'"),
    replace("append.lua", REFUSED, "held[1] ~= 'running'"),
  ],
  /** An id that is known is admitted again. */
  idempotency: [replace("admit.lua", "redis.call('EXISTS', KEYS[1], KEYS[2]) > 0", "false")],
  /** Lost leases stay lost. */
  reaper: [begin("reap.lua", "do return { NOW_MS, 0, '0' } end")],
};

export const BREAKAGE_NAMES: readonly string[] = Object.keys(BREAKAGES);

/** Breaks a compiled copy of the program. @throws Error when there is no such breakage, or it finds nothing to change. */
export async function breakBuild(directory: string, name: string): Promise<void> {
  const changes = BREAKAGES[name];
  if (changes === undefined) {
    throw new RangeError(`"${name}" can not be broken. Choose of: ${BREAKAGE_NAMES.join(", ")}.`);
  }
  for (const { file, to } of changes) {
    const path = join(directory, "src/store/lua", file);
    const before = await readFile(path, "utf8").catch(() => "");
    const after = to(before);
    if (after === before) throw new Error(`${file} has changed: say anew what breaking "${name}" means.`);
    await writeFile(path, after);
  }
}
