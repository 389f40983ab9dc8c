/** One thing `supervisor doctor` looked at. */

export interface Check {
  readonly what: string;
  readonly verdict: "good" | "warning" | "fault";
  /** What was found, and the fix where it is not good. */
  readonly says: string;
}
