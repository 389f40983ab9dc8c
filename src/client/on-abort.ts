/** Many callbacks to one signal over one listener: Node warns of a leak at the eleventh listener of a signal. */

const CALLBACKS = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls back once when the signal aborts, which has not happened yet; returns the way to stop that. */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  const callbacks = CALLBACKS.get(signal) ?? new Set();
  if (callbacks.size === 0) {
    CALLBACKS.set(signal, callbacks);
    signal.addEventListener("abort", ring);
  }
  // The same function may be given twice.
  const own = (): void => callback();
  callbacks.add(own);
  return () => {
    callbacks.delete(own);
    if (callbacks.size === 0) signal.removeEventListener("abort", ring);
  };
}

/** A signal of one's own that aborts with the given one, for callees that listen to it directly; to be let go of. */
export function ownSignal(signal: AbortSignal | undefined): {
  readonly signal: AbortSignal | undefined;
  readonly release: () => void;
} {
  if (signal === undefined || signal.aborted) return { signal, release: () => undefined };
  const controller = new AbortController();
  return { signal: controller.signal, release: onAbort(signal, () => controller.abort(signal.reason)) };
}

function ring({ target }: Event): void {
  if (!(target instanceof AbortSignal)) return;
  for (const callback of CALLBACKS.get(target) ?? []) callback();
}
