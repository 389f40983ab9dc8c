/** Waiting for a condition instead of by the clock. */
import { setTimeout as sleep } from "node:timers/promises";

/** What an answer may be as long as it is not so. */
type NotYet = false | undefined | null;

/**
 * Asks again and again until it is so, less often the longer it takes: a question may be a whole command, and many tests
 * wait at a time. What is seen is seen a twentieth late at most.
 * @returns the answer
 * @throws Error when it was not within the limit
 */
export async function waitUntil<T>(ask: () => T | Promise<T>, limitMs = 20_000): Promise<Exclude<T, NotYet>> {
  const startMs = performance.now();
  for (;;) {
    const answer = await ask();
    if (isSo(answer)) return answer;
    const waitedMs = performance.now() - startMs;
    if (waitedMs > limitMs) throw new Error(`Waited ${limitMs} ms in vain: ${ask.toString()}`);
    await sleep(Math.min(Math.max(waitedMs / 20, 10), 250));
  }
}

function isSo<T>(answer: T): answer is Exclude<T, NotYet> {
  return answer !== false && answer !== undefined && answer !== null;
}

/**
 * Does something every so many milliseconds, one after the other, while `during` is at work; the last one is over at the end.
 * @throws what either of them threw
 */
export async function meanwhile(everyMs: number, deed: () => unknown, during: () => Promise<unknown>): Promise<void> {
  const over = new AbortController();
  const repeat = async (): Promise<void> => {
    while (!over.signal.aborted) {
      await deed();
      await sleep(everyMs);
    }
  };
  await Promise.all([during().finally(() => over.abort()), repeat()]);
}
