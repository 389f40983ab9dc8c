import { type FileHandle, mkdir, open, readFile, rename, stat } from "node:fs/promises";
/**
 * What a runner remembers on disk of the jobs it ran, so that who can write to Redis can not have them run again: one
 * JSON line for each start and each accepted outcome, flushed to disk before anything follows from it.
 */
import { dirname } from "node:path";

import { Type } from "typebox";
import { Compile } from "typebox/compile";

import { JobId } from "../rpc/schema.ts";

/** Kept this long beyond `expires_at`: a clock that is set back must not bring a job back. */
const MARGIN_MS = 3_600_000;
/** The file is written anew when it holds this many lines more than twice what was worth remembering the last time. */
const SLACK_LINES = 10_000;

const Line = Compile(
  Type.Object(
    {
      id: JobId,
      /** Highest attempt started. */
      attempt: Type.Integer({ minimum: 1 }),
      /** The job's `expires_at`, UNIX seconds. */
      exp: Type.Integer({ minimum: 0 }),
      accepted: Type.Optional(Type.Literal(true)),
    },
    { additionalProperties: false },
  ),
);

interface Seen {
  readonly attempt: number;
  readonly exp: number;
  readonly accepted: boolean;
}

/** One attempt of a job, as it is remembered. */
export interface SeenAttempt {
  readonly id: string;
  readonly attempt: number;
  /** UNIX seconds: how long it must be remembered. */
  readonly expiresAt: number;
}

export interface SeenJobs {
  /**
   * Adds what stands on disk by now. To be called once the runner holds its name: an earlier process of it may have gone on
   * writing while this one waited. @throws Error as {@link openSeenJobs}
   */
  reload(): Promise<void>;
  /** What is remembered that forbids this attempt to run: an outcome of its job was accepted, or it or a later one began. */
  recall(id: string, attempt: number): "finished" | "begun" | undefined;
  /** Remembers that the attempt starts. Resolves when it is on disk. @throws Error when it can not be. */
  started(attempt: SeenAttempt): Promise<void>;
  /** Remembers that its outcome was accepted for good. Resolves when it is on disk. */
  accepted(attempt: SeenAttempt): Promise<void>;
  close(): Promise<void>;
}

export interface SeenJobsOptions {
  /** The file, made with mode 0600 where it is missing. */
  readonly path: string;
  readonly now: () => number;
}

/**
 * Reads the memory. The file is written anew, without what has expired, only with the first start of an attempt: a second
 * process of one name gets this far before it is refused, and must not take the file from the first. A last line that was
 * cut by a crash is dropped: its attempt never started.
 * @throws Error naming file, line and fix where another line is broken: forgetting in silence would be running again.
 */
export async function openSeenJobs(options: SeenJobsOptions): Promise<SeenJobs> {
  await mkdir(dirname(options.path), { recursive: true, mode: 0o700 });
  const jobs = await readJobs(options.path);
  return new SeenFile(options, jobs);
}

class SeenFile implements SeenJobs {
  readonly #path: string;
  readonly #now: () => number;
  readonly #jobs: Map<string, Seen>;
  #file: FileHandle | undefined;
  #lines = 0;
  /** Lines from which on it is written anew. */
  #mostLines = 0;
  /** Not written by this process yet, or written in part: nothing may be put behind what stands there. */
  #isTorn = true;
  /** Something is remembered that is not on disk. */
  #isAhead = false;
  #isClosed = false;
  #pending: string[] = [];
  #flush: Promise<void> | undefined;

  constructor({ path, now }: SeenJobsOptions, jobs: Map<string, Seen>) {
    this.#path = path;
    this.#now = now;
    this.#jobs = jobs;
  }

  async reload(): Promise<void> {
    for (const [id, { attempt, exp, accepted }] of await readJobs(this.#path)) {
      const known = this.#jobs.get(id);
      const highest = Math.max(attempt, known?.attempt ?? 0);
      this.#jobs.set(id, { attempt: highest, exp, accepted: accepted || known?.accepted === true });
    }
  }

  recall(id: string, attempt: number): "finished" | "begun" | undefined {
    const seen = this.#jobs.get(id);
    if (seen === undefined) return undefined;
    if (seen.accepted) return "finished";
    return attempt <= seen.attempt ? "begun" : undefined;
  }

  async started({ id, attempt, expiresAt }: SeenAttempt): Promise<void> {
    await this.#remember(id, { attempt, exp: expiresAt, accepted: false });
  }

  async accepted({ id, attempt, expiresAt }: SeenAttempt): Promise<void> {
    await this.#remember(id, { attempt, exp: expiresAt, accepted: true });
  }

  async close(): Promise<void> {
    // What could not be written was told to who asked for it.
    await this.#flush?.catch(() => undefined);
    this.#isClosed = true;
    // A disk that was full may have room again.
    if (this.#isAhead) await this.#rewrite().catch(() => undefined);
    await this.#file?.close();
    this.#file = undefined;
  }

  /** Writes what is worth remembering to a new file and puts it in the place of the old one. */
  async #rewrite(): Promise<void> {
    if (this.#file === undefined) await this.reload();
    else await this.#ensureOurs(this.#file);
    const oldest = Math.floor((this.#now() - MARGIN_MS) / 1000);
    for (const [id, seen] of this.#jobs) if (seen.exp < oldest) this.#jobs.delete(id);
    const file = await open(`${this.#path}.new`, "w", 0o600);
    try {
      await this.#fill(file);
    } catch (error) {
      // A disk that stays full must not cost a descriptor with each try.
      await file.close();
      throw error;
    }
    await this.#file?.close();
    this.#file = file;
    await syncDirectory(dirname(this.#path));
    this.#lines = this.#jobs.size;
    this.#mostLines = this.#jobs.size * 2 + SLACK_LINES;
  }

  /**
   * A process that was frozen for longer than a lease may find its name, and this file, with another one: what it wrote
   * would be read by nobody, or take the place of what the other one wrote. @throws Error then
   */
  async #ensureOurs(file: FileHandle): Promise<void> {
    const there = await stat(this.#path).catch(() => undefined);
    if (there === undefined || there.ino === (await file.stat()).ino) return;
    throw new Error(`${this.#path}: another process has put its own in its place. Start this runner anew.`);
  }

  async #fill(file: FileHandle): Promise<void> {
    await file.chmod(0o600);
    await file.writeFile([...this.#jobs].map(([id, seen]) => toLine(id, seen)).join(""));
    await file.sync();
    await rename(`${this.#path}.new`, this.#path);
  }

  /** In memory at once, on disk before it resolves; everything asked for during one flush shares the next. */
  async #remember(id: string, seen: Seen): Promise<void> {
    this.#jobs.set(id, seen);
    this.#pending.push(toLine(id, seen));
    const before = this.#flush;
    if (before !== undefined) {
      // Its failure was told to those who asked for it.
      await before.catch(() => undefined);
    }
    this.#flush ??= this.#write();
    await this.#flush;
  }

  async #write(): Promise<void> {
    const lines = this.#pending;
    this.#pending = [];
    try {
      if (this.#isClosed) throw new Error(`${this.#path}: closed`);
      this.#lines += lines.length;
      if (this.#file === undefined || this.#isTorn || this.#lines > this.#mostLines) {
        // It holds these lines too: the memory is ahead of the file.
        await this.#rewrite();
      } else {
        await this.#ensureOurs(this.#file);
        await this.#file.appendFile(lines.join(""));
        await this.#file.datasync();
      }
      this.#isTorn = false;
      this.#isAhead = false;
    } catch (error) {
      this.#isTorn = true;
      this.#isAhead = true;
      throw error;
    } finally {
      this.#flush = undefined;
    }
  }
}

function toLine(id: string, { attempt, exp, accepted }: Seen): string {
  return `${JSON.stringify({ id, attempt, exp, ...(accepted ? { accepted } : {}) })}\n`;
}

async function readJobs(path: string): Promise<Map<string, Seen>> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
    throw error;
  });
  const lines = text.split("\n");
  // Behind the last newline: empty, or what a crash cut.
  lines.pop();
  const jobs = new Map<string, Seen>();
  for (const [index, line] of lines.entries()) {
    const entry = parseLine(line);
    if (entry === undefined) {
      throw new Error(
        `${path}: line ${index + 1} is broken. Put the file back from a copy, or delete it once the jobs of this ` +
          "runner have expired: without it they could be run again by who can write to Redis.",
      );
    }
    jobs.set(entry.id, { attempt: entry.attempt, exp: entry.exp, accepted: entry.accepted === true });
  }
  return jobs;
}

function parseLine(line: string): ReturnType<typeof Line.Parse> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return Line.Check(value) ? value : undefined;
  } catch {
    // Broken: the caller says so.
    return undefined;
  }
}

/** A rename is on disk only when its directory is. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
