/** Waiting for a condition instead of by the clock. */
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Asks again and again until it is so, less often the longer it takes: a question may be a whole command, and many tests
 * wait at a time. What is seen is seen a twentieth late at most.
 * @throws Error when it was not within the limit
 */
export async function waitUntil(isSo: () => boolean | Promise<boolean>, limitMs = 20_000): Promise<void> {
  const startMs = performance.now();
  while (!(await isSo())) {
    const waitedMs = performance.now() - startMs;
    if (waitedMs > limitMs) throw new Error(`Waited ${limitMs} ms in vain: ${isSo.toString()}`);
    await sleep(Math.min(Math.max(waitedMs / 20, 10), 250));
  }
}
