/**
 * Random sequences of everything that can happen to jobs, against the rules in memory: after every step the store answers
 * as they say, and at the end of each sequence the whole database agrees. RUNS says how many sequences.
 */
import { asyncModelRun, asyncProperty, check, commands, defaultReportMessage } from "fast-check";
import { describe, expect, test } from "vitest";

import { EVENTS, expectSame, Model, type Real } from "../../support/store-model.ts";
import { aRegistration, type Fixture, startStore } from "../../support/store.ts";

const RUNS = Number(process.env["RUNS"] ?? 150);

/** An empty database with one registered runner, and nothing on hold. */
async function reset({
  client,
  keys,
  maintain,
  store,
}: Pick<Fixture, "client" | "keys" | "maintain" | "store">): Promise<void> {
  await client.flushdb();
  await store.runners.register(aRegistration(), "{}");
  await maintain();
  for (const shard of keys.allShards) await client.hset(keys.of(shard, "reap"), "not_before", 0);
}

describe.each([1, 4])("Any sequence of events on %i shards", (shards) => {
  test("leaves the store as the rules say", { timeout: 60_000 + RUNS * 200 }, async () => {
    const fixture = await startStore({ shards, backoff: { baseMs: 0, maxMs: 0 } });
    const source = await fixture.source();
    const real: Real = { fixture, store: fixture.store, source, inOrder: shards === 1 };

    const report = await check(
      asyncProperty(commands(EVENTS, { maxCommands: 60, size: "max" }), async (sequence) => {
        await reset(fixture);
        const model = new Model();
        await asyncModelRun(() => ({ model, real }), sequence);
        await expectSame(model, real);
      }),
      { numRuns: RUNS },
    );

    expect(report.failed ? defaultReportMessage(report) : "").toBe("");
  });
});
