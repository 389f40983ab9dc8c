/** A supervisor or a runner as a process that is killed, frozen and started again under one name. */
import { setTimeout as sleep } from "node:timers/promises";

import { endWithUs } from "../support/guard.ts";
import { RunningProcess } from "../support/process.ts";
import type { Victim } from "./faults.ts";

export interface MemberOptions {
  readonly name: string;
  /** Program and arguments; asked for with each start. */
  readonly argv: () => readonly string[];
  readonly env: () => Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Stands in its output once it is up. */
  readonly ready: RegExp;
  /** Ends all waiting when the run is given up. */
  readonly signal: AbortSignal;
}

/**
 * Between two tries to start, in ms: what it needs may be down as well, and a runner's name is free only a lease after
 * the process that had it was killed.
 */
const RETRY_MS = 250;

export class Member implements Victim {
  readonly name: string;
  readonly #options: MemberOptions;
  /** What earlier processes of this name wrote. */
  readonly #before: string[] = [];
  #process: RunningProcess | undefined;
  #ready: RegExpExecArray | undefined;

  constructor(options: MemberOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** Everything that processes of this name wrote. */
  get output(): string {
    return [...this.#before, this.#process?.output ?? ""].join("\n");
  }

  /** What the present process said when it was ready; of the last one while it starts. */
  get ready(): RegExpExecArray | undefined {
    return this.#ready;
  }

  /** Tries until it is up. @throws what the signal was aborted with. */
  async start(): Promise<void> {
    const { signal, ready } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      const member = this.#spawn();
      try {
        this.#ready = await member.waitFor(ready);
        return;
      } catch {
        // It ended, and says why in its output: something it needs is down.
        await sleep(RETRY_MS, undefined, { signal });
      }
    }
  }

  async kill(): Promise<void> {
    await this.#process?.stop("SIGKILL");
  }

  async freeze(): Promise<void> {
    this.#process?.child.kill("SIGSTOP");
  }

  async thaw(): Promise<void> {
    this.#process?.child.kill("SIGCONT");
  }

  /** Lets it end in order. Resolves with its exit code or the signal that ended it. */
  async stop(): Promise<number | NodeJS.Signals | null> {
    return this.#process?.stop() ?? null;
  }

  #spawn(): RunningProcess {
    const { argv, env, cwd } = this.#options;
    if (this.#process !== undefined) this.#before.push(this.#process.output);
    const member = new RunningProcess(argv(), { env: env(), cwd });
    endWithUs(member.child);
    this.#process = member;
    return member;
  }
}
