/** keys.toml on disk: read with its mode checked, and read again when it changes. */
import { type FSWatcher, watch } from "node:fs";
import { dirname } from "node:path";

import { errorText } from "../errors.ts";
import type { Log } from "../log.ts";
import { type Keyring, type KeyringContents, parseKeyring } from "./keyring.ts";
import { readTrustedText } from "./trusted-file.ts";

/** A change is read this long after its last sign, in ms: editors write in several steps. */
const SETTLE_MS = 100;

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
}

export interface KeyringWatch {
  /** Reads the file now (SIGHUP). Never rejects: a bad file becomes `problem`. */
  reload(): Promise<void>;
  stop(): void;
  /** Why the file in force is an older one; undefined: all is well. Health is red meanwhile. */
  readonly problem: string | undefined;
}

/**
 * Follows a keyring file. A good file replaces the keyring's keys at once; a bad one leaves the last good keys in force
 * and sets `problem`. The directory is watched, since editors and `mv` put a new file in the place of the old one.
 */
export function watchKeyring(options: KeyringWatchOptions): KeyringWatch {
  return new Watch(options);
}

class Watch implements KeyringWatch {
  readonly #options: KeyringWatchOptions;
  readonly #watcher: FSWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;
  #loaded: string | undefined;
  #problem: string | undefined;
  #isStopped = false;
  /** Reloads run one after the other: the last state of the file wins. */
  #queue: Promise<void> = Promise.resolve();

  constructor(options: KeyringWatchOptions) {
    this.#options = options;
    this.#watcher = this.#watchDirectory();
    // What changed between the first load and the watch would else be missed until the next change.
    void this.reload();
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  reload(): Promise<void> {
    this.#queue = this.#queue.then(async () => this.#readAgain());
    return this.#queue;
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#watcher?.close();
  }

  #watchDirectory(): FSWatcher | undefined {
    const { path, log } = this.#options;
    const warn = (error: unknown): void => {
      log.warn(
        { event: "keyring_watch_failed", path, error: errorText(error) },
        "keys.toml is read again on SIGHUP only",
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

  #settle(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.reload(), SETTLE_MS);
    this.#timer.unref();
  }

  async #readAgain(): Promise<void> {
    const { path, keyring, log } = this.#options;
    try {
      const text = await readKeyringText(path);
      if (this.#isStopped) return;
      if (text !== this.#loaded) {
        const { keys, requirements } = parseOrThrow(path, text, new Set(keyring.all().map(({ key }) => key)));
        this.#loaded = text;
        const revoked = keyring.replace(keys, requirements);
        log.info({ event: "keyring_loaded", path, keys: keys.length, revoked }, "keys.toml loaded");
      }
      this.#setProblem(undefined);
    } catch (error) {
      this.#setProblem(errorText(error));
    }
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
