/** Of long lists of mutations one run tries every fifth, another fifth each day; MUTANTS=all tries all, MUTANTS=0 to 4 that fifth. */
const FIFTHS = 5;
const DAY_MS = 86_400_000;

const wanted = process.env["MUTANTS"] ?? String(Math.floor(Date.now() / DAY_MS) % FIFTHS);
if (!/^(?:all|[0-4])$/u.test(wanted)) throw new RangeError(`MUTANTS is "all" or a number from 0 to 4, not ${wanted}.`);

/** What is tried, in words for a test's title. */
export const SAMPLE = wanted === "all" ? "all of them" : `MUTANTS=${wanted} of 0 to ${FIFTHS - 1}`;

export function isSampled(index: number): boolean {
  return wanted === "all" || index % FIFTHS === Number(wanted);
}
