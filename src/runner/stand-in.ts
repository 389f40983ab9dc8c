/**
 * The stand-in: a thread that renews a runner's leases while the runner's own event loop is busy, and ends the processes
 * that must not go on. It is a help: a runner whose stand-in can not be had, or breaks, goes on without it.
 */
import { extname } from "node:path";
import { Worker } from "node:worker_threads";

import { errorText } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Deed, Word } from "./lease-watch.ts";
import type { RenewerRecipe } from "./source.ts";

/** What the thread is started with. */
export interface ThreadSettings {
  readonly leaseMs: number;
  /** For the renewer. */
  readonly options: unknown;
}

export interface StandInOptions {
  readonly leaseMs: number;
  readonly renewer: RenewerRecipe;
  readonly log: Log;
  readonly onDeed: (deed: Deed) => void;
}

export interface StandIn {
  tell(word: Word): void;
  stop(): Promise<void>;
}

/** Milliseconds of the machine's monotonic clock: `performance.now` begins anew in each thread. */
export function machineMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** The address of a module in the same folder, as source or built. */
export function moduleBeside(here: string, name: string): URL {
  return new URL(`${name}${extname(here)}`, here);
}

/**
 * Starts the thread. It is ready in its own time, and loses nothing of what it is told before. None for a program that
 * runs from its source (`npm run dev`): a thread of Node 20 reads no TypeScript.
 */
export function startStandIn({ leaseMs, renewer, log, onDeed }: StandInOptions): StandIn | undefined {
  const { module, options } = renewer;
  if (module.pathname.endsWith(".ts")) return undefined;
  const workerData: ThreadSettings = { leaseMs, options };
  const broke = (error: unknown): void => {
    const text = "nobody renews leases while the event loop is busy";
    log.error({ event: "stand_in_broke", error: errorText(error) }, text);
  };
  let thread: Worker | undefined;
  try {
    thread = new Worker(module, { workerData, execArgv: [] });
  } catch (error) {
    // Thrown, not emitted: no thread is left on the system, or Node's permissions allow none.
    broke(error);
    return undefined;
  }
  thread.on("message", onDeed);
  thread.on("error", (error) => {
    thread = undefined;
    broke(error);
  });
  // What keeps the process up is the runner.
  thread.unref();
  return {
    tell: (word) => thread?.postMessage(word, []),
    stop: async () => void (await thread?.terminate()),
  };
}
