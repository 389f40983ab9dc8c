/** Whether runners sat while jobs waited, told by the jobs' own times (all by Redis' clock). */

export interface Served {
  readonly id: string;
  readonly state: string;
  /** Who ran it. */
  readonly runner: string;
  readonly attempt: number;
  readonly admittedMs: number;
  readonly startedMs: number;
  readonly finishedMs: number;
}

export interface Idleness {
  /** Longest time that a runner had no job at all while at least one waited. */
  readonly longestMs: number;
  /** Of the slots' time in which jobs waited, how much they stood free. */
  readonly share: number;
}

interface Change {
  readonly atMs: number;
  readonly waiting: number;
  readonly runner: string;
  readonly running: number;
}

export function idleness(
  served: readonly Served[],
  { runners, slots }: { readonly runners: readonly string[]; readonly slots: number },
): Idleness {
  const crew = new Map(runners.map((name) => [name, { slots, running: 0, satMs: 0, longestMs: 0, freeMs: 0 }]));
  let [waiting, waitedMs, before] = [0, 0, 0];
  for (const { atMs, ...change } of changesOf(served)) {
    const ms = atMs - before;
    before = atMs;
    if (ms > 0) {
      const stoodMs = waiting > 0 ? ms : 0;
      waitedMs += stoodMs;
      for (const member of crew.values()) pass(member, stoodMs);
    }
    waiting += change.waiting;
    const member = crew.get(change.runner);
    if (member !== undefined) member.running += change.running;
  }
  const all = [...crew.values()];
  const freeMs = all.reduce((sum, member) => sum + member.freeMs, 0);
  return {
    longestMs: Math.max(0, ...all.map((member) => member.longestMs)),
    share: waitedMs === 0 ? 0 : freeMs / (waitedMs * slots * all.length),
  };
}

interface Member {
  readonly slots: number;
  running: number;
  /** Without a job until now, and at the most. */
  satMs: number;
  longestMs: number;
  freeMs: number;
}

/** Time goes by, in which jobs waited for so long: all of it or none. */
function pass(member: Member, stoodMs: number): void {
  member.satMs = stoodMs > 0 && member.running === 0 ? member.satMs + stoodMs : 0;
  member.longestMs = Math.max(member.longestMs, member.satMs);
  member.freeMs += (member.slots - member.running) * stoodMs;
}

/** In their order; within a millisecond a slot is left before it is taken. */
function changesOf(served: readonly Served[]): readonly Change[] {
  return served
    .flatMap(({ runner, admittedMs, startedMs, finishedMs }): Change[] => [
      { atMs: admittedMs, waiting: 1, runner, running: 0 },
      { atMs: startedMs, waiting: -1, runner, running: 1 },
      { atMs: finishedMs, waiting: 0, runner, running: -1 },
    ])
    .toSorted((a, b) => a.atMs - b.atMs || a.running - b.running);
}
