/** The order of jobs: priority, then first in, first out; and jobs that wait for their time. */
import { describe, expect, test } from "vitest";

import type { JobSource } from "../../../src/runner/source.ts";
import { aRegistration, aToken, expectNoFaults, nowSeconds, startStore } from "../../support/store.ts";
import { waitUntil } from "../../support/wait.ts";

describe("Order on one shard", () => {
  test("is by priority, and by arrival within a priority", async () => {
    const fixture = await startStore();
    const source = await fixture.source();
    const admitted: { id: string; priority: number; at: number }[] = [];
    for (const [at, priority] of [5, 0, 9, 5, 9, 1, 0, 5].entries()) {
      admitted.push({ ...(await fixture.admit({ priority })), at });
    }

    const claimed = await source.claim(8, aToken());

    const wanted = admitted.toSorted((a, b) => b.priority - a.priority || a.at - b.at).map(({ id }) => id);
    expect(claimed.map(({ lease }) => lease.id)).toEqual(wanted);
  });

  test("holds over all queues of a runner", async () => {
    const fixture = await startStore();
    await fixture.store.runners.register(aRegistration({ name: "many", groups: ["a", "b"] }), "{}");
    const source = await fixture.source({ runner: { name: "many", groups: ["a", "b"] } });
    const wanted: string[] = [];
    for (const queue of ["b", "many", "a", "a", "many", "b", "b"]) wanted.push((await fixture.admit({ queue })).id);
    const urgent = await fixture.admit({ queue: "a", priority: 9 });

    const claimed = await source.claim(20, aToken());

    expect(claimed.map(({ lease }) => lease.id)).toEqual([urgent.id, ...wanted]);
    expect(claimed.map(({ queue }) => queue)).toEqual(["a", "b", "many", "a", "a", "many", "b", "b"]);
  });

  test("holds for more queues than one look reaches into", async () => {
    const fixture = await startStore();
    const groups = Array.from({ length: 16 }, (_, index) => `g${index}`);
    await fixture.store.runners.register(aRegistration({ name: "many", groups }), "{}");
    const source = await fixture.source({ runner: { name: "many", groups } });
    const wanted: string[] = [];
    for (let index = 0; index < 40; index += 1) {
      const queue = index < 10 ? "g3" : `g${index % 16}`;
      wanted.push((await fixture.admit({ queue })).id);
    }

    const claimed: string[] = [];
    for (;;) {
      const batch = await source.claim(7, aToken());
      if (batch.length === 0) break;
      claimed.push(...batch.map(({ lease }) => lease.id));
    }

    expect(claimed).toEqual(wanted);
  });

  test("takes any number of jobs at once", async () => {
    const fixture = await startStore();
    const source = await fixture.source();
    const ids: string[] = [];
    for (let index = 0; index < 50; index += 1) ids.push((await fixture.admit()).id);

    const claimed = await source.claim(45, aToken());

    expect(claimed.map(({ lease }) => lease.id)).toEqual(ids.slice(0, 45));
    expect(await source.claim(45, aToken())).toHaveLength(5);
    await expectNoFaults(fixture);
  });
});

describe.each([1, 4])("Delayed jobs on %i shards", (shards) => {
  test("start when their time has come, in their place", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const notBefore = nowSeconds() + 2;
    const delayed = await fixture.admit({ notBefore });
    const laterBefore = nowSeconds() + 1000;
    const later = await fixture.admit({ notBefore: laterBefore });
    expect(await fixture.store.jobs.head(later.id)).toMatchObject({ state: "pending", readyMs: laterBefore * 1000 });

    let claimed = await source.claim(5, aToken());
    await waitUntil(async () => {
      claimed = await source.claim(5, aToken());
      return claimed.length > 0;
    });
    expect(claimed.map(({ lease }) => lease.id)).toEqual([delayed.id]);
    const head = await fixture.store.jobs.head(delayed.id);
    expect(head).not.toHaveProperty("readyMs");
    expect(head?.startedMs).toBeGreaterThanOrEqual(notBefore * 1000);
    expect(await fixture.store.jobs.head(later.id)).toMatchObject({ state: "pending" });
    await expectNoFaults(fixture);
  });
});

describe("A delayed job that is due", () => {
  test("comes before later arrivals of its priority and after higher ones", async () => {
    const fixture = await startStore();
    const source = await fixture.source();
    const due = await fixture.admit({ notBefore: nowSeconds() + 1 });
    const later = await fixture.admit();
    const urgent = await fixture.admit({ priority: 9 });
    await waitUntil(() => nowSeconds() > (due.notBefore ?? 0));

    const order: string[] = [];
    for (let index = 0; index < 3; index += 1) {
      const [job] = await source.claim(1, aToken());
      order.push(job?.lease.id ?? "none");
    }

    expect(order).toEqual([urgent.id, due.id, later.id]);
    await expectNoFaults(fixture);
  });

  test("that is not taken yet stays admitted, in its queue", async () => {
    const fixture = await startStore();
    const source = await fixture.source();
    const due = await fixture.admit({ notBefore: nowSeconds() + 1, priority: 0 });
    await fixture.admit();
    await waitUntil(() => nowSeconds() > (due.notBefore ?? 0));

    await source.claim(1, aToken());

    expect(await fixture.client.zcard(fixture.keys.queue(0, "build"))).toBe(1);
    expect(await fixture.store.jobs.head(due.id)).not.toHaveProperty("readyMs");
    await expectNoFaults(fixture);
  });
});

type StartedStore = Awaited<ReturnType<typeof startStore>>;

/** Admits jobs of one caller after another's; gives the callers by id. */
async function admitAll(
  fixture: StartedStore,
  wanted: readonly string[],
  isFair = true,
): Promise<ReadonlyMap<string, string>> {
  const callers = new Map<string, string>();
  for (const principal of wanted) callers.set((await fixture.admit({ principal, isFair })).id, principal);
  return callers;
}

/** Whose jobs are claimed, a letter each. */
async function claim(source: JobSource, callers: ReadonlyMap<string, string>, most = 16): Promise<string> {
  const claimed = await source.claim(most, aToken());
  return claimed.map(({ lease }) => callers.get(lease.id) ?? "?").join("");
}

describe("A fair queue", () => {
  test("serves its callers in turn, however many jobs one of them has waiting", async () => {
    const fixture = await startStore();
    const callers = await admitAll(fixture, ["a", "a", "a", "a", "a", "a", "b", "b", "c"]);

    const order = await claim(await fixture.source(), callers);

    // Whose turn is first among equals is open; that nobody waits for a's backlog is not.
    expect(Array.from(order.slice(0, 3)).toSorted().join("")).toBe("abc");
    expect(Array.from(order.slice(3, 5)).toSorted().join("")).toBe("ab");
    expect(order.slice(5)).toBe("aaaa");
  });

  test("keeps each caller's own order", async () => {
    const fixture = await startStore();
    const callers = await admitAll(fixture, ["a", "a", "a", "b", "b", "b"]);
    const source = await fixture.source();

    const claimed = (await source.claim(16, aToken())).map(({ lease }) => lease.id);

    for (const caller of ["a", "b"]) {
      const own = [...callers].filter(([, owner]) => owner === caller).map(([id]) => id);
      expect(claimed.filter((id) => callers.get(id) === caller)).toEqual(own);
    }
  });

  test("gives who comes late neither what was missed nor the last place", async () => {
    const fixture = await startStore();
    const early = await admitAll(
      fixture,
      Array.from({ length: 20 }, () => "a"),
    );
    const source = await fixture.source();
    await claim(source, early, 10);
    const late = await admitAll(fixture, ["b", "b", "b", "b"]);

    const order = await claim(source, new Map([...early, ...late]), 8);

    expect(Array.from(order).toSorted().join("")).toBe("aaaabbbb");
  });

  test("gives nobody a run of turns for an old job that comes back", async () => {
    const fixture = await startStore();
    const source = await fixture.source();
    const callers = new Map(await admitAll(fixture, ["b"]));
    const [held] = await source.claim(1, aToken());
    for (const [id, caller] of await admitAll(fixture, ["a", "a"])) callers.set(id, caller);
    // The queue moves on while b's first job is at work.
    for (let turn = 0; turn < 20; turn += 1) {
      for (const [id, caller] of await admitAll(fixture, ["a"])) callers.set(id, caller);
      await source.claim(1, aToken());
    }
    if (held !== undefined) await source.release(held.lease);

    for (const [id, caller] of await admitAll(fixture, ["a", "a", "a", "b", "b", "b", "b", "b", "b"])) {
      callers.set(id, caller);
    }

    const order = await claim(source, callers, 8);
    // b's old job is first; after it the two take turns.
    expect(order.startsWith("b")).toBe(true);
    expect(Array.from(order.slice(1)).filter((caller) => caller === "a").length).toBeGreaterThanOrEqual(3);
  });

  test("leaves the order of a queue that is not as it was", async () => {
    const fixture = await startStore();
    const callers = await admitAll(fixture, ["a", "a", "a", "b", "a"], false);

    expect(await claim(await fixture.source(), callers)).toBe("aaaba");
  });

  test("keeps nothing of its callers for longer than their jobs may wait, nor after nothing waited", async () => {
    const fixture = await startStore();
    const key = fixture.keys.fair(0, "build");
    const callers = await admitAll(fixture, ["a", "b", "a"]);
    // Two callers, and how far the queue was served.
    expect(await fixture.client.hlen(key)).toBe(3);
    expect(await fixture.client.pttl(key)).toBeGreaterThan(3_500_000);
    expect(await fixture.client.pttl(key)).toBeLessThanOrEqual(3_602_000);

    await claim(await fixture.source(), callers);
    await fixture.admit({ principal: "c", isFair: true });

    expect(await fixture.client.hlen(key)).toBe(2);
  });
});
