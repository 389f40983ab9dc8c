/** Parts of a command that go on at the same time. */

/**
 * Runs the parts to their ends; where one fails the others are stopped first, so that nothing is left behind that could fail
 * with nobody there to hear of it.
 * @throws whatever failed first in the order of the parts.
 */
export async function sideBySide(
  stop: AbortSignal,
  parts: readonly ((signal: AbortSignal) => Promise<void>)[],
): Promise<void> {
  const failing = new AbortController();
  const signal = AbortSignal.any([stop, failing.signal]);
  const ends = await Promise.allSettled(
    parts.map(async (part) => {
      try {
        await part(signal);
      } catch (error) {
        failing.abort(error);
        throw error;
      }
    }),
  );
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}
