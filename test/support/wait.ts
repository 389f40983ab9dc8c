/** Waiting for a condition instead of by the clock. */
import { setTimeout as sleep } from "node:timers/promises";

/** Asks again and again until it is so. @throws Error when it was not within the limit. */
export async function waitUntil(isSo: () => boolean | Promise<boolean>, limitMs = 20_000): Promise<void> {
  const endMs = performance.now() + limitMs;
  while (!(await isSo())) {
    if (performance.now() > endMs) throw new Error(`Waited ${limitMs} ms in vain: ${isSo.toString()}`);
    await sleep(20);
  }
}
