import { afterEach, describe, expect, test } from "vitest";

import { type Deed, LeaseWatch, LOOKS } from "../../../src/runner/lease-watch.ts";
import type { Lease, Renewed } from "../../../src/runner/source.ts";
import { waitUntil } from "../../support/wait.ts";

const LEASE_MS = 60_000;
const LEASE: Lease = { id: "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b", attempt: 1, token: "t" };
const RENEWED: Renewed = { outcome: "renewed", isCancelling: false };
const GROUP = 4711;
/** Looks until it stands in; the look after them renews. */
const PATIENCE = 4;

class Thread {
  nowMs = 0;
  answer: () => Promise<readonly Renewed[]> = async () => [RENEWED];
  renewals = 0;
  stops = 0;
  readonly deeds: Deed[] = [];
  readonly signals: string[] = [];
  readonly watch = new LeaseWatch({
    leaseMs: LEASE_MS,
    renewer: {
      renew: async () => {
        this.renewals += 1;
        return this.answer();
      },
      stop: async () => void (this.stops += 1),
    },
    machineMs: () => this.nowMs,
    report: (deed) => void this.deeds.push(deed),
    signal: (group, signal) => void this.signals.push(`${signal} ${group}`),
  });

  /** So many looks go by, and their time. */
  async look(count: number): Promise<void> {
    for (let at = 0; at < count; at += 1) {
      this.nowMs += LEASE_MS / LOOKS;
      await this.watch.look();
    }
  }

  /** Ends of holds, without the renewals. */
  get ends(): readonly Deed[] {
    return this.deeds.filter((deed) => deed.kind === "ended");
  }
}

let thread: Thread;

function start(killGraceMs = 60_000): Thread {
  thread = new Thread();
  thread.watch.hear({ kind: "hold", hold: 1, lease: LEASE, deadlineMs: LEASE_MS });
  thread.watch.hear({ kind: "group", hold: 1, group: GROUP, killGraceMs });
  return thread;
}

afterEach(() => thread.watch.hear({ kind: "release", hold: 1 }));

describe("LeaseWatch", () => {
  test("lets a loop alone that speaks every third of a lease", async () => {
    const { watch } = start();

    for (let third = 0; third < 12; third += 1) {
      await thread.look(LOOKS / 3);
      watch.hear({ kind: "renewed", hold: 1, deadlineMs: thread.nowMs + LEASE_MS });
    }

    expect([thread.renewals, thread.deeds, thread.signals]).toEqual([0, [], []]);
  });

  test("renews for a loop that is silent, within half a lease of its last word and for leases on end", async () => {
    start();

    await thread.look(PATIENCE);
    expect(thread.renewals).toBe(0);
    await thread.look(1);
    expect(thread.renewals).toBe(1);
    expect(thread.nowMs).toBeLessThanOrEqual(LEASE_MS / 2);
    await thread.look(3 * LOOKS);

    expect(thread.ends).toEqual([]);
    expect(thread.deeds.at(-1)).toMatchObject({ kind: "renewed", holds: [1], sentMs: thread.nowMs });
  });

  test("steps back at the first word, says how long it stood in, and lets go of its connection", async () => {
    const { watch } = start();
    await thread.look(PATIENCE + 3);

    watch.hear({ kind: "alive" });
    await thread.look(PATIENCE);

    expect(thread.deeds.at(-1)).toEqual({ kind: "stood_in", forMs: (2 * LEASE_MS) / LOOKS });
    expect([thread.renewals, thread.stops]).toEqual([3, 1]);
  });

  test("kills at once the process whose lease is gone, and tells it before", async () => {
    start();
    thread.answer = async () => [{ outcome: "lost" }];

    await thread.look(PATIENCE + 3);

    expect(thread.ends).toEqual([{ kind: "ended", hold: 1, why: "lost" }]);
    expect([thread.signals, thread.renewals]).toEqual([[`SIGKILL ${GROUP}`], 1]);
  });

  test("ends the process of a job that is to be cancelled as the loop would, and keeps its lease until it is gone", async () => {
    start(1);
    thread.answer = async () => [{ outcome: "renewed", isCancelling: true }];

    await thread.look(PATIENCE + 3);
    await waitUntil(() => thread.signals.length > 1);

    expect(thread.ends).toEqual([{ kind: "ended", hold: 1, why: "cancelled" }]);
    expect([thread.signals, thread.renewals]).toEqual([[`SIGTERM ${GROUP}`, `SIGKILL ${GROUP}`], 3]);
  });

  test("kills a process whose lease ran out while nothing answered, and says what was in the way", async () => {
    const { watch } = start();
    thread.answer = async () => Promise.reject(new Error("out of reach"));

    await thread.look(LOOKS - 1);
    expect(thread.signals).toEqual([]);
    await thread.look(1);

    expect(thread.ends).toEqual([{ kind: "ended", hold: 1, why: "lapsed" }]);
    expect(thread.signals).toEqual([`SIGKILL ${GROUP}`]);
    watch.hear({ kind: "alive" });
    expect(thread.deeds.at(-1)).toMatchObject({ kind: "stood_in", error: "out of reach" });
  });

  test("says of each time it stood in only what was in the way then", async () => {
    const { watch } = start();
    const waiting: ((error: Error) => void)[] = [];
    thread.answer = async () => new Promise((_resolve, reject) => waiting.push(reject));
    const looked = thread.look(PATIENCE + 1);
    await waitUntil(() => thread.renewals === 1);

    // Its connection is let go of, and the renewal on its way fails.
    watch.hear({ kind: "renewed", hold: 1, deadlineMs: 2 * LEASE_MS });
    for (const fail of waiting) fail(new Error("let go of"));
    await looked;
    thread.answer = async () => [RENEWED];
    await thread.look(PATIENCE + 1);
    watch.hear({ kind: "alive" });

    expect(thread.deeds.at(-1)).toEqual({ kind: "stood_in", forMs: 0 });
  });

  test("takes a loop that was silent for four leases for dead: it kills, and renews no longer", async () => {
    start();

    await thread.look(4 * LOOKS - 1);
    expect(thread.signals).toEqual([]);
    const { renewals } = thread;
    await thread.look(LOOKS);

    expect(thread.ends).toEqual([{ kind: "ended", hold: 1, why: "lapsed" }]);
    expect([thread.signals, thread.renewals]).toEqual([[`SIGKILL ${GROUP}`], renewals]);
  });

  test("signals no group that is gone", async () => {
    const { watch } = start();
    watch.hear({ kind: "group", hold: 1, group: undefined, killGraceMs: 0 });
    thread.answer = async () => [{ outcome: "lost" }];

    await thread.look(PATIENCE + 1);

    expect([thread.signals, thread.ends.length]).toEqual([[], 1]);
  });

  test("forgets what is released, and takes no answer for it", async () => {
    const { watch } = start();
    const waiting: ((answers: readonly Renewed[]) => void)[] = [];
    thread.answer = async () => new Promise((resolve) => waiting.push(resolve));
    const looked = thread.look(PATIENCE + 1);
    await waitUntil(() => thread.renewals === 1);

    watch.hear({ kind: "release", hold: 1 });
    for (const answer of waiting) answer([{ outcome: "lost" }]);
    await looked;

    expect([thread.ends, thread.signals]).toEqual([[], []]);
  });

  test("looks by itself while leases are held", async () => {
    thread = new Thread();
    const brief = new LeaseWatch({
      leaseMs: 240,
      renewer: { renew: async () => [RENEWED], stop: async () => undefined },
      machineMs: () => performance.now(),
      report: (deed) => void thread.deeds.push(deed),
      signal: () => undefined,
    });
    brief.hear({ kind: "hold", hold: 1, lease: LEASE, deadlineMs: Infinity });

    await waitUntil(() => thread.deeds.length > 0);

    brief.hear({ kind: "release", hold: 1 });
    expect(thread.deeds[0]).toMatchObject({ kind: "renewed", holds: [1] });
  });
});
