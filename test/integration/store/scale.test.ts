/** What one call costs does not hang on how much there is: counted in the commands that its script runs, not in time. */
import { describe, expect, test } from "vitest";

import { aToken, type Fixture, startStore } from "../../support/store.ts";

/** Scripts in flight. */
const LANES = 32;

async function fill(fixture: Fixture, count: number, principal: string): Promise<void> {
  const numbers = Array.from({ length: count }).values();
  const lane = async (): Promise<void> => {
    for (const _ of numbers) await fixture.admit({ principal });
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}

/** Commands that Redis ran meanwhile, those of scripts among them, by name. */
async function commandsOf(
  { client }: Fixture,
  work: () => Promise<unknown>,
): Promise<Readonly<Record<string, number>>> {
  await client.config("RESETSTAT");
  await work();
  const stats = await client.info("commandstats");
  const counts: Record<string, number> = {};
  for (const [, name = "", calls] of stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gmu)) {
    if (!/^(?:config|info|ping|eval)/u.test(name)) counts[name] = Number(calls);
  }
  return counts;
}

describe("A page of an owner's jobs", () => {
  test("costs the same among many jobs of others as alone", async () => {
    const fixture = await startStore();
    const page = async () => fixture.store.jobs.list({ principal: "al", limit: 20 });
    const further = async () => {
      const { next } = await page();
      return fixture.store.jobs.list({ principal: "al", limit: 20, ...(next === undefined ? {} : { before: next }) });
    };
    for (let turn = 0; turn < 10; turn += 1) {
      await fill(fixture, 5, "al");
      await fill(fixture, 1, "other");
    }
    const [first, second] = [await commandsOf(fixture, page), await commandsOf(fixture, further)];
    const ids = (await further()).jobs.map(({ id }) => id);

    await fill(fixture, 1000, "other");

    expect(await commandsOf(fixture, page)).toEqual(first);
    expect(await commandsOf(fixture, further)).toEqual(second);
    // Of what the page shows and no more: a look at the index, and a head for each job.
    expect(first).toMatchObject({ hmget: 20 });
    expect((await further()).jobs.map(({ id }) => id)).toEqual(ids);
  });
});

describe("With many jobs pending", () => {
  test("admit, claim, finish, get, cancel and maintenance cost what they do with few", async () => {
    const fixture = await startStore();
    const { store } = fixture;
    const source = await fixture.source();
    const costs = async (): Promise<Readonly<Record<string, unknown>>> => {
      const victim = await fixture.admit();
      const [claimed] = await source.claim(1, aToken());
      if (claimed === undefined) throw new Error("nothing was claimed");
      return {
        admit: await commandsOf(fixture, async () => fixture.admit()),
        claim: await commandsOf(fixture, async () => source.claim(1, aToken())),
        finish: await commandsOf(fixture, async () =>
          source.finish(claimed.lease, { status: "completed", code: 0, isRetryable: false }),
        ),
        get: await commandsOf(fixture, async () => store.jobs.get(victim.id)),
        cancel: await commandsOf(fixture, async () => store.jobs.cancel(victim.id, {}, "enough")),
        maintain: await commandsOf(fixture, async () => fixture.maintain()),
      };
    };
    // Beyond what a claim looks at.
    await fill(fixture, 100, "alice");
    const few = await costs();

    await fill(fixture, 1000, "alice");

    expect(await costs()).toEqual(few);
  });
});
