/** Two things measured alternately, and what can be said of them on a machine that is never quiet. */

/** One round of one side: how much a second, and whatever else was counted. */
export interface Sample {
  readonly perSecond: number;
  /** Means of the round by name, with the unit in the name. */
  readonly details?: Readonly<Record<string, number>>;
}

export interface Side {
  readonly name: string;
  measure(): Promise<Sample>;
}

/** All rounds of both sides, in the order they ran. */
export interface Comparison {
  readonly title: string;
  readonly unit: string;
  readonly subject: { readonly name: string; readonly samples: readonly Sample[] };
  readonly baseline: { readonly name: string; readonly samples: readonly Sample[] };
  /** What the ratio has to be, and what it shall become. */
  readonly required?: number;
  readonly aim?: number;
}

export interface ComparisonOptions {
  readonly title: string;
  readonly unit: string;
  readonly subject: Side;
  readonly baseline: Side;
  readonly rounds: number;
  readonly required?: number;
  readonly aim?: number;
}

/**
 * Baseline and subject in turn, so that what disturbs the machine disturbs both; one round of each before that counts
 * for nothing (compilers warm up, connections are made).
 */
export async function compare({ rounds, subject, baseline, ...about }: ComparisonOptions): Promise<Comparison> {
  const samples = { subject: [] as Sample[], baseline: [] as Sample[] };
  await baseline.measure();
  await subject.measure();
  for (let round = 0; round < rounds; round += 1) {
    samples.baseline.push(await baseline.measure());
    samples.subject.push(await subject.measure());
  }
  return {
    ...about,
    subject: { name: subject.name, samples: samples.subject },
    baseline: { name: baseline.name, samples: samples.baseline },
  };
}

/** The middle one, or the mean of the two in the middle; NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const lower = sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
  return (lower + upper) / 2;
}

export interface Ratios {
  /** Median of the subject over median of the baseline: the figure that counts. */
  readonly ofMedians: number;
  /** Subject over baseline of each round: their spread says how far to believe the first. */
  readonly ofRounds: readonly number[];
}

export function ratios({ subject, baseline }: Pick<Comparison, "subject" | "baseline">): Ratios {
  return {
    ofMedians: medianRate(subject) / medianRate(baseline),
    ofRounds: subject.samples.map(
      ({ perSecond }, round) => perSecond / (baseline.samples[round]?.perSecond ?? Number.NaN),
    ),
  };
}

export function medianRate({ samples }: Comparison["subject"]): number {
  return median(samples.map(({ perSecond }) => perSecond));
}

/** Below what is required? */
export function isMissed(comparison: Comparison): boolean {
  return comparison.required !== undefined && ratios(comparison).ofMedians < comparison.required;
}
