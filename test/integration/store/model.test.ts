/**
 * Random sequences of everything that can happen to jobs by several runners, against the rules in memory: after every step
 * the store answers as they say and the whole database agrees. SOAK=1 tries 1,000 sequences for each number of shards,
 * RUNS=n as many as it says.
 */
import { asyncModelRun, asyncProperty, check, commands, defaultReportMessage } from "fast-check";
import { describe, expect, test } from "vitest";

import { isSoak } from "../../support/soak.ts";
import { EVENTS, expectSame, Model, type Real } from "../../support/store-model.ts";
import { aRegistration, type Fixture, startStore } from "../../support/store.ts";

const RUNS = Number(process.env["RUNS"] ?? (isSoak ? 1000 : 80));

const SECOND = aRegistration({ name: "build-2", key: `ed25519:${"b".repeat(64)}` });

/** An empty database with two registered runners, and nothing on hold. */
async function reset({
  client,
  keys,
  maintain,
  store,
}: Pick<Fixture, "client" | "keys" | "maintain" | "store">): Promise<void> {
  await client.flushdb();
  await store.runners.register(aRegistration(), "{}");
  await store.runners.register(SECOND, "{}");
  await maintain();
  for (const shard of keys.allShards) await client.hset(keys.of(shard, "reap"), "not_before", 0);
}

describe.each([1, 4])("Any sequence of events on %i shards", (shards) => {
  test("leaves the store as the rules say", { timeout: 60_000 + RUNS * 500 }, async () => {
    let jumpedMs = 0;
    const fixture = await startStore({
      shards,
      backoff: { baseMs: 0, maxMs: 0 },
      // Nothing ends by itself while a sequence runs, however slow the machine is.
      leaseMs: 600_000,
      monotonicMs: () => performance.now() + jumpedMs,
    });
    await fixture.store.runners.register(SECOND, "{}");
    const { name, groups, key } = SECOND.body;
    const sources = [await fixture.source(), await fixture.source({ runner: { name, groups } }, { key })];
    const real: Real = {
      fixture,
      store: fixture.store,
      sources,
      inOrder: shards === 1,
      jump: (ms) => {
        jumpedMs += ms;
      },
    };

    const report = await check(
      asyncProperty(commands(EVENTS, { maxCommands: 40, size: "max" }), async (sequence) => {
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
