/** What goes wrong in a run: each fault is an object, drawn from a seed; a new kind is one more entry of {@link DECK}. */

/** A process that can be hit. Each of these resolves when it is so. */
export interface Victim {
  readonly name: string;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Up and answering again. */
  start(): Promise<void>;
  /** SIGSTOP and SIGCONT. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
}

export interface Victims {
  readonly supervisors: readonly Victim[];
  readonly runners: readonly Victim[];
  readonly redis: Victim;
}

export interface Fault {
  readonly name: string;
  /** Whom it hits: nobody is hit by two faults at a time. */
  readonly victims: readonly Victim[];
  /** Strikes and mends; resolves when all victims are up again. */
  inject(): Promise<void>;
}

export interface PlannedFault {
  readonly fault: Fault;
  /** It strikes when so many jobs have ended. */
  readonly afterEnded: number;
  /** And so many ms later. */
  readonly delayMs: number;
}

export interface FaultsWish {
  readonly count: number;
  readonly kinds: readonly FaultKind[];
  /** Jobs of the run, and how many of them are under way at a time: all of these are when the last fault strikes. */
  readonly jobs: number;
  readonly lanes: number;
  readonly leaseMs: number;
  readonly random: () => number;
  /** Resolves after some ms, or rejects when the run is given up. */
  readonly pause: (ms: number) => Promise<void>;
}

/** What a fault is made from. */
interface Draw extends Pick<FaultsWish, "leaseMs" | "random" | "pause"> {
  readonly victims: Victims;
}

type Kind = (draw: Draw) => Fault;

/** Longest time that a killed process stays away, in leases. */
const MOST_AWAY = 0.6;
/** A kill hits all supervisors or all runners at once this often. */
const ALL_SHARE = 0.25;
const MOST_DELAY_MS = 200;

const DECK = {
  "kill-supervisor": (draw) => killed(oneOrAll(draw.victims.supervisors, draw), draw),
  "kill-runner": (draw) => killed(oneOrAll(draw.victims.runners, draw), draw),
  "kill-redis": (draw) => killed([draw.victims.redis], draw),
  // Up to beyond a lease: half of what was asked of it went elsewhere by then.
  "freeze-supervisor": (draw) => frozen([pick(draw.victims.supervisors, draw)], draw, [0.2, 1.3]),
  // Beyond a lease: what it ran was given to others, and it comes back with outcomes of its own.
  "freeze-runner": (draw) => frozen([pick(draw.victims.runners, draw)], draw, [1.3, 1.8]),
  "freeze-redis": (draw) => frozen([draw.victims.redis], draw, [0.2, 1.3]),
} satisfies Readonly<Record<string, Kind>>;

export type FaultKind = keyof typeof DECK;

export function isFaultKind(name: string): name is FaultKind {
  return Object.hasOwn(DECK, name);
}

/** Every kind there is. */
export const FAULT_KINDS: readonly FaultKind[] = Object.keys(DECK).filter(isFaultKind);

/** Every kind once before any comes again, in an order, at moments and on victims that the random numbers give. */
export function planFaults(wish: FaultsWish, victims: Victims): readonly PlannedFault[] {
  const { count, jobs, lanes, random, kinds } = wish;
  const last = Math.max(1, jobs - lanes);
  const drawn: FaultKind[] = [];
  while (drawn.length < count && kinds.length > 0) drawn.push(...shuffled(kinds, random));
  return drawn.slice(0, count).map((kind, index) => ({
    fault: DECK[kind]({ ...wish, victims }),
    // Spread over the run: one in each stretch of it.
    afterEnded: Math.floor((last * (index + random())) / count),
    delayMs: Math.floor(random() * MOST_DELAY_MS),
  }));
}

function killed(victims: readonly Victim[], { leaseMs, random, pause }: Draw): Fault {
  const awayMs = Math.floor(random() * leaseMs * MOST_AWAY);
  return {
    name: `${namesOf(victims)} killed, away for ${awayMs} ms`,
    victims,
    async inject() {
      await Promise.all(victims.map(async (victim) => victim.kill()));
      await pause(awayMs);
      await Promise.all(victims.map(async (victim) => victim.start()));
    },
  };
}

function frozen(
  victims: readonly Victim[],
  { leaseMs, random, pause }: Draw,
  [least, most]: readonly [number, number],
): Fault {
  const forMs = Math.floor(leaseMs * (least + (most - least) * random()));
  return {
    name: `${namesOf(victims)} frozen for ${forMs} ms`,
    victims,
    async inject() {
      await Promise.all(victims.map(async (victim) => victim.freeze()));
      await pause(forMs);
      await Promise.all(victims.map(async (victim) => victim.thaw()));
    },
  };
}

function namesOf(victims: readonly Victim[]): string {
  return victims.map(({ name }) => name).join(", ");
}

function pick(victims: readonly Victim[], { random }: Draw): Victim {
  const victim = victims[Math.floor(random() * victims.length)];
  if (victim === undefined) throw new RangeError("There is nobody to hit.");
  return victim;
}

function oneOrAll(victims: readonly Victim[], draw: Draw): readonly Victim[] {
  const one = pick(victims, draw);
  return draw.random() < ALL_SHARE ? victims : [one];
}

function shuffled<Item>(items: readonly Item[], random: () => number): readonly Item[] {
  return items
    .map((item) => ({ item, place: random() }))
    .toSorted((one, other) => one.place - other.place)
    .map(({ item }) => item);
}
