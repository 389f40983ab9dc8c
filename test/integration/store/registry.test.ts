/** The registry: one namespace for runners and groups, copied to every shard, mended after a crash. */
import { randomUUID } from "node:crypto";

import { describe, expect, test } from "vitest";

import { RedisKeys } from "../../../src/store/redis-keys.ts";
import { scriptText } from "../../../src/store/redis-scripts.ts";
import { asList } from "../../../src/store/reply.ts";
import {
  A_NUMBER,
  anAdmission,
  aRegistration,
  aToken,
  expectNoFaults,
  type Fixture,
  nowSeconds,
  startStore,
} from "../../support/store.ts";

/** Is the name admitted to in every shard? */
async function isKnown({ store, keys }: Fixture, queue: string): Promise<readonly boolean[]> {
  const answers: boolean[] = [];
  for (const shard of keys.allShards) {
    let id = randomUUID();
    while (keys.shardOf(id) !== shard) id = randomUUID();
    const { outcome } = await store.jobs.admit(anAdmission({ id, queue }));
    if (outcome === "new") await store.jobs.delete(id, {});
    answers.push(outcome === "new");
  }
  return answers;
}

/** As the first step of a removal leaves the entry. */
async function markRemoving({ client, keys }: Fixture, sinceMs: number): Promise<void> {
  const stored = (await client.hget(keys.of(0, "runners"), "build-1")) ?? "";
  await client.hset(keys.of(0, "runners"), "build-1", stored.replace(/\}$/u, `,"removing_ms":${sinceMs}}`));
}

describe("A runner that is being removed", () => {
  const STEPS = { text: scriptText("remove-runner"), keys: ["runners", "groups"] } as const;
  const step = async ({ client, keys }: Fixture, ...args: readonly string[]): Promise<readonly unknown[]> => {
    const declared = [...STEPS.keys.map((name) => keys.of(0, name)), keys.beat("build-1")];
    return asList(await client.eval(STEPS.text, declared.length, ...declared, ...args));
  };

  test("keeps the names of its groups until that is decided, and leaves them to others then", async () => {
    const fixture = await startStore();
    const { store } = fixture;
    await store.runners.register(aRegistration({ groups: ["gpu"] }), "{}");
    const rival = aRegistration({ name: "gpu", groups: [], key: `ed25519:${"b".repeat(64)}` });

    const [, begun] = await step(fixture, "begin", "build-1", "");
    expect(await store.runners.register(rival, "{}")).toEqual({ outcome: "conflict" });
    await step(fixture, "abort", "build-1", String(begun));
    expect(await store.runners.register(rival, "{}")).toEqual({ outcome: "conflict" });

    const [, again] = await step(fixture, "begin", "build-1", "");
    expect(await step(fixture, "commit", "build-1", String(again))).toEqual(["done", A_NUMBER]);
    expect(await store.runners.register(rival, "{}")).toEqual({ outcome: "new" });
  });

  test("that registers again meanwhile leaves no group behind that it left", async () => {
    const fixture = await startStore();
    const { store, client, keys } = fixture;
    await store.runners.register(aRegistration({ groups: ["gpu"] }), "{}");
    await step(fixture, "begin", "build-1", "");

    await store.runners.register(aRegistration({ groups: ["cpu"] }), "{}");

    expect(await client.hgetall(keys.of(0, "groups"))).toEqual({ cpu: "1" });
  });
});

describe("The window of a registration", () => {
  test("is judged by Redis' clock, 30 s wider at both ends", async () => {
    const { store } = await startStore();
    const now = nowSeconds();
    const outcomeOf = async (iat: number, exp: number) => store.runners.register(aRegistration({ iat, exp }), "{}");

    expect(await outcomeOf(now + 29, now + 100)).toEqual({ outcome: "same" });
    expect(await outcomeOf(now - 100, now - 27)).toEqual({ outcome: "same" });
    expect(await outcomeOf(now + 40, now + 100)).toEqual({ outcome: "stale", now: A_NUMBER });
    expect(await outcomeOf(now - 100, now - 31)).toEqual({ outcome: "stale", now: A_NUMBER });
  });
});

describe.each([1, 4])("The registry on %i shards", (shards) => {
  test("keeps a registration as it was signed", async () => {
    const { store } = await startStore({ shards });
    const registration = aRegistration({ name: "gpu-1", groups: ["z", "gpu"], executors: [], slots: 7 });

    expect(await store.runners.register(registration, '{"method":"register_runner"}')).toEqual({ outcome: "new" });

    expect(await store.runners.get("gpu-1")).toEqual({
      registration,
      enrolledBy: '{"method":"register_runner"}',
      registeredMs: A_NUMBER,
      nowMs: A_NUMBER,
      running: 0,
      isDraining: false,
      isDetached: false,
      waiting: 0,
    });
    expect((await store.runners.list()).map((record) => record.registration.body.name).toSorted()).toEqual([
      "build-1",
      "gpu-1",
    ]);
    expect(await store.runners.get("gpu")).toBeUndefined();
    expect(await store.runners.get("@version")).toBeUndefined();
  });

  test("takes the same again, a change, and neither another key nor another's name", async () => {
    const fixture = await startStore({ shards });
    const { runners } = fixture.store;
    const first = aRegistration({ name: "a", groups: ["g", "h"] });
    const outcome = async (wanted: Parameters<typeof aRegistration>[0]): Promise<string> =>
      (await runners.register(aRegistration(wanted), "{}")).outcome;

    expect(await outcome(first.body)).toBe("new");
    expect(await outcome({ ...first.body, groups: ["h", "g"], iat: first.body.iat - 5 })).toBe("same");
    expect(await outcome({ ...first.body, groups: ["g", "i"] })).toBe("replaced");
    expect(await outcome({ ...first.body, slots: 9, groups: ["g", "i"] })).toBe("replaced");
    expect(await outcome({ ...first.body, key: "ed25519:other" })).toBe("conflict");
    expect(await outcome({ name: "g" })).toBe("conflict");
    expect(await outcome({ name: "b", groups: ["a"] })).toBe("conflict");
    expect(await outcome({ name: "b", groups: ["b"] })).toBe("conflict");
    // h is no group any more, so it is free for a runner.
    expect(await outcome({ name: "h", groups: ["g"] })).toBe("new");
    expect(await isKnown(fixture, "h")).toEqual(fixture.keys.allShards.map(() => true));
    expect(await isKnown(fixture, "i")).toEqual(fixture.keys.allShards.map(() => true));

    await fixture.store.revocations.revoke(["ed25519:bad"]);
    expect(await outcome({ name: "c", key: "ed25519:bad" })).toBe("revoked");
    expect((await runners.get("a"))?.registration.body.slots).toBe(9);
  });

  test("lets one of two registrars have a name", async () => {
    const { store, another } = await startStore({ shards });
    const other = await another();
    const outcomes = await Promise.all(
      ["k1", "k2", "k3", "k4"].map(async (key, index) =>
        (index % 2 === 0 ? store : other).runners.register(aRegistration({ name: "n", key, groups: [] }), "{}"),
      ),
    );
    expect(outcomes.map(({ outcome }) => outcome).toSorted()).toEqual(["conflict", "conflict", "conflict", "new"]);
  });

  test("refuses to remove a runner while jobs wait that only it could take, unless forced", async () => {
    const fixture = await startStore({ shards });
    const { runners } = fixture.store;
    await runners.register(aRegistration({ name: "solo", key: "ed25519:solo", groups: ["solo-group", "build"] }), "{}");
    const own = await Promise.all(
      Array.from({ length: 130 }, async (_, index) =>
        fixture.admit({ queue: index % 2 === 0 ? "solo" : "solo-group" }),
      ),
    );
    const shared = await fixture.admit({ queue: "build" });

    expect(await runners.remove("solo", false)).toEqual({ outcome: "has_jobs", waiting: 130 });
    expect(await isKnown(fixture, "solo")).toEqual(fixture.keys.allShards.map(() => true));
    expect(await runners.remove("solo", true)).toEqual({ outcome: "removed", cancelled: 130 });

    for (const { id } of own) {
      expect(await fixture.store.jobs.head(id)).toMatchObject({ state: "cancelled", reason: "runner removed" });
    }
    expect(await fixture.store.jobs.head(shared.id)).toMatchObject({ state: "pending" });
    expect(await runners.get("solo")).toBeUndefined();
    expect(await runners.remove("solo", false)).toEqual({ outcome: "missing" });
    expect(await isKnown(fixture, "solo")).toEqual(fixture.keys.allShards.map(() => false));
    expect(await isKnown(fixture, "build")).toEqual(fixture.keys.allShards.map(() => true));
    // The names are free again.
    expect(await runners.register(aRegistration({ name: "solo-group", groups: ["solo"] }), "{}")).toEqual({
      outcome: "new",
    });
    await expectNoFaults(fixture);
  });

  test("never leaves a group's jobs to nobody when its last two runners are removed at once", async () => {
    const fixture = await startStore({ shards });
    const { runners } = fixture.store;
    for (const name of ["r1", "r2"]) await runners.register(aRegistration({ name, key: name, groups: ["pair"] }), "{}");
    const { id } = await fixture.admit({ queue: "pair" });

    const outcomes = await Promise.all(["r1", "r2"].map(async (name) => runners.remove(name, false)));

    expect(outcomes.filter(({ outcome }) => outcome === "removed").length).toBeLessThan(2);
    expect(await fixture.store.jobs.head(id)).toMatchObject({ state: "pending" });
    expect(await isKnown(fixture, "pair")).toEqual(fixture.keys.allShards.map(() => true));
    await expectNoFaults(fixture);
  });

  test("mends what a supervisor killed half-way through a removal left", async () => {
    const fixture = await startStore({ shards });
    const { client, keys } = fixture;
    // The state between the removal's first step and its last: marked, and gone from some shards' copies.
    await markRemoving(fixture, 1);
    await client.hdel(keys.of(0, "groups"), "build");
    for (const shard of keys.allShards) await client.del(keys.of(shard, "names"));
    expect(await isKnown(fixture, "build")).toEqual(keys.allShards.map(() => false));

    await fixture.another();

    expect(await isKnown(fixture, "build")).toEqual(keys.allShards.map(() => true));
    expect(await client.hgetall(keys.of(0, "groups"))).toEqual({ build: "1" });
    expect(await fixture.source()).toBeDefined();
  });

  test("finishes a removal that another supervisor began and did not end", async () => {
    const fixture = await startStore({ shards });
    const { client, keys } = fixture;
    await markRemoving(fixture, Date.now());
    await client.hdel(keys.of(0, "groups"), "build");

    // A removal that goes on is left alone.
    await fixture.another();
    expect(await client.exists(keys.of(0, "groups"))).toBe(0);
    expect(await fixture.store.runners.remove("build-1", false)).toEqual({ outcome: "removed", cancelled: 0 });

    expect(await fixture.store.runners.list()).toEqual([]);
    expect(await client.exists(keys.of(0, "groups"))).toBe(0);
    expect(await isKnown(fixture, "build")).toEqual(keys.allShards.map(() => false));
  });

  test("forgets removed runners' versions in the end, and never a present runner", async () => {
    const fixture = await startStore({ shards });
    const { client, keys, store } = fixture;
    await store.runners.register(aRegistration({ name: "gone", key: "ed25519:gone", groups: [] }), "{}");
    await store.runners.remove("gone", false);
    for (const shard of keys.allShards) {
      for (const field of ["@gone", "@build-1"]) {
        const entry = (await client.hget(keys.of(shard, "names"), field)) ?? "";
        await client.hset(keys.of(shard, "names"), field, entry.replace(/\|\d+\|/u, "|1|"));
      }
    }

    await fixture.another();

    for (const shard of keys.allShards) {
      const fields = await client.hkeys(keys.of(shard, "names"));
      expect(fields.toSorted()).toEqual(["@build-1", "build", "build-1"]);
    }
  });
});

describe("A late copy of a registration", () => {
  test("does not bring back the names of a runner that was removed", async () => {
    const fixture = await startStore({ shards: 2 });
    const { client, keys, store } = fixture;
    await store.runners.register(aRegistration({ name: "late", key: "ed25519:late", groups: ["night"] }), "{}");
    const entry = (await client.hget(keys.of(1, "names"), "@late")) ?? "";
    const version = /^\d+/u.exec(entry)?.[0] ?? "";
    await store.runners.remove("late", false);

    const names = keys.of(1, "names");
    const args = ["late", version, "ed25519:late", "late", "night"];
    expect(await client.eval(scriptText("names"), 1, names, ...args)).toBe("0");

    expect(await isKnown(fixture, "night")).toEqual([false, false]);
  });
});

describe("Evidence of what waits", () => {
  test("counts the queues a runner claims from, and knows the oldest job's age", async () => {
    const fixture = await startStore({ shards: 4 });
    const { client, keys, store } = fixture;
    await store.runners.register(aRegistration({ name: "other", key: "ed25519:o", groups: ["x"] }), "{}");
    const jobs = [];
    for (let index = 0; index < 10; index += 1) {
      jobs.push(await fixture.admit({ queue: index % 2 === 0 ? "build" : "build-1", priority: index }));
    }
    await fixture.admit({ queue: "x", notBefore: Math.floor(Date.now() / 1000) + 1000 });
    const oldest = jobs[3]?.id ?? "";
    await client.hset(keys.job(oldest), "admitted_ms", Date.now() - 60_000);

    const records = new Map((await store.runners.list()).map((record) => [record.registration.body.name, record]));

    expect(records.get("build-1")?.waiting).toBe(10);
    expect(records.get("build-1")?.oldestWaitingMs).toBeGreaterThanOrEqual(60_000);
    expect(records.get("build-1")?.oldestWaitingMs).toBeLessThan(120_000);
    // What waits for its own time could not have been taken.
    expect(records.get("other")).toMatchObject({ waiting: 1 });
    expect(records.get("other")).not.toHaveProperty("oldestWaitingMs");
    const source = await fixture.source();
    await source.claim(20, aToken());
    expect(await store.runners.get("build-1")).toMatchObject({ waiting: 0 });
  });
});

describe("Foreign data in the registry", () => {
  test.each(["{}", '{"registration":"{}","enrolled_by":"","key":"","groups":"","registered_ms":1,"version":1}'])(
    "are refused: %s",
    async (text) => {
      const { client, keys, store } = await startStore();
      await client.hset(keys.of(0, "runners"), "odd", text);
      await expect(store.runners.get("odd")).rejects.toThrow(/stored runner/u);
    },
  );
});

describe("Key names", () => {
  test("of principals keep apart what differs, and stay in their shard", () => {
    const keys = new RedisKeys({ prefix: "horus", shards: 4 });
    const names = ["a", "a:b", "{s0}", "a b", "ä", "", "*"].map((principal) => keys.own(2, principal));
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name.split(/[{}]/u)).toHaveLength(3);
    expect(() => new RedisKeys({ prefix: "{s1}", shards: 4 })).toThrow(/redis.prefix "\{s1\}"/u);
  });
});
