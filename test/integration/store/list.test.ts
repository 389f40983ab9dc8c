/** Lists: newest first over all shards, in pages that neither repeat nor leave out. */
import { randomUUID } from "node:crypto";

import { describe, expect, test } from "vitest";

import type { JobHead } from "../../../src/jobs/job.ts";
import type { JobPosition, JobQuery } from "../../../src/store/store.ts";
import { aRegistration, aToken, type Fixture, startStore } from "../../support/store.ts";

/** All pages of a query. */
async function everyPage(
  { store }: Fixture,
  query: JobQuery,
): Promise<{ readonly jobs: readonly JobHead[]; readonly pages: number }> {
  const jobs: JobHead[] = [];
  let before: JobPosition | undefined;
  let pages = 0;
  do {
    const page = await store.jobs.list({ ...query, ...(before === undefined ? {} : { before }) });
    expect(page.jobs.length).toBeLessThanOrEqual(query.limit);
    jobs.push(...page.jobs);
    before = page.next;
    pages += 1;
  } while (before !== undefined);
  return { jobs, pages };
}

function newestFirst(jobs: readonly JobHead[]): readonly JobHead[] {
  return jobs.toSorted((a, b) => b.admittedMs - a.admittedMs || (a.id < b.id ? 1 : -1));
}

describe.each([1, 4, 16])("A list on %i shards", (shards) => {
  test("gives every job once, newest first, whatever the size of a page", async () => {
    const fixture = await startStore({ shards });
    const admitted = await Promise.all(Array.from({ length: 120 }, async () => fixture.admit()));

    for (const limit of [1, 7, 50, 200]) {
      const { jobs } = await everyPage(fixture, { limit });
      expect(jobs.map(({ id }) => id).toSorted()).toEqual(admitted.map(({ id }) => id).toSorted());
      expect(jobs).toEqual(newestFirst(jobs));
    }
  });

  test("uses the owner's index and shows nothing of others", async () => {
    const fixture = await startStore({ shards });
    for (let index = 0; index < 30; index += 1) await fixture.admit({ principal: index % 3 === 0 ? "al" : "alice" });

    const { jobs } = await everyPage(fixture, { principal: "al", limit: 4 });

    expect(jobs).toHaveLength(10);
    expect(new Set(jobs.map(({ principal }) => principal))).toEqual(new Set(["al"]));
    expect(await fixture.store.jobs.list({ principal: "nobody", limit: 4 })).toEqual({ jobs: [] });
  });

  test("filters by state, queue, context and time together", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    for (let index = 0; index < 24; index += 1) {
      await fixture.admit({
        queue: index % 2 === 0 ? "build" : "build-1",
        contextId: index % 3 === 0 ? "three" : "other",
        priority: index < 12 ? 9 : 0,
      });
    }
    const claimed = await source.claim(12, aToken());
    const all = (await everyPage(fixture, { limit: 50 })).jobs;
    const running = new Set(claimed.map(({ lease }) => lease.id));

    const query: JobQuery = { state: "running", queue: "build", contextId: "three", limit: 3 };
    const { jobs } = await everyPage(fixture, query);
    const wanted = all.filter((job) => running.has(job.id) && job.queue === "build" && job.contextId === "three");
    expect(jobs).toEqual(wanted);

    const times = all.map(({ admittedMs }) => admittedMs).toSorted((a, b) => a - b);
    const [fromMs = 0, untilMs = 0] = [times[6], times[18]];
    const between = await everyPage(fixture, { fromMs, untilMs, limit: 5 });
    expect(between.jobs).toEqual(all.filter(({ admittedMs }) => admittedMs >= fromMs && admittedMs < untilMs));
    expect((await everyPage(fixture, { contextId: "", limit: 5 })).jobs).toEqual([]);
  });

  test("goes on behind a job that was deleted between two pages", async () => {
    const fixture = await startStore({ shards });
    for (let index = 0; index < 10; index += 1) await fixture.admit();
    const all = (await everyPage(fixture, { limit: 50 })).jobs;
    const first = await fixture.store.jobs.list({ limit: 4 });
    const next = first.next ?? { admittedMs: 0, id: "" };
    await fixture.store.jobs.delete(next.id, {});

    const rest: JobHead[] = [];
    for (let before: JobPosition | undefined = next; before !== undefined;) {
      const page = await fixture.store.jobs.list({ limit: 4, before });
      rest.push(...page.jobs);
      before = page.next;
    }

    expect([...first.jobs, ...rest]).toEqual(all);
  });
});

describe("When one shard holds all the newest jobs", () => {
  test("a page does not run ahead to older ones of the others", async () => {
    const fixture = await startStore({ shards: 4 });
    const inShard = (isWanted: (shard: number) => boolean): string => {
      let id = randomUUID();
      while (!isWanted(fixture.keys.shardOf(id))) id = randomUUID();
      return id;
    };
    for (let index = 0; index < 60; index += 1) await fixture.admit({ id: inShard((shard) => shard !== 2) });
    for (let index = 0; index < 80; index += 1) await fixture.admit({ id: inShard((shard) => shard === 2) });

    const { jobs } = await everyPage(fixture, { limit: 50 });

    expect(jobs).toHaveLength(140);
    expect(jobs).toEqual(newestFirst(jobs));
  });
});

describe("A page", () => {
  test("scans a bounded number of entries: it may be short, and the next goes on", async () => {
    const fixture = await startStore();
    const { client, keys } = fixture;
    const rare = await fixture.admit({ contextId: "rare" });
    // Many entries that do not match, written straight into the index and as heads.
    const heads = client.pipeline();
    for (let index = 0; index < 1300; index += 1) {
      heads.zadd(keys.of(0, "jobs"), Date.now() + 1 + (index % 7), `job-${index}`);
      heads.hset(keys.job(`job-${index}`), { state: "pending", principal: "bob", queue: "build", context_id: "x" });
    }
    await heads.exec();

    const page = await fixture.store.jobs.list({ contextId: "rare", limit: 10 });
    expect(page.jobs).toEqual([]);
    expect(page.next).toBeDefined();

    const { jobs, pages } = await everyPage(fixture, { contextId: "rare", limit: 10 });
    expect(jobs.map(({ id }) => id)).toEqual([rare.id]);
    expect(pages).toBe(3);
  });

  test("passes many jobs of one millisecond without repeating one", async () => {
    const fixture = await startStore();
    const { client, keys } = fixture;
    const ids: string[] = [];
    for (let index = 0; index < 60; index += 1) ids.push((await fixture.admit()).id);
    for (const id of ids) {
      await client.zadd(keys.of(0, "jobs"), 1_790_000_000_000, id);
      await client.hset(keys.job(id), "admitted_ms", 1_790_000_000_000);
    }

    const { jobs } = await everyPage(fixture, { limit: 7 });

    expect(jobs.map(({ id }) => id)).toEqual(ids.toSorted().toReversed());
  });

  test("shows the runners' names as queues, exactly", async () => {
    const fixture = await startStore();
    await fixture.store.runners.register(aRegistration({ name: "build-10", groups: [] }), "{}");
    await fixture.admit({ queue: "build-1" });
    await fixture.admit({ queue: "build-10" });
    const { jobs } = await fixture.store.jobs.list({ queue: "build-1", limit: 10 });
    expect(jobs.map(({ queue }) => queue)).toEqual(["build-1"]);
  });
});
