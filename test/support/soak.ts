/** How thorough a run is: `npm test` is over in minutes; SOAK=1 (`npm run test:soak`) tries all there is. */

export const isSoak = process.env["SOAK"] === "1";

/** All rows in a soak; else every `step`th, always the same ones. */
export function soakOrEvery<Row>(step: number, rows: readonly Row[]): readonly Row[] {
  return isSoak ? rows : rows.filter((_, index) => index % step === 0);
}
