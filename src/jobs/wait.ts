/** Waiting for a job to change: hints from the store, with a poll behind them, since hints may be lost. */
import type { JobStore } from "../store/store.ts";
import { isTerminal, type JobHead } from "./job.ts";

/** Between two looks without a hint, in ms; jitter of a fifth keeps many waiters from looking at once. */
const POLL_MS = 1000;

export interface Wait<Value> {
  readonly id: string;
  readonly waitMs: number;
  readonly signal: AbortSignal;
  /** Looks once; gives a value when there is nothing to wait for. */
  look(isLast: boolean): Promise<Value | undefined>;
}

/** Looks at once, then after each hint or poll, and a last time at the end of the wait. */
export async function waitFor<Value>(store: Pick<JobStore, "onChange">, wait: Wait<Value>): Promise<Value | undefined> {
  const endMs = performance.now() + wait.waitMs;
  const bell = createBell(wait.signal);
  const stopHints = store.onChange(wait.id, bell.ring);
  try {
    for (;;) {
      const leftMs = endMs - performance.now();
      const isLast = leftMs <= 0 || wait.signal.aborted;
      const value = await wait.look(isLast);
      if (value !== undefined || isLast) return value;
      await bell.wait(Math.min(leftMs, POLL_MS * (0.9 + Math.random() * 0.2)));
    }
  } finally {
    stopHints();
    bell.close();
  }
}

/** Something that can be rung before it is waited for: a hint between look and wait is not lost. */
interface Bell {
  readonly ring: () => void;
  wait(ms: number): Promise<void>;
  close(): void;
}

function createBell(signal: AbortSignal): Bell {
  let hasRung = false;
  let wake: (() => void) | undefined;
  const ring = (): void => {
    hasRung = true;
    wake?.();
  };
  signal.addEventListener("abort", ring, { once: true });
  return {
    ring,
    async wait(ms) {
      if (!hasRung) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, ms);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      hasRung = false;
      wake = undefined;
    },
    close: () => signal.removeEventListener("abort", ring),
  };
}

/** Is there an answer for somebody who saw revision `since`, or who waits for the end? */
export function hasChanged(head: JobHead, since: number | undefined): boolean {
  return isTerminal(head.state) || (since !== undefined && head.revision > since);
}
