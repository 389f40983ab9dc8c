/** The rules of jobs as a plain model in memory, and commands that do the same to the model and to a store. */
import { deepEqual, equal, ok, rejects } from "node:assert/strict";

import { type AsyncCommand, boolean, constantFrom, integer, nat, record } from "fast-check";

import type { JobState } from "../../src/rpc/schema.ts";
import type { Finish, Lease } from "../../src/runner/source.ts";
import type { RedisJobSource } from "../../src/store/redis-source.ts";
import type { Admission, Store } from "../../src/store/store.ts";
import { faultsIn, readDatabase, toHash } from "./store-faults.ts";
import { anAdmission, aToken, type Fixture } from "./store.ts";

interface ModelJob {
  readonly admission: Admission;
  /** Its place: what was admitted first comes first within a priority. */
  readonly place: number;
  state: JobState;
  attempt: number;
  failures: number;
  losses: number;
  logCount: number;
  isCancelling: boolean;
  reason: string | undefined;
  /** Of the attempt that runs. */
  token: string | undefined;
  attemptLogCount: number;
  /** What ended the last attempt of its own accord: the same again gets the same answer. */
  settled: string | undefined;
}

/** The rules (spec: jobs-and-redis, "States"), without Redis. */
export class Model {
  readonly jobs = new Map<string, ModelJob>();
  readonly buried = new Map<string, Admission>();
  /** Every lease there ever was: stale ones must be refused for ever. */
  readonly leases: Lease[] = [];
  /** After a jump of the clock nothing is reaped for one lease: leases that ran out meanwhile. */
  readonly overdue = new Set<string>();
  isOnHold = false;

  get ids(): readonly string[] {
    return [...this.jobs.keys(), ...this.buried.keys()];
  }

  waiting(): readonly ModelJob[] {
    return [...this.jobs.values()]
      .filter(({ state }) => state === "pending")
      .toSorted((a, b) => b.admission.priority - a.admission.priority || a.place - b.place);
  }

  holder({ id, attempt, token }: Lease): ModelJob | undefined {
    const job = this.jobs.get(id);
    return job?.state === "running" && job.attempt === attempt && job.token === token ? job : undefined;
  }

  leave(job: ModelJob, state: JobState, reason: string | undefined): void {
    this.overdue.delete(job.admission.id);
    job.state = state;
    job.reason = reason;
    job.token = undefined;
    job.isCancelling = false;
  }
}

export interface Real {
  readonly fixture: Fixture;
  readonly store: Store;
  /** Runners of one group. Whichever of them calls, a lease counts for itself. */
  readonly sources: readonly RedisJobSource[];
  readonly inOrder: boolean;
  /** The monotonic clock against which Redis' is judged goes so much further, in ms. */
  readonly jump: (ms: number) => void;
}

type Command = AsyncCommand<Model, Real>;

/** Makes a command from what it needs, what it does, and how a failed run shows it. */
function command(
  name: string,
  isPossible: (model: Model) => boolean,
  run: (model: Model, real: Real) => Promise<void>,
): Command {
  return {
    check: (model) => isPossible(model),
    async run(model, real) {
      await run(model, real);
      await expectSound(model, real);
    },
    toString: () => name,
  };
}

function pick<Item>(items: readonly Item[], at: number): Item {
  const item = items[at % items.length];
  if (item === undefined) throw new Error("nothing to pick from");
  return item;
}

const hasJobs = (model: Model): boolean => model.ids.length > 0;
const hasLeases = (model: Model): boolean => model.leases.length > 0;

const admit = record({
  priority: integer({ min: 0, max: 9 }),
  maxAttempts: integer({ min: 1, max: 3 }),
  onLoss: constantFrom("retry" as const, "retry" as const, "fail" as const),
}).map((wanted) =>
  command(
    `admit(${JSON.stringify(wanted)})`,
    () => true,
    async (model, { store }) => {
      const admission = anAdmission(wanted);
      deepEqual(await store.jobs.admit(admission), { outcome: "new", state: "pending" });
      model.jobs.set(admission.id, {
        admission,
        place: model.ids.length,
        state: "pending",
        attempt: 0,
        failures: 0,
        losses: 0,
        logCount: 0,
        isCancelling: false,
        reason: undefined,
        token: undefined,
        attemptLogCount: 0,
        settled: undefined,
      });
    },
  ),
);

const admitAgain = record({ at: nat(), isOther: boolean() }).map(({ at, isOther }) =>
  command(`admitAgain(${at}, ${isOther ? "other content" : "same"})`, hasJobs, async (model, { store }) => {
    const id = pick(model.ids, at);
    const known = model.jobs.get(id)?.admission ?? model.buried.get(id);
    if (known === undefined) throw new Error("an id without a job");
    const answer = await store.jobs.admit(isOther ? { ...known, digest: "e".repeat(64) } : known);
    const state = model.jobs.get(id)?.state ?? "deleted";
    deepEqual(answer, isOther ? { outcome: "conflict" } : { outcome: "duplicate", state });
  }),
);

const claim = record({ by: nat(), count: integer({ min: 1, max: 4 }), isRepeated: boolean() }).map((wanted) =>
  command(
    `claim(${JSON.stringify(wanted)})`,
    () => true,
    async (model, { sources, inOrder }) => {
      const { by, count, isRepeated } = wanted;
      const source = pick(sources, by);
      const token = aToken();
      const waiting = model.waiting();
      const claimed = await source.claim(count, token);
      if (isRepeated && claimed.length > 0) deepEqual(await source.claim(count, token), claimed);
      const ids = claimed.map(({ lease }) => lease.id);
      equal(ids.length, Math.min(count, waiting.length));
      if (inOrder)
        deepEqual(
          ids,
          waiting.slice(0, count).map(({ admission }) => admission.id),
        );
      for (const { lease } of claimed) {
        const job = model.jobs.get(lease.id);
        equal(job?.state, "pending");
        if (job === undefined) continue;
        Object.assign(job, {
          state: "running",
          attempt: job.attempt + 1,
          token,
          attemptLogCount: 0,
          reason: undefined,
        });
        deepEqual(lease, { id: lease.id, attempt: job.attempt, token });
        model.leases.push(lease);
      }
    },
  ),
);

const renew = nat().map((at) =>
  command(`renew(${at})`, hasLeases, async (model, { sources }) => {
    const source = pick(sources, at);
    const lease = pick(model.leases, at);
    const job = model.holder(lease);
    const wanted = job === undefined ? { outcome: "lost" } : { outcome: "renewed", isCancelling: job.isCancelling };
    deepEqual(await source.renew([lease]), [wanted]);
    // A lease is lost when it was reaped, not before.
    if (job !== undefined) model.overdue.delete(lease.id);
  }),
);

const appendLog = record({ at: nat(), first: integer({ min: 1, max: 4 }), count: integer({ min: 1, max: 3 }) }).map(
  ({ at, first, count }) =>
    command(`append(${at}, ${first}, ${count})`, hasLeases, async (model, { sources }) => {
      const source = pick(sources, at);
      const lease = pick(model.leases, at);
      const job = model.holder(lease);
      const entries = Array.from({ length: count }, (_, index) => ({
        attempt: lease.attempt,
        seq: first + index,
        time_ms: 1,
        stream: "stdout" as const,
        text: `${lease.attempt}.${first + index}`,
      }));
      if (job !== undefined && first > job.attemptLogCount + 1) {
        await rejects(source.append(lease, entries), /missing/u);
        return;
      }
      equal(await source.append(lease, entries), job === undefined ? "lost" : "appended");
      if (job === undefined) return;
      const fresh = Math.max(0, first + count - 1 - job.attemptLogCount);
      job.attemptLogCount += fresh;
      job.logCount += fresh;
    }),
);

const finish = record({
  at: nat(),
  status: constantFrom("completed" as const, "failed" as const, "timeout" as const, "cancelled" as const),
  isRetryable: boolean(),
}).map(({ at, status, isRetryable }) =>
  command(`finish(${at}, ${status}${isRetryable ? "" : ", not retryable"})`, hasLeases, async (model, { sources }) => {
    const source = pick(sources, at);
    const lease = pick(model.leases, at);
    const said: Finish = { status, code: 1, isRetryable, reason: `ended ${status}` };
    const answer = await source.finish(lease, said);
    const mark = `finish ${lease.attempt} ${lease.token}`;
    const job = model.holder(lease);
    if (job === undefined) {
      const present = model.jobs.get(lease.id);
      const wanted = present?.settled === mark ? { outcome: "accepted", state: present.state } : { outcome: "lost" };
      deepEqual(answer, wanted);
      return;
    }
    const isFailure = status === "failed" || status === "timeout";
    job.failures += isFailure ? 1 : 0;
    const comesBack = isFailure && isRetryable && !job.isCancelling && job.failures < job.admission.maxAttempts;
    model.leave(job, comesBack ? "pending" : status, said.reason);
    job.settled = mark;
    deepEqual(answer, { outcome: "accepted", state: job.state });
  }),
);

const release = nat().map((at) =>
  command(`release(${at})`, hasLeases, async (model, { sources }) => {
    const source = pick(sources, at);
    const lease = pick(model.leases, at);
    const answer = await source.release(lease);
    const mark = `release ${lease.attempt} ${lease.token}`;
    const job = model.holder(lease);
    if (job === undefined) {
      equal(answer, model.jobs.get(lease.id)?.settled === mark ? "released" : "lost");
      return;
    }
    const [state, reason] = job.isCancelling ? (["cancelled", "asked"] as const) : (["pending", undefined] as const);
    model.leave(job, state, reason);
    job.settled = mark;
    equal(answer, "released");
  }),
);

const cancel = record({ at: nat(), isOwner: boolean() }).map(({ at, isOwner }) =>
  command(`cancel(${at}${isOwner ? "" : ", by another"})`, hasJobs, async (model, { store }) => {
    const id = pick(model.ids, at);
    const answer = await store.jobs.cancel(id, { principal: isOwner ? "alice" : "bob" }, "asked");
    const job = model.jobs.get(id);
    if (job === undefined || !isOwner) {
      deepEqual(answer, { outcome: "missing" });
    } else if (job.state === "running") {
      deepEqual(answer, { outcome: "cancelling" });
      job.isCancelling = true;
    } else if (job.state === "pending" || job.state === "cancelled") {
      deepEqual(answer, { outcome: "cancelled" });
      if (job.state === "pending") model.leave(job, "cancelled", "asked");
    } else {
      deepEqual(answer, { outcome: "wrong_state", state: job.state });
    }
  }),
);

const remove = record({ at: nat(), isOwner: boolean() }).map(({ at, isOwner }) =>
  command(`delete(${at}${isOwner ? "" : ", by another"})`, hasJobs, async (model, { store }) => {
    const id = pick(model.ids, at);
    const answer = await store.jobs.delete(id, { principal: isOwner ? "alice" : "bob" });
    const job = model.jobs.get(id);
    if (!isOwner) {
      deepEqual(answer, { outcome: "missing" });
    } else if (job?.state === "running") {
      deepEqual(answer, { outcome: "wrong_state", state: "running" });
    } else {
      deepEqual(answer, { outcome: "deleted" });
      if (job !== undefined) model.buried.set(id, job.admission);
      model.jobs.delete(id);
    }
  }),
);

const vanish = nat().map((at) =>
  command(
    `vanish(${at})`,
    (model) => [...model.jobs.values()].some(({ state }) => state === "running"),
    async (model, { fixture }) => {
      const running = [...model.jobs.values()].filter(({ state }) => state === "running");
      const job = pick(running, at);
      const { id } = job.admission;
      await fixture.client.zadd(fixture.keys.of(fixture.keys.shardOf(id), "leases"), 1, id);
      deepEqual(await fixture.maintain(), { reaped: model.isOnHold ? 0 : 1, expired: 0, retired: 0 });
      if (model.isOnHold) model.overdue.add(id);
      else reaped(model, job);
    },
  ),
);

function reaped(model: Model, job: ModelJob): void {
  job.losses += 1;
  if (job.isCancelling) model.leave(job, "cancelled", "asked");
  else if (job.admission.onLoss === "fail") model.leave(job, "failed", "lost");
  else if (job.losses >= 3) model.leave(job, "failed", "poison");
  else model.leave(job, "pending", "lost");
}

const jump = constantFrom(3_600_000, -3_600_000).map((ms) =>
  command(
    `jump(${ms})`,
    () => true,
    async (model, { fixture, jump: jumpBy }) => {
      jumpBy(ms);
      deepEqual(await fixture.maintain(), { reaped: 0, expired: 0, retired: 0 });
      model.isOnHold = true;
    },
  ),
);

const endHold = constantFrom(0).map(() =>
  command(
    "endHold()",
    (model) => model.isOnHold,
    async (model, { fixture }) => {
      for (const shard of fixture.keys.allShards)
        await fixture.client.hset(fixture.keys.of(shard, "reap"), "not_before", 0);
      model.isOnHold = false;
      const overdue = [...model.overdue];
      deepEqual(await fixture.maintain(), { reaped: overdue.length, expired: 0, retired: 0 });
      for (const id of overdue) {
        const job = model.jobs.get(id);
        if (job !== undefined) reaped(model, job);
      }
    },
  ),
);

const expire = nat().map((at) =>
  command(
    `expire(${at})`,
    (model) => model.waiting().length > 0,
    async (model, { fixture }) => {
      const job = pick(model.waiting(), at);
      const { id } = job.admission;
      const shard = fixture.keys.shardOf(id);
      await fixture.client.zadd(fixture.keys.of(shard, "expiry"), 1, id);
      deepEqual(await fixture.maintain(), { reaped: 0, expired: 1, retired: 0 });
      model.leave(job, "expired", "expired");
    },
  ),
);

/** After every step: each job is where the rules say and nowhere else, what they count adds up, and no key is nobody's. */
async function expectSound(model: Model, { fixture }: Real): Promise<void> {
  const database = await readDatabase(fixture.client);
  deepEqual(faultsIn(database, fixture.keys), []);
  const records = [...database].filter(([name]) => name.includes(":job:"));
  equal(records.length, model.jobs.size);
  for (const [name, { content }] of records) {
    const fields = toHash(content);
    const job = model.jobs.get(name.slice(name.indexOf(":job:") + ":job:".length));
    deepEqual(
      [fields["state"], fields["attempt"], fields["token"], fields["failures"], fields["losses"], fields["log_count"]],
      [job?.state, `${job?.attempt}`, job?.token, `${job?.failures}`, `${job?.losses}`, `${job?.logCount}`],
    );
  }
}

/** Every job as the store shows it. */
export async function expectSame(model: Model, { store }: Real): Promise<void> {
  for (const [id, job] of model.jobs) {
    const head = await store.jobs.head(id);
    ok(head !== undefined);
    const { state, attempt, failures, losses, logCount, isCancelling, reason } = head;
    deepEqual(
      { state, attempt, failures, losses, logCount, isCancelling, reason },
      {
        state: job.state,
        attempt: job.attempt,
        failures: job.failures,
        losses: job.losses,
        logCount: job.logCount,
        isCancelling: job.isCancelling,
        reason: job.reason,
      },
    );
  }
  for (const id of model.buried.keys()) equal(await store.jobs.head(id), undefined);
  const { jobs } = await store.jobs.list({ limit: 200 });
  deepEqual(jobs.map(({ id }) => id).toSorted(), [...model.jobs.keys()].toSorted());
  const counts = await store.jobs.count();
  equal(
    counts.reduce((sum, count) => sum + count.jobs, 0),
    model.jobs.size,
  );
}

/** Everything that can happen, the usual more often. */
export const EVENTS = [
  admit,
  admit,
  admitAgain,
  claim,
  claim,
  renew,
  appendLog,
  finish,
  finish,
  release,
  cancel,
  remove,
  vanish,
  vanish,
  expire,
  jump,
  endHold,
];
