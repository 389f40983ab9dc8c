import { afterEach, describe, expect, test } from "vitest";

import { BoundedSource } from "../../../src/runner/bounded-source.ts";
import { type Hold, LeaseKeeper } from "../../../src/runner/lease-keeper.ts";
import type { Deed, Word } from "../../../src/runner/lease-watch.ts";
import type { Lease, Renewed } from "../../../src/runner/source.ts";
import { machineMs } from "../../../src/runner/stand-in.ts";
import { MemorySource } from "../../support/memory-source.ts";
import { quietLog } from "../../support/runner-harness.ts";
import { waitUntil } from "../../support/wait.ts";

const LEASE: Lease = { id: "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b", attempt: 1, token: "t" };

class Renewals extends MemorySource {
  answer: (leases: readonly Lease[]) => Promise<readonly Renewed[]> = async (leases) =>
    leases.map(() => ({ outcome: "renewed", isCancelling: false }));
  readonly sizes: number[] = [];

  override async renew(leases: readonly Lease[]): Promise<readonly Renewed[]> {
    this.sizes.push(leases.length);
    return this.answer(leases);
  }
}

let keeper: LeaseKeeper | undefined;

function monotonic(): number {
  return performance.now();
}

function start(leaseMs: number): {
  source: Renewals;
  hold: (lease?: Lease, ageMs?: number) => Hold;
  keeper: LeaseKeeper;
  /** What its stand-in was told, and how it says what it did. */
  words: Word[];
  did: (deed: Deed) => void;
} {
  const source = new Renewals(leaseMs);
  const words: Word[] = [];
  const standIn: { onDeed?: (deed: Deed) => void } = {};
  const made = new LeaseKeeper({
    source: new BoundedSource(source, 60_000),
    log: quietLog,
    monotonic,
    random: () => 0.5,
    startStandIn: (onDeed) => {
      standIn.onDeed = onDeed;
      return { tell: (word) => void words.push(word), stop: async () => undefined };
    },
  });
  keeper = made;
  made.start();
  return {
    source,
    keeper: made,
    words,
    did: (deed) => standIn.onDeed?.(deed),
    hold: (lease = LEASE, ageMs = 0) => made.hold(lease, monotonic() - ageMs),
  };
}

afterEach(async () => {
  await keeper?.stop();
  keeper = undefined;
});

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

describe("LeaseKeeper", () => {
  test("renews what it holds, and a renewed lease neither lapses nor is lost", async () => {
    const { source, hold } = start(300);
    const held = hold();

    await waitUntil(() => source.sizes.length >= 5);

    expect([held.lost.aborted, held.lapsed.aborted, held.cancelled.aborted]).toEqual([false, false, false]);
    held.release();
  });

  test("says what the source said: lost, or to be cancelled", async () => {
    const { source, hold } = start(150);
    source.answer = async () => [{ outcome: "lost" }, { outcome: "renewed", isCancelling: true }];
    const lost = hold();
    const cancelled = hold({ ...LEASE, attempt: 2 });

    await Promise.all([aborted(lost.lost), aborted(cancelled.cancelled)]);

    expect(lost.cancelled.aborted).toBe(false);
    expect(cancelled.lost.aborted).toBe(false);
    cancelled.release();
  });

  test("a lease lapses when no renewal was answered for its whole length, and is asked about still", async () => {
    const { source, hold } = start(200);
    source.answer = async () => {
      throw new Error("down");
    };
    const held = hold();

    await aborted(held.lapsed);
    const before = source.sizes.length;
    expect(before).toBeGreaterThan(1);
    expect(held.lost.aborted).toBe(false);
    source.answer = async () => [{ outcome: "lost" }];
    await aborted(held.lost);

    expect(source.sizes.length).toBeGreaterThan(before);
  });

  test("a lease that was old when it was taken over lapses that much earlier", async () => {
    const { source, hold } = start(60_000);
    source.answer = () => new Promise(() => undefined);

    await aborted(hold(LEASE, 59_990).lapsed);

    expect(source.sizes).toEqual([]);
  });

  test("a source that hangs does not take the next chances with it", async () => {
    const { source, hold } = start(300);
    source.answer = async (leases) =>
      source.sizes.length === 1
        ? new Promise(() => undefined)
        : leases.map(() => ({ outcome: "renewed" as const, isCancelling: false }));
    const held = hold();

    await waitUntil(() => source.sizes.length >= 4);

    expect(held.lapsed.aborted).toBe(false);
    held.release();
  });

  test("an answer that says nothing of a lease renews nothing", async () => {
    const { source, hold } = start(200);
    source.answer = async () => [];

    await aborted(hold().lapsed);

    expect(source.sizes.length).toBeGreaterThan(0);
  });

  test("asks about a hundred leases at a time", async () => {
    const { source, hold } = start(300);
    const holds = Array.from({ length: 250 }, (_, index) => hold({ ...LEASE, attempt: index + 1 }));

    await waitUntil(() => source.sizes.length >= 3);

    expect(source.sizes.slice(0, 3)).toEqual([100, 100, 50]);
    for (const held of holds) held.release();
  });

  test("a hint asks at once, for a job that is held", async () => {
    const { source, hold, keeper: made } = start(60_000);
    source.answer = async () => [{ outcome: "renewed", isCancelling: true }];
    const held = hold();

    made.hint("another");
    expect(source.sizes).toEqual([]);
    made.hint(LEASE.id);
    await aborted(held.cancelled);

    expect(source.sizes).toEqual([1]);
    held.release();
  });

  test("what was released says nothing any more, whatever a late answer brings", async () => {
    const { source, hold } = start(150);
    const waiting: ((renewed: readonly Renewed[]) => void)[] = [];
    source.answer = () => new Promise((resolve) => waiting.push(resolve));
    const held = hold();
    await waitUntil(() => source.sizes.length === 1);

    held.release();
    for (const answer of waiting) answer([{ outcome: "lost" }]);
    await new Promise((resolve) => setImmediate(resolve));

    expect([held.lost.aborted, held.lapsed.aborted]).toEqual([false, false]);
  });

  test("another call can say that a lease is gone", async () => {
    const { hold } = start(60_000);
    const held = hold();

    held.lose();

    expect(held.lost.aborted).toBe(true);
  });

  test("what is held when it stops is released", async () => {
    const { hold, keeper: made } = start(60_000);
    hold(LEASE, 59_999);

    await made.stop();
    await made.stop();

    expect(hold(LEASE, 0).lapsed.aborted).toBe(false);
  });

  test("tells its stand-in of what it holds, what runs and what is over", async () => {
    const { hold, words } = start(60_000);

    const held = hold();
    held.runs(4711, 1000);
    held.runs(undefined, 1000);
    held.release();
    held.release();

    expect(words).toMatchObject([
      { kind: "hold", hold: 1, lease: LEASE },
      { kind: "group", hold: 1, group: 4711, killGraceMs: 1000 },
      { kind: "group", hold: 1, group: undefined, killGraceMs: 1000 },
      { kind: "release", hold: 1 },
    ]);
  });

  test("speaks to its stand-in every third of a lease, whether renewals are answered or not", async () => {
    const { source, hold, words } = start(300);
    source.answer = async () => Promise.reject(new Error("down"));
    hold();

    await waitUntil(() => words.filter(({ kind }) => kind === "alive").length > 2);

    expect(words.filter(({ kind }) => kind === "renewed")).toEqual([]);
  });

  test("speaks to its stand-in before and after a renewal that hangs", async () => {
    const { source, hold, words } = start(300);
    source.answer = async () => new Promise(() => undefined);
    hold();

    await waitUntil(() => source.sizes.length === 3);

    expect(words.map(({ kind }) => kind)).toEqual(["hold", "alive", "alive", "alive", "alive", "alive"]);
  });

  test("takes over what its stand-in did: a lease that was renewed there does not lapse here", async () => {
    const { source, hold, did } = start(300);
    source.answer = async () => Promise.reject(new Error("down"));
    const held = hold();

    did({ kind: "renewed", holds: [1, 99], sentMs: machineMs() + 59_700 });
    await waitUntil(() => source.sizes.length >= 5);

    expect(held.lapsed.aborted).toBe(false);
    expect(held.endedFor).toBe(undefined);
  });

  test.each([
    ["lost", "lost", "kill"],
    ["lapsed", "lapsed", "kill"],
    ["cancelled", "cancelled", "cancel"],
  ] as const)("knows of a process that its stand-in ended because it was %s", (why, signal, endedFor) => {
    const { hold, did } = start(60_000);
    const held = hold();

    did({ kind: "ended", hold: 1, why });
    did({ kind: "stood_in", forMs: 1000 });

    expect(held[signal].aborted).toBe(true);
    expect(held.endedFor).toBe(endedFor);
  });
});
