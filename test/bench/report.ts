/** The figures as a person reads them. */
import type { Bound } from "./bound.ts";
import type { Machine } from "./machine.ts";
import { type Comparison, median, medianRate, ratios, type Sample } from "./rounds.ts";

/** Comparisons, figures that stand for themselves, and what was left out with the reason. */
export interface Figures {
  readonly comparisons: readonly Comparison[];
  readonly bounds?: readonly Bound[];
  readonly notMeasured: readonly string[];
}

export function machineText({ date, cpu, cores, load, node, openssl, redis }: Machine): string {
  const versions = `node ${node}, OpenSSL ${openssl}, Redis ${redis}`;
  return `${date}\n${cpu}, ${cores} cores, load ${load.toFixed(2)} before the start\n${versions}\n`;
}

export function comparisonText(comparison: Comparison): string {
  const { title, unit, subject, baseline, required, aim } = comparison;
  const { ofMedians, ofRounds } = ratios(comparison);
  const rows = ofRounds.map((ratio, round) => [
    String(round + 1),
    amount(subject.samples[round]?.perSecond),
    amount(baseline.samples[round]?.perSecond),
    ratio.toFixed(2),
  ]);
  rows.push(["median", amount(medianRate(subject)), amount(medianRate(baseline)), ofMedians.toFixed(3)]);
  const spread = `${Math.min(...ofRounds).toFixed(2)} to ${Math.max(...ofRounds).toFixed(2)}`;
  const goals = [
    ...(required === undefined ? [] : [`required ${required}${ofMedians < required ? ", MISSED" : ""}`]),
    ...(aim === undefined ? [] : [`aim ${aim}`]),
  ];
  return [
    `${title} (${unit})`,
    ...columns([["round", subject.name, baseline.name, "ratio"], ...rows]),
    `  ratio of medians ${ofMedians.toFixed(3)}, of rounds ${spread}${goals.length === 0 ? "" : `; ${goals.join(", ")}`}`,
    ...[subject, baseline].map(({ name, samples }) => `  ${name}: ${detailText(samples)}`),
    "",
  ].join("\n");
}

/** Medians of what else was counted. */
function detailText(samples: readonly Sample[]): string {
  const names = Object.keys(samples[0]?.details ?? {});
  const medians = names.map((name) => {
    const value = median(samples.map(({ details }) => details?.[name] ?? Number.NaN));
    return `${name} ${value < 10 ? value.toFixed(2) : amount(value)}`;
  });
  return medians.length === 0 ? "no details" : medians.join(", ");
}

function amount(value = Number.NaN): string {
  return Math.round(value).toLocaleString("en-US");
}

function columns(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) => `  ${row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join("  ")}`);
}
