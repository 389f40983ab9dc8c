/** Of long lists of mutations a run tries every fifth, another fifth each day; SOAK=1 tries all, MUTANTS=3 that fifth of 0 to 4. */
import { isSoak } from "../support/soak.ts";

const FIFTHS = 5;
const DAY_MS = 86_400_000;

const wanted = process.env["MUTANTS"] ?? String(Math.floor(Date.now() / DAY_MS) % FIFTHS);
if (!/^[0-4]$/u.test(wanted)) throw new RangeError(`MUTANTS is a number from 0 to 4, not ${wanted}.`);

/** What is tried, in words for a test's title. */
export const SAMPLE = isSoak ? "all of them" : `MUTANTS=${wanted} of 0 to ${FIFTHS - 1}`;

export function isSampled(index: number): boolean {
  return isSoak || index % FIFTHS === Number(wanted);
}
