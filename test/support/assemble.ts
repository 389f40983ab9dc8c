/** Systems of many parts: started one after the other, stopped in reverse, also where one of them does not start. */

/** Notes how a part is ended; called as soon as the part stands. */
export type OnEnd = (end: () => Promise<unknown>) => void;

/** Starts the whole; `await using` ends its parts, the last one first. @throws what `start` throws, with nothing left behind */
export async function assemble<Whole extends object>(
  start: (onEnd: OnEnd) => Promise<Whole>,
): Promise<Whole & AsyncDisposable> {
  const ends: (() => Promise<unknown>)[] = [];
  const end = async (): Promise<void> => {
    for (const each of ends.splice(0).toReversed()) await each();
  };
  try {
    return { ...(await start((each) => void ends.push(each))), [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    throw error;
  }
}
