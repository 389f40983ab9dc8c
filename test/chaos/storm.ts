/** How hard a storm over the overlay gets, and what must hold after it. */
import { RpcError } from "../../src/client/index.ts";
import { CarrierError, errorText } from "../../src/errors.ts";
import type { Aftermath, Outcome, Storm } from "../support/storm.ts";

type Weather = Omit<Storm, "nodes" | "seed">;

/** A few seconds of everything. */
export const SHORT_STORM: Weather = {
  jobs: 120,
  wave: 10,
  waveEveryMs: 500,
  partitionMs: 1500,
  delaysUpToMs: 300,
  deadlineMs: 30_000,
  repeatAfterMs: 1000,
};

/** As long and as hard as an overlay may get; deadline and repeats as they are by default. */
export const FULL_STORM: Weather = {
  jobs: 2000,
  wave: 25,
  waveEveryMs: 2000,
  partitionMs: 30_000,
  delaysUpToMs: 2000,
  deadlineMs: 120_000,
  repeatAfterMs: 15_000,
};

/** An answer or an error may come so much after the deadline where the machine is busy. */
const SLACK_MS = 5000;

/** What did not hold, in words; nothing where all did. */
export function judgeStorm(after: Aftermath, storm: Storm): readonly string[] {
  const { outcomes, admitted, admissions, states, ran } = after;
  const there = new Set(admitted);
  const answered = outcomes.filter(({ error }) => error === undefined);
  const runs = new Map<string, number>();
  for (const id of ran) runs.set(id, (runs.get(id) ?? 0) + 1);
  const late = outcomes.filter(({ ms }) => ms > storm.deadlineMs + SLACK_MS);
  const unclear = outcomes.filter(({ error }) => error !== undefined && !isClear(error));
  return [
    ...(outcomes.length === storm.jobs ? [] : [`${outcomes.length} callers of ${storm.jobs} heard something`]),
    ...late.map(({ id, ms }) => `${id}: its caller heard nothing before ${Math.round(ms)} ms`),
    ...unclear.map(({ id, error }) => `${id}: its caller was told "${errorText(error)}"`),
    ...answered.filter(({ id }) => !there.has(id)).map(({ id }) => `${id}: answered, and not there`),
    ...(admissions === admitted.length ? [] : [`${admissions} admissions of ${admitted.length} jobs`]),
    ...[...runs].filter(([, count]) => count > 1).map(([id, count]) => `${id}: ran ${count} times`),
    ...[...runs.keys()].filter((id) => !there.has(id)).map((id) => `${id}: ran, and is not there`),
    ...[...states]
      .filter(([, state]) => state !== "completed")
      .map(([id, state]) => `${id}: admitted, and is ${state}`),
    ...admitted.filter((id) => !runs.has(id)).map((id) => `${id}: admitted, and did not run`),
    ...(answered.length > storm.jobs / 2 ? [] : [`only ${answered.length} jobs of ${storm.jobs} were answered`]),
  ];
}

function isClear(error: unknown): boolean {
  return error instanceof CarrierError || error instanceof RpcError;
}

/** What happened, in a few lines. */
export function describeStorm({ outcomes, deeds, blows }: Aftermath): string {
  const failed = outcomes.filter(({ error }) => error !== undefined);
  const slowest = Math.max(...outcomes.map(({ ms }) => ms)) / 1000;
  const told = [...groupBy(failed, whatWasTold)].map(([text, group]) => {
    const times = group.map(({ atMs }) => Math.round(atMs / 1000));
    return `  told ${group.length}, sent ${Math.min(...times)} to ${Math.max(...times)} s after the beginning: ${text}\n`;
  });
  const answered = `${outcomes.length - failed.length} of ${outcomes.length} jobs answered, the slowest after ${slowest.toFixed(1)} s`;
  return `${answered}; ${deeds.length} of ${blows} blows: ${deeds.join(", ")}\n${told.join("")}`;
}

function whatWasTold({ error }: Outcome): string {
  return error instanceof CarrierError ? `${error.message} (applied: ${error.applied})` : errorText(error);
}

function groupBy<Item>(items: readonly Item[], nameOf: (item: Item) => string): ReadonlyMap<string, readonly Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) groups.set(nameOf(item), [...(groups.get(nameOf(item)) ?? []), item]);
  return groups;
}
