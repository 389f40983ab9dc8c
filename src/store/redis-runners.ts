/** RunnerStore over Redis: the registry in shard 0, its names copied to every shard, queues in all of them. */
import type { SignedRunner } from "../rpc/schema.ts";
import type { RedisAccess } from "./redis-access.ts";
import { isForeignData } from "./redis-errors.ts";
import { RedisRegistry } from "./redis-registry.ts";
import { fingerprint, type Registration } from "./registration.ts";
import { asList, asNumber, asOneOf, asOptional, asText } from "./reply.ts";
import type { Registered, Removed, RunnerRecord, RunnerStore } from "./store.ts";

/** Jobs cancelled by one script. */
const BATCH = 100;
/** Queues looked at by one script. */
const QUEUES = 50;
/** How much of what a runner says of its version is shown. */
const SHOWN_VERSION = 64;

interface Waiting {
  readonly count: number;
  readonly oldestMs?: number;
}

const BEAT_FIELDS = [
  "heartbeat_ms",
  "claimed_ms",
  "finished_ms",
  "running",
  "draining",
  "detached",
  "version",
] as const;

export class RedisRunners implements RunnerStore {
  readonly registry: RedisRegistry;
  readonly #access: RedisAccess;
  readonly #leaseMs: number;

  constructor(access: RedisAccess, leaseMs: number) {
    this.#access = access;
    this.#leaseMs = leaseMs;
    this.registry = new RedisRegistry(access);
  }

  async register(registration: SignedRunner, enrolledBy: string): Promise<Registered> {
    const { keys, scripts } = this.#access;
    const { name, key, iat, exp } = registration.body;
    const groups = registration.body.groups.toSorted();
    const declared = [keys.of(0, "runners"), keys.of(0, "groups"), keys.of(0, "revoked")];
    const what = [fingerprint(registration), JSON.stringify(registration), enrolledBy];
    const [word, number] = asList(await scripts.run("register", declared, [name, key, ...what, iat, exp, ...groups]));
    const outcome = asOneOf(word, ["new", "same", "replaced", "conflict", "revoked", "stale"]);
    if (outcome === "stale") return { outcome, now: asNumber(number) };
    if (outcome !== "conflict" && outcome !== "revoked") {
      // Also for the same again: a call whose supervisor was killed here is mended by repeating it.
      await this.registry.publish({ runner: name, version: asNumber(number), key, names: [name, ...groups] });
    }
    return { outcome };
  }

  async list(): Promise<readonly RunnerRecord[]> {
    const all = await this.registry.all();
    const groups = [...all.values()].flatMap((entry) => entry.groups);
    const { nowMs, queues } = await this.#waiting([...new Set([...all.keys(), ...groups])]);
    return Promise.all([...all].map(async ([name, entry]) => this.#record(name, entry, { nowMs, queues })));
  }

  async registrations(): Promise<readonly SignedRunner[]> {
    return [...(await this.registry.all()).values()].map(({ registration }) => registration);
  }

  async registration(name: string): Promise<SignedRunner | undefined> {
    return (await this.registry.get(name))?.registration;
  }

  async get(name: string): Promise<RunnerRecord | undefined> {
    const entry = await this.registry.get(name);
    if (entry === undefined) return undefined;
    return this.#record(name, entry, await this.#waiting([name, ...entry.groups]));
  }

  async isServed(name: string): Promise<boolean> {
    const { keys, scripts } = this.#access;
    return (await scripts.run("served", [keys.live(name)], [this.#leaseMs])) === "1";
  }

  async remove(name: string, force: boolean): Promise<Removed> {
    const present = await this.registry.get(name);
    if (present === undefined) return { outcome: "missing" };
    // A first look, so that a removal that would be refused does not shut the name for a moment.
    const before = force ? 0 : await this.#countWaiting([name, ...(await this.#onlyServedBy(name, present))]);
    if (before > 0) return { outcome: "has_jobs", waiting: before };
    const [word, version, key, only, groups] = asList(await this.#removeStep("begin", name, ""));
    if (word !== "begun") return { outcome: "missing" };
    const begun = { version: asNumber(version), key: asText(key), groups: words(groups) };
    // From here no shard admits to its names, so what waits can be counted for good.
    await this.registry.publish({ runner: name, version: begun.version, key: begun.key, names: [] });
    const waiting = await this.#countWaiting(words(only));
    if (waiting > 0 && !force) {
      await this.registry.restore(name, begun);
      return { outcome: "has_jobs", waiting };
    }
    const cancelled = waiting === 0 ? 0 : await this.#cancelWaiting(words(only));
    const [done] = asList(await this.#removeStep("commit", name, begun.version));
    // Somebody registered it again or put it back meanwhile: their entry is to be removed as well.
    if (done !== "done") return this.remove(name, force);
    return { outcome: "removed", cancelled };
  }

  async #removeStep(step: "begin" | "commit", name: string, version: number | ""): Promise<unknown> {
    const { keys, scripts } = this.#access;
    const declared = [keys.of(0, "runners"), keys.of(0, "groups"), keys.beat(name)];
    return scripts.run("remove-runner", declared, [step, name, version]);
  }

  /** Groups of which it is the only member. */
  async #onlyServedBy(name: string, { groups }: Registration): Promise<readonly string[]> {
    const others = [...(await this.registry.all())].filter(
      ([other, { removingMs }]) => other !== name && removingMs === undefined,
    );
    const served = new Set(others.flatMap(([, entry]) => entry.groups));
    return groups.filter((group) => !served.has(group));
  }

  async #countWaiting(queues: readonly string[]): Promise<number> {
    const found = await this.#waiting(queues);
    return [...found.queues.values()].reduce((all, { count }) => all + count, 0);
  }

  async #cancelWaiting(queues: readonly string[]): Promise<number> {
    const { keys, scripts } = this.#access;
    let cancelled = 0;
    for (const shard of keys.allShards) {
      for (const queue of queues) {
        const declared = [keys.queue(shard, queue), keys.delayed(shard, queue)];
        let taken: number;
        do {
          const reply = asList(await scripts.run("cancel-queue", declared, ["runner removed", BATCH]));
          taken = asNumber(reply[0]);
          cancelled += asNumber(reply[1]);
        } while (taken > 0);
      }
    }
    return cancelled;
  }

  /** What waits in each queue, summed over the shards. */
  async #waiting(names: readonly string[]): Promise<{ nowMs: number; queues: ReadonlyMap<string, Waiting> }> {
    const { keys, scripts } = this.#access;
    const queues = new Map<string, Waiting>();
    let nowMs = 0;
    const look = async (shard: number, part: readonly string[]): Promise<void> => {
      const declared = part.flatMap((queue) => [keys.queue(shard, queue), keys.delayed(shard, queue)]);
      const [now, ...counts] = asList(await scripts.run("waiting", declared, []));
      nowMs = Math.max(nowMs, asNumber(now));
      for (const [index, queue] of part.entries()) queues.set(queue, sum(queues.get(queue), asList(counts[index])));
    };
    const parts = names.length === 0 ? [] : chunks(names, QUEUES);
    await Promise.all(keys.allShards.flatMap((shard) => parts.map(async (part) => look(shard, part))));
    return { nowMs, queues };
  }

  /** A runner's own Redis user may write anything there, and must not hide the other runners by it. */
  async #beat(name: string): Promise<readonly unknown[]> {
    const { connection, keys } = this.#access;
    try {
      return asList(await connection.call("HMGET", keys.beat(name), ...BEAT_FIELDS));
    } catch (error) {
      if (isForeignData(error)) return [];
      throw error;
    }
  }

  async #record(
    name: string,
    entry: Registration,
    { nowMs, queues }: { readonly nowMs: number; readonly queues: ReadonlyMap<string, Waiting> },
  ): Promise<RunnerRecord> {
    const beat = await this.#beat(name);
    const [heartbeatMs, claimedMs, finishedMs, running] = beat.slice(0, 4).map(evidenceOf);
    const version = asOptional(beat[6], asText)?.slice(0, SHOWN_VERSION);
    const mine = [name, ...entry.groups].flatMap((queue) => queues.get(queue) ?? []);
    const oldestMs = Math.min(...mine.map((waiting) => waiting.oldestMs ?? Infinity));
    return {
      registration: entry.registration,
      enrolledBy: entry.enrolledBy,
      registeredMs: entry.registeredMs,
      nowMs,
      ...(version === undefined ? {} : { version }),
      ...(heartbeatMs === undefined ? {} : { heartbeatMs }),
      ...(claimedMs === undefined ? {} : { claimedMs }),
      ...(finishedMs === undefined ? {} : { finishedMs }),
      running: running ?? 0,
      isDraining: beat[4] === "1",
      isDetached: beat[5] === "1",
      waiting: mine.reduce((all, { count }) => all + count, 0),
      // An age, as the API shows it.
      ...(oldestMs === Infinity ? {} : { oldestWaitingMs: Math.max(0, nowMs - oldestMs) }),
    };
  }
}

/** What can not be true is no evidence. */
function evidenceOf(reply: unknown): number | undefined {
  const value = typeof reply === "string" && reply !== "" ? Number(reply) : Number.NaN;
  return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

function words(reply: unknown): readonly string[] {
  return asText(reply)
    .split(" ")
    .filter((word) => word !== "");
}

function sum(before: Waiting | undefined, [count, oldest]: readonly unknown[]): Waiting {
  const oldestMs = Math.min(before?.oldestMs ?? Infinity, asOptional(oldest, asNumber) ?? Infinity);
  return {
    count: (before?.count ?? 0) + asNumber(count),
    ...(oldestMs === Infinity ? {} : { oldestMs }),
  };
}

function chunks<Item>(items: readonly Item[], size: number): readonly (readonly Item[])[] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, at) => items.slice(at * size, (at + 1) * size));
}
