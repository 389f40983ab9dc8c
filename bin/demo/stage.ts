/** Where the demo plays: its directory, its processes, its words; and the end of all of them. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { styled, type Terminal } from "../terminal.ts";
import { Child } from "./child.ts";
import { Guard } from "./guard.ts";

export class Stage {
  readonly terminal: Terminal;
  /** Everything the demo writes is in here. */
  readonly directory: string;
  /** Ends with the terminal's stop, and with the terminal itself (SIGHUP). */
  readonly signal: AbortSignal;
  readonly #showsLogs: boolean;
  readonly #children: Child[] = [];
  readonly #guard: Guard;
  readonly #stopReloads: () => void;

  constructor(terminal: Terminal, { directory, showsLogs }: { directory: string; showsLogs: boolean }) {
    const hangup = new AbortController();
    this.terminal = terminal;
    this.directory = directory;
    this.signal = AbortSignal.any([terminal.stop, hangup.signal]);
    this.#showsLogs = showsLogs;
    this.#stopReloads = terminal.onReload(() => hangup.abort());
    this.#guard = new Guard(directory);
  }

  /** The environment of the demo's processes: ours, without settings that are meant for another supervisor. */
  get env(): Readonly<Record<string, string | undefined>> {
    const { env } = this.terminal;
    return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("SUPERVISOR_")));
  }

  /** Tells the person what happens. */
  step(text: string): void {
    this.terminal.err(`${styled(this.terminal, "bold", "demo:")} ${text}\n`);
  }

  /** Starts a process, to be stopped at the end. It runs in the demo's directory, where no settings file lies. */
  start(name: string, argv: readonly string[], env: Readonly<Record<string, string>> = {}): Child {
    const onLine = (line: string): void =>
      this.terminal.err(`${styled(this.terminal, "dim", `${name.padEnd(10)} |`)} ${line}\n`);
    const child = new Child(name, {
      argv,
      env: { ...this.env, ...env },
      cwd: this.directory,
      onLine: this.#showsLogs ? onLine : undefined,
    });
    this.#children.push(child);
    this.#guard.watch(child.pid);
    return child;
  }

  /** Resolves when it is told to stop. @throws Error when one of the processes ends before that */
  async untilStopped(): Promise<void> {
    const over = new AbortController();
    const either = AbortSignal.any([this.signal, over.signal]);
    try {
      const first = await Promise.race(this.#children.map(async (child) => child.ended(either).then(() => child)));
      throw new Error(`${first.name} ended by itself:\n${first.lastWords}`);
    } catch (error) {
      if (!this.signal.aborted) throw error;
    } finally {
      over.abort();
    }
  }

  /** Stops everything in reverse order, and removes what was written. */
  async close(): Promise<void> {
    for (const child of this.#children.toReversed()) await child.stop();
    await rm(this.directory, { recursive: true, force: true });
    await this.#guard.dismiss();
    this.#stopReloads();
    this.step("stopped; no process, port or temporary file is left");
  }
}

/** Opens a stage, plays on it, and closes it in any case. */
export async function withStage<Value>(
  terminal: Terminal,
  { showsLogs, play }: { readonly showsLogs: boolean; readonly play: (stage: Stage) => Promise<Value> },
): Promise<Value> {
  const directory = await mkdtemp(join(tmpdir(), "horus-demo-"));
  const stage = new Stage(terminal, { directory, showsLogs });
  try {
    return await play(stage);
  } finally {
    await stage.close();
  }
}
