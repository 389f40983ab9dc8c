/** keys.toml on disk: read with its mode checked, and read again when it changes. */
import { type FSWatcher, watch } from "node:fs";
import { dirname } from "node:path";

import { errorText } from "../errors.ts";
import type { Log } from "../log.ts";
import { type Keyring, type KeyringContents, parseKeyring } from "./keyring.ts";
import { readTrustedText } from "./trusted-file.ts";

/** A change is read this long after its last sign, in ms: editors write in several steps. */
const SETTLE_MS = 100;
/** But no later than this after its first sign, in ms: another file of the directory may be written all the time. */
const LONGEST_SETTLE_MS = 500;
/**
 * A text that lacks a key must stand so long, in ms, before it counts: what is written in place can be read half-way, and
 * rights that end with a key's removal never come back (spec: signing, "Keyring").
 */
const REMOVAL_SETTLE_MS = 1000;
/**
 * And looked at so often, in ms, where no sign came: none does of what another machine writes to a shared directory, nor
 * of a file in another directory behind a symbolic link.
 */
const LOOK_MS = 5000;

/**
 * Reads a keyring.
 * @throws Error that names the file, what is wrong with it and the command or edit that mends it; its cause has the code.
 */
export async function loadKeyring(path: string): Promise<KeyringContents> {
  return parseOrThrow(path, await readKeyringText(path));
}

export interface KeyringWatchOptions {
  readonly path: string;
  readonly keyring: Keyring;
  readonly log: Log;
  /** Hears of each new problem, and with undefined of its end. */
  readonly onProblem?: (problem: string | undefined) => void;
  /** Between two looks without a sign, ms; 5000 unless told. */
  readonly lookMs?: number | undefined;
}

export interface KeyringWatch {
  /** Reads the file now (SIGHUP). Never rejects: a bad file becomes `problem`. */
  reload(): Promise<void>;
  stop(): void;
  /** Why the file in force is an older one; undefined: all is well. Health is red meanwhile. */
  readonly problem: string | undefined;
}

/**
 * Follows a keyring file. A good file replaces the keyring's keys at once, or a second later where it lacks one of them
 * and nobody asked for a reload; a bad one leaves the last good keys in force and sets `problem`. The directory is
 * watched, since editors and `mv` put a new file in the place of the old one; what no watch tells is seen by looking.
 */
export function watchKeyring(options: KeyringWatchOptions): KeyringWatch {
  return new Watch(options);
}

class Watch implements KeyringWatch {
  readonly #options: KeyringWatchOptions;
  readonly #watcher: FSWatcher | undefined;
  #look: NodeJS.Timeout | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Of the first sign of a change since the file was last read. */
  #signMs: number | undefined;
  #loaded: string | undefined;
  /** A text that lacks a key, and since when it stands. */
  #lacking: { readonly text: string; readonly sinceMs: number } | undefined;
  #problem: string | undefined;
  #isStopped = false;
  /** Reloads run one after the other: the last state of the file wins. */
  #queue: Promise<void> = Promise.resolve();

  constructor(options: KeyringWatchOptions) {
    this.#options = options;
    this.#watcher = this.#watchDirectory();
    this.#lookLater();
    // What changed between the first load and the watch would else be missed until the next change.
    void this.#enqueue(false);
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  reload(): Promise<void> {
    return this.#enqueue(true);
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#look);
    this.#watcher?.close();
  }

  #watchDirectory(): FSWatcher | undefined {
    const { path, log } = this.#options;
    const warn = (error: unknown): void => {
      log.warn(
        { event: "keyring_watch_failed", path, error: errorText(error) },
        "keys.toml can not be watched: its changes are seen some seconds later, or on SIGHUP",
      );
    };
    try {
      // Any name counts: behind a symbolic link another file of the directory changes. Unchanged text is cheap.
      const watcher = watch(dirname(path), { persistent: false }, () => this.#settle());
      watcher.on("error", warn);
      return watcher;
    } catch (error) {
      warn(error);
      return undefined;
    }
  }

  /** One look after the other: a file system that hangs collects none. */
  #lookLater(): void {
    const look = async (): Promise<void> => {
      await this.#enqueue(false);
      if (!this.#isStopped) this.#lookLater();
    };
    this.#look = setTimeout(() => void look(), this.#options.lookMs ?? LOOK_MS).unref();
  }

  #settle(): void {
    const nowMs = performance.now();
    this.#signMs ??= nowMs;
    this.#readIn(Math.max(0, Math.min(SETTLE_MS, this.#signMs + LONGEST_SETTLE_MS - nowMs)));
  }

  #readIn(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#signMs = undefined;
      void this.#enqueue(false);
    }, ms).unref();
  }

  #enqueue(isAsked: boolean): Promise<void> {
    this.#queue = this.#queue.then(async () => this.#readAgain(isAsked));
    return this.#queue;
  }

  /** `isAsked`: somebody says that the file is as it shall be. */
  async #readAgain(isAsked: boolean): Promise<void> {
    const { path, keyring, log } = this.#options;
    try {
      const text = await readKeyringText(path);
      if (this.#isStopped) return;
      if (text !== this.#loaded) {
        const enrolled = new Set(keyring.all().map(({ key }) => key));
        const { keys, requirements } = parseOrThrow(path, text, enrolled);
        const waitMs = isAsked || !lacksOne(keys, enrolled) ? 0 : this.#waitMs(text);
        if (waitMs > 0) return this.#readIn(waitMs);
        this.#loaded = text;
        const revoked = keyring.replace(keys, requirements);
        log.info({ event: "keyring_loaded", path, keys: keys.length, revoked }, "keys.toml loaded");
      }
      this.#setProblem(undefined);
    } catch (error) {
      this.#setProblem(errorText(error));
    }
  }

  /** How long a text that lacks a key must still stand, in ms. */
  #waitMs(text: string): number {
    const nowMs = performance.now();
    if (this.#lacking?.text !== text) this.#lacking = { text, sinceMs: nowMs };
    return Math.max(0, this.#lacking.sinceMs + REMOVAL_SETTLE_MS - nowMs);
  }

  #setProblem(problem: string | undefined): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    const { path, log, onProblem } = this.#options;
    if (problem !== undefined) {
      log.error({ event: "keyring_refused", path, problem }, "keys.toml is refused; the last good one stays in force");
    }
    onProblem?.(problem);
  }
}

function lacksOne(keys: KeyringContents["keys"], enrolled: ReadonlySet<string>): boolean {
  const present = new Set(keys.map(({ key }) => key));
  return [...enrolled].some((key) => !present.has(key));
}

function parseOrThrow(path: string, text: string, checked?: ReadonlySet<string>): KeyringContents {
  const parsed = parseKeyring(text, checked);
  if (parsed.ok) return { keys: parsed.keys, requirements: parsed.requirements };
  throw new Error(`${path}: ${parsed.problem}`);
}

/** @throws Error naming file and fix. */
export async function readKeyringText(path: string): Promise<string> {
  try {
    return await readTrustedText(path);
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
    const isMissing = error.code === "ENOENT";
    const fix = isMissing
      ? "it is missing. Make one with: supervisor init"
      : `it can not be read (${errorText(error)}).`;
    throw new Error(`${path}: ${fix}`, { cause: error });
  }
}
