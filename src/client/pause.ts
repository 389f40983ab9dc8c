/** Waiting that ends early when nobody waits any more. */
import { onAbort } from "./on-abort.ts";

/** The longest a timer counts, 24.8 days in ms; one that should count longer ends at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Resolves after `ms`, or as soon as one of the signals aborts: the caller looks at them. */
export function pause(ms: number, ...signals: readonly (AbortSignal | undefined)[]): Promise<void> {
  return new Promise((resolve) => {
    const present = signals.filter((signal) => signal !== undefined);
    if (present.some(({ aborted }) => aborted)) {
      resolve();
      return;
    }
    const done = (): void => {
      clearTimeout(timer);
      for (const forget of forgets) forget();
      resolve();
    };
    const timer = setTimeout(done, ms);
    const forgets = present.map((signal) => onAbort(signal, done));
  });
}
