/**
 * One process of a job, in a process group of its own: started → (asked to end) → exited → group and leftovers killed →
 * output read to its end, or for a moment.
 */
import { type ChildProcess as NodeChild, spawn } from "node:child_process";
import { constants } from "node:os";
import type { Readable } from "node:stream";

import { errorText } from "../errors.ts";
import { killLeftovers } from "./leftovers.ts";
import type { OutputPair } from "./output-pipes.ts";
import { signalGroup } from "./process-group.ts";
import { ensureGuard, noteGone, noteRunning } from "./running-groups.ts";
import { pause } from "./wake.ts";

/** How many moments the pipes are read after the exit while something comes out of them. */
const MOST_MOMENTS = 10;

export interface ChildSettings {
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  /** An open file; without it standard input is empty. */
  readonly stdin?: number;
  /** Where it prints to. */
  readonly output: OutputPair;
  /** The attempt's scratch directory: what outlives the group is found by it. */
  readonly scratchPath: string;
  readonly killGraceMs: number;
  readonly pipeGraceMs: number;
  /** Takes a piece of output; the process is held back until it resolves. */
  onOutput(stream: "stdout" | "stderr", chunk: Uint8Array): Promise<void>;
  /** Its process group has begun, or is gone: undefined. */
  onGroup(group: number | undefined): void;
  /** No more is read: what is being taken is not to be held back any longer. */
  onCutOff(): void;
}

export type ChildEnd =
  /** Exit code, or 128 + the signal's number. */
  | { readonly isStarted: true; readonly code: number; readonly signal?: NodeJS.Signals }
  | { readonly isStarted: false; readonly reason: string };

export class ChildProcess {
  readonly ended: Promise<ChildEnd>;
  readonly #settings: ChildSettings;
  #child: NodeChild | undefined;
  #hasExited = false;
  /** Pieces of output read, and how many of them are being taken at this moment. */
  #chunks = 0;
  #taking = 0;
  #killTimer: NodeJS.Timeout | undefined;

  constructor(settings: ChildSettings) {
    this.#settings = settings;
    this.ended = this.#run();
  }

  /** True from the moment the process itself is gone; its output may still be read. */
  get hasExited(): boolean {
    return this.#hasExited;
  }

  /** SIGTERM to the group, SIGKILL after the grace. Asking again changes nothing. */
  terminate(): void {
    if (this.#killTimer !== undefined || this.#hasExited) return;
    this.#signalGroup("SIGTERM");
    this.#killTimer = setTimeout(() => this.kill(), this.#settings.killGraceMs);
  }

  /** SIGKILL to the group, at once. */
  kill(): void {
    if (!this.#hasExited) this.#signalGroup("SIGKILL");
  }

  async #run(): Promise<ChildEnd> {
    const started = this.#start();
    if (!started.ok) return { isStarted: false, reason: started.reason };
    const { child, stdout, stderr } = started;
    const readers = Promise.all([this.#read("stdout", stdout), this.#read("stderr", stderr)]);
    const exit = await exitOf(child, () => this.#onExit());
    if ("error" in exit) {
      stdout.destroy();
      stderr.destroy();
      await readers;
      return { isStarted: false, reason: cannotStart(this.#settings, exit.error) };
    }
    await killLeftovers(this.#settings.scratchPath);
    await this.#readRest(readers);
    stdout.destroy();
    stderr.destroy();
    this.#settings.onCutOff();
    await readers;
    const { code, signal } = exit;
    if (signal === null) return { isStarted: true, code: code ?? -1 };
    return { isStarted: true, code: 128 + constants.signals[signal], signal };
  }

  #start():
    | { readonly ok: true; readonly child: NodeChild; readonly stdout: Readable; readonly stderr: Readable }
    | { readonly ok: false; readonly reason: string } {
    const { command, env, workingDirectory, stdin, output } = this.#settings;
    const [program, ...args] = command;
    ensureGuard();
    try {
      const child = spawn(program, args, {
        cwd: workingDirectory,
        env,
        // A session and process group of its own: one signal reaches everything it forks.
        detached: true,
        shell: false,
        stdio: [stdin ?? "ignore", ...output.stdio],
      });
      this.#child = child;
      if (child.pid !== undefined) {
        noteRunning(child.pid);
        this.#settings.onGroup(child.pid);
      }
      return { ok: true, child, ...output.readers(child) };
    } catch (error) {
      // Thrown, not emitted, for what can not even be handed to the system: a NUL in a value, no memory to fork. Behind the
      // start itself a process is there already, and nobody would look after it.
      this.#child?.on("error", () => undefined);
      if (this.#child !== undefined) this.#onExit();
      output.discard();
      return { ok: false, reason: cannotStart(this.#settings, error) };
    }
  }

  /** In the turn in which the exit is learnt: later the number of the group could be another's. */
  #onExit(): void {
    clearTimeout(this.#killTimer);
    this.#signalGroup("SIGKILL");
    if (this.#child?.pid !== undefined) noteGone(this.#child.pid);
    this.#hasExited = true;
    this.#settings.onGroup(undefined);
  }

  #signalGroup(signal: NodeJS.Signals): void {
    const pid = this.#child?.pid;
    if (pid !== undefined && !this.#hasExited) signalGroup(pid, signal);
  }

  /** Everything the process printed, however slowly it is taken; of one that holds the pipes for ever, a moment. */
  async #readRest(readers: Promise<unknown>): Promise<void> {
    const ended = new AbortController();
    const end = readers.then(() => ended.abort());
    for (let moment = 0; moment < MOST_MOMENTS && !ended.signal.aborted; moment += 1) {
      const before = this.#chunks;
      await pause(this.#settings.pipeGraceMs, ended.signal);
      if (this.#chunks === before && this.#taking === 0) return;
    }
    if (ended.signal.aborted) await end;
  }

  /** Pulls, so that a process that floods waits for the log and not the log for memory. */
  async #read(name: "stdout" | "stderr", stream: Readable): Promise<void> {
    try {
      for await (const chunk of stream) {
        if (!(chunk instanceof Uint8Array)) continue;
        this.#chunks += 1;
        this.#taking += 1;
        await this.#settings.onOutput(name, chunk);
        this.#taking -= 1;
      }
    } catch {
      // Destroyed after the moment, or the pipe broke: what was read stands, and there is no more.
    }
  }
}

type Exit = { readonly code: number | null; readonly signal: NodeJS.Signals | null } | { readonly error: Error };

/** `exit` and not `close`: a process outside the group may hold the pipes open for ever. */
function exitOf(child: NodeChild, onExit: () => void): Promise<Exit> {
  return new Promise((resolve) => {
    child.once("exit", (code, signal) => {
      onExit();
      resolve({ code, signal });
    });
    child.on("error", (error) => {
      // After the start it only says that a signal could not be sent, which the signal's sender does not rely on.
      if (child.pid === undefined) resolve({ error });
    });
  });
}

function cannotStart({ command, workingDirectory }: ChildSettings, error: unknown): string {
  return `cannot start "${command[0]}" in ${workingDirectory}: ${errorText(error)}`;
}
