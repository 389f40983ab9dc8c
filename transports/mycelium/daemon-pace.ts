/** How quickly a daemon answers, and whether it is its lock that is waited for. */

import type { NodeInfo } from "./daemon-answers.ts";
import type { MyceliumDaemon } from "./daemon.ts";

/** A `/admin` slower than this is looked into. */
const QUICK_MS = 300;

/** What was found. */
export interface DaemonPace {
  readonly node: NodeInfo;
  /** How long an answer takes, in ms. */
  readonly answerMs: number;
  /** How much longer one takes that needs the lock, in ms: somebody else holds it. 0 where all is quick. */
  readonly lockMs: number;
}

/**
 * Asks who the daemon is, by its clock. A slow answer is compared with one that needs no lock and asked for again, so that
 * neither a busy machine nor one wait of somebody else passes for a daemon that others long-poll.
 */
export async function measurePace(daemon: MyceliumDaemon, signal?: AbortSignal): Promise<DaemonPace> {
  const first = await timed(async () => daemon.admin(signal));
  if (first.ms <= QUICK_MS) {
    return { node: first.value, answerMs: first.ms, lockMs: 0 };
  }
  const free = await timed(async () => daemon.answer(signal));
  const again = await timed(async () => daemon.admin(signal));
  const quickest = Math.min(first.ms, again.ms);
  const lockMs = quickest <= QUICK_MS ? 0 : Math.max(0, quickest - free.ms);
  return { node: again.value, answerMs: Math.min(quickest, free.ms), lockMs };
}

async function timed<Value>(run: () => Promise<Value>): Promise<{ readonly value: Value; readonly ms: number }> {
  const startedAt = performance.now();
  const value = await run();
  return { value, ms: performance.now() - startedAt };
}
