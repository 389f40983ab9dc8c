/** Latencies of two sides taken call by call in turn, so that whatever disturbs the machine disturbs both. */
import type { Comparison, Sample } from "./rounds.ts";

/** One call; resolves with its time in ms. */
export type Call = () => Promise<number>;

/** What a side can be asked, by name. */
export interface CallSide {
  readonly name: string;
  readonly calls: Readonly<Record<string, Call>>;
}

export interface LatencyOptions {
  readonly title: (call: string) => string;
  readonly subject: CallSide;
  readonly baseline: CallSide;
  readonly rounds: number;
  /** Of a round: so many calls of each kind for each second of it, on a slow machine as on a fast one. */
  readonly seconds: number;
  /** What the subject's p99 may be at most, in times of the baseline's. */
  readonly most: number;
  onRound(round: number): void;
}

/** Of one kind on one side. */
const CALLS_PER_SECOND = 250;

/** A comparison for each call that the baseline knows; one round before that counts for nothing. */
export async function compareLatencies(options: LatencyOptions): Promise<readonly Comparison[]> {
  const { subject, baseline, rounds, title, most } = options;
  const names = Object.keys(baseline.calls);
  const samples = new Map(names.map((name) => [name, { subject: [] as Sample[], baseline: [] as Sample[] }]));
  for (let round = -1; round < rounds; round += 1) {
    options.onRound(round + 1);
    const measured = await measureRound(names, options);
    if (round < 0) continue;
    for (const [name, ms] of measured) {
      samples.get(name)?.subject.push(sampleOf(ms.subject));
      samples.get(name)?.baseline.push(sampleOf(ms.baseline));
    }
  }
  return [...samples].map(([name, side]) => ({
    title: title(name),
    unit: "1,000 / p99 in ms",
    required: 1 / most,
    subject: { name: subject.name, samples: side.subject },
    baseline: { name: baseline.name, samples: side.baseline },
  }));
}

interface Taken {
  readonly subject: number[];
  readonly baseline: number[];
}

async function measureRound(
  names: readonly string[],
  { subject, baseline, seconds }: LatencyOptions,
): Promise<ReadonlyMap<string, Taken>> {
  const taken = new Map(names.map((name): [string, Taken] => [name, { subject: [], baseline: [] }]));
  const turns = Math.ceil(seconds * CALLS_PER_SECOND);
  for (let turn = 0; turn < turns; turn += 1) {
    for (const [name, ms] of taken) {
      const ask = async (side: keyof Taken): Promise<void> => {
        const call = (side === "subject" ? subject : baseline).calls[name];
        if (call !== undefined) ms[side].push(await call());
      };
      await ask(turn % 2 === 0 ? "baseline" : "subject");
      await ask(turn % 2 === 0 ? "subject" : "baseline");
    }
  }
  return taken;
}

function sampleOf(ms: readonly number[]): Sample {
  const p99Ms = percentile(ms, 0.99);
  return {
    perSecond: 1000 / p99Ms,
    details: { "median ms": percentile(ms, 0.5), "p99 ms": p99Ms, "longest ms": percentile(ms, 1), calls: ms.length },
  };
}

/** NaN of nothing. */
export function percentile(ms: readonly number[], share: number): number {
  const sorted = ms.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
