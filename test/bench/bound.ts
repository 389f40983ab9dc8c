/** Figures that stand for themselves: counted or measured once, with what they have to be. */

export interface Bound {
  readonly title: string;
  readonly value: number;
  readonly unit: string;
  /** Reported alone where there is neither. */
  readonly atMost?: number;
  readonly atLeast?: number;
}

export function isBroken({ value, atMost = Infinity, atLeast = -Infinity }: Bound): boolean {
  // Not a number is nothing measured.
  return !(value <= atMost && value >= atLeast);
}

export function boundText(bound: Bound): string {
  const { title, value, unit, atMost, atLeast } = bound;
  const goals = [
    ...(atMost === undefined ? [] : [`at most ${amount(atMost)}`]),
    ...(atLeast === undefined ? [] : [`at least ${amount(atLeast)}`]),
  ];
  const goal = goals.length === 0 ? "" : `; ${goals.join(", ")}${isBroken(bound) ? ", MISSED" : ""}`;
  return `  ${title}: ${amount(value)} ${unit}${goal}\n`;
}

function amount(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: Math.abs(value) < 10 ? 2 : 0 });
}
