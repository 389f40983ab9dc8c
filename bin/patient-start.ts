/** The start of a runner whose name another process has, or had a moment ago. */
import { setTimeout as sleep } from "node:timers/promises";

import type { Log } from "../src/log.ts";
import { type Runner, RunnerError } from "../src/runner/index.ts";

/** Between two tries, in ms. */
const AGAIN_MS = 250;
/** Less than any two heartbeats are apart, in ms. */
const HEARD_AGAIN_MS = 150;

/**
 * Starts it. A process of that name that was killed is heard of no more, and its lease is waited for; one that is heard of
 * again meanwhile lives. False: told to stop before it came so far.
 * @throws RunnerError when the name is taken for good, or for any other refusal
 */
export async function startPatiently(runner: Pick<Runner, "start">, log: Log, stop: AbortSignal): Promise<boolean> {
  /** When the other process was first heard of, by our own clock; not after this. */
  let heardMs: number | undefined;
  while (!stop.aborted) {
    const askedMs = performance.now();
    try {
      await runner.start();
      return true;
    } catch (error) {
      const ageMs = error instanceof RunnerError ? error.heartbeatAgeMs : undefined;
      if (ageMs === undefined) throw error;
      // Not before this, whenever the answer came: a slow answer must not look like a heartbeat.
      if (heardMs !== undefined && askedMs - ageMs > heardMs + HEARD_AGAIN_MS) throw error;
      if (heardMs === undefined) {
        const text = "a process of this name was there a moment ago: waiting until its lease is over";
        log.warn({ event: "name_taken", heartbeat_age_ms: ageMs }, text);
      }
      heardMs ??= performance.now() - ageMs;
    }
    await sleep(AGAIN_MS, undefined, { signal: stop }).catch(() => undefined);
  }
  return false;
}
