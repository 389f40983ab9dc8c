/** The stand-in as a thread over a real Redis: what it renews, and that a runner goes on without it. */
import { describe, expect, onTestFinished, test } from "vitest";

import { createLog } from "../../../src/log.ts";
import type { Deed } from "../../../src/runner/lease-watch.ts";
import { machineMs, startStandIn } from "../../../src/runner/stand-in.ts";
import { createRenewer } from "../../../src/store/redis-renewer.ts";
import type { RedisJobSource } from "../../../src/store/redis-source.ts";
import { quietLog } from "../../support/runner-harness.ts";
import { startStore } from "../../support/store.ts";
import { waitUntil } from "../../support/wait.ts";

/** The built one: a thread reads no TypeScript. */
const MODULE = new URL("../../../dist/src/store/redis-stand-in.js", import.meta.url);

/** What `source` would start its stand-in with. */
function optionsOf({ renewer }: RedisJobSource): object {
  return Object.assign({}, renewer?.options);
}

describe("A stand-in over Redis", () => {
  test("renews the leases of a loop that says nothing, by a thread of its own", async () => {
    const fixture = await startStore();
    const source = await fixture.source();
    const lease = await fixture.running(source);
    const deeds: Deed[] = [];
    const index = fixture.keys.of(fixture.keys.shardOf(lease.id), "leases");
    await fixture.client.zadd(index, 1, lease.id);
    // Looks come every quarter of a second, however long the lease in Redis is.
    const standIn = startStandIn({
      leaseMs: 3000,
      renewer: { module: MODULE, options: optionsOf(source) },
      log: quietLog,
      onDeed: (deed) => void deeds.push(deed),
    });
    onTestFinished(async () => standIn?.stop());

    standIn?.tell({ kind: "hold", hold: 7, lease, deadlineMs: machineMs() + 3_600_000 });
    await waitUntil(() => deeds.length > 0);

    expect(deeds[0]).toMatchObject({ kind: "renewed", holds: [7] });
    expect(Number(await fixture.client.zscore(index, lease.id))).toBeGreaterThan(Date.now());
  });

  test("is none where the program runs from its source", async () => {
    const fixture = await startStore();
    const { renewer } = await fixture.source();
    if (renewer === undefined) throw new Error("no recipe");

    expect(startStandIn({ leaseMs: 3000, renewer, log: quietLog, onDeed: () => undefined })).toBe(undefined);
  });

  test("is not missed where it breaks: that is logged, and it takes what it is told", async () => {
    const lines: string[] = [];
    const log = createLog({ level: "error", pretty: false }, { write: (text) => lines.push(text) });
    const module = new URL("data:text/javascript,throw new Error('no thread today')");

    const standIn = startStandIn({ leaseMs: 3000, renewer: { module, options: {} }, log, onDeed: () => undefined });
    await waitUntil(() => lines.length > 0);

    standIn?.tell({ kind: "alive" });
    await standIn?.stop();
    expect(lines).toEqual([expect.stringMatching(/"event":"stand_in_broke".*no thread today/u)]);
  });
});

test("A runner whose stand-in can not be had goes on without it", () => {
  const lines: string[] = [];
  const log = createLog({ level: "error", pretty: false }, { write: (text) => lines.push(text) });
  // Refused at once, as by a system that has no thread left or a Node without the permission for it.
  const renewer = { module: new URL("https://example.org/thread.js"), options: {} };

  expect(startStandIn({ leaseMs: 3000, renewer, log, onDeed: () => undefined })).toBe(undefined);
  expect(lines).toEqual([expect.stringContaining('"event":"stand_in_broke"')]);
});

describe("A renewer over Redis", () => {
  test("connects when it must, lets go, and connects again", async () => {
    const fixture = await startStore();
    const source = await fixture.source();
    const lease = await fixture.running(source);
    const renewer = createRenewer(optionsOf(source));
    const connections = async (): Promise<number> =>
      String(await fixture.client.call("CLIENT", "LIST"))
        .trim()
        .split("\n").length;
    const before = await connections();

    await renewer.stop();
    expect(await renewer.renew([lease])).toEqual([{ outcome: "renewed", isCancelling: false }]);
    expect(await connections()).toBe(before + 1);
    await renewer.stop();
    await waitUntil(async () => (await connections()) === before);

    expect(await renewer.renew([{ ...lease, attempt: 2 }])).toEqual([{ outcome: "lost" }]);
    await renewer.stop();
  });

  test("fails where Redis is out of reach, and tries anew", async () => {
    const fixture = await startStore();
    const source = await fixture.source();
    const options = { ...optionsOf(source), url: "redis://127.0.0.1:1", commandTimeoutMs: 100 };
    const renewer = createRenewer(options);

    await expect(renewer.renew([])).rejects.toThrow(/cannot connect/u);
    await expect(renewer.renew([])).rejects.toThrow(/cannot connect/u);
    await renewer.stop();
  });

  test("refuses what are no options of its own", () => {
    expect(() => createRenewer({ url: "redis://127.0.0.1:1" })).toThrow("Not the options of a Redis renewer.");
  });
});
