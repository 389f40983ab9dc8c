/** Waiting for a part of the demo to be there. */
import { setTimeout as sleep } from "node:timers/promises";

import type { Child } from "./child.ts";

const LIMIT_MS = 20_000;

export interface Waiting {
  /** What is waited for, as an error says it. */
  readonly what: string;
  readonly isSo: () => Promise<boolean>;
  /** Whose work it is: when it ends before, the wait is in vain. */
  readonly child: Child;
  readonly signal: AbortSignal;
}

/**
 * Asks every 50 ms until it is so.
 * @throws Error with the child's last words when it ended or time is over; the signal's reason when it aborts.
 */
export async function waitUntil({ what, isSo, child, signal }: Waiting): Promise<void> {
  const endMs = performance.now() + LIMIT_MS;
  while (!(await isSo())) {
    signal.throwIfAborted();
    if (!child.isUp) throw new Error(`${child.name} ended while waiting for ${what}:\n${child.lastWords}`);
    if (performance.now() > endMs) {
      throw new Error(`Waited ${LIMIT_MS / 1000} s for ${what}, in vain.\n${child.lastWords}`);
    }
    await sleep(50);
  }
}
