import { describe, expect, test } from "vitest";

import { Backoff } from "../../../src/runner/backoff.ts";
import { Claimer } from "../../../src/runner/claimer.ts";
import type { ClaimedJob, Renewed } from "../../../src/runner/source.ts";
import { pause, Pulse, Wake, withDeadline } from "../../../src/runner/wake.ts";

function aClaimed(id: string): ClaimedJob {
  const lease = { id, attempt: 1, token: "t" };
  return { lease, document: "", signatures: "", ticket: "", queue: "build", isCancelling: false };
}

function aClaimer(answers: (() => { jobs: ClaimedJob[]; tookMs?: number })[], renewed: Renewed[] = []) {
  let nowMs = 1000;
  const asked: { count: number; token: string }[] = [];
  const claimer = new Claimer({
    source: {
      leaseMs: 900,
      claim: async (count, token) => {
        asked.push({ count, token });
        const answer = answers.shift();
        if (answer === undefined) throw new Error("down");
        const { jobs, tookMs = 0 } = answer();
        nowMs += tookMs;
        return jobs;
      },
      renew: async () => {
        if (renewed.length === 0) throw new Error("down");
        return renewed;
      },
    },
    monotonic: () => nowMs,
  });
  return { claimer, asked };
}

function fail(): never {
  throw new Error("lost");
}

describe("Claimer", () => {
  test("asks with a fresh random token each time, and counts leases from before the question", async () => {
    const { claimer, asked } = aClaimer([() => ({ jobs: [aClaimed("a")], tookMs: 200 }), () => ({ jobs: [] })]);

    expect(await claimer.claim(2)).toEqual({ jobs: [aClaimed("a")], sinceMs: 1000 });
    expect(await claimer.claim(1)).toEqual({ jobs: [], sinceMs: 1200 });
    expect(asked[0]?.token).toMatch(/^[0-9a-f]{32}$/);
    expect(asked[0]?.token).not.toBe(asked[1]?.token);
    expect(claimer.isOpen).toBe(false);
  });

  test("repeats a claim that was not answered with the same token and count", async () => {
    const { claimer, asked } = aClaimer([fail, () => ({ jobs: [aClaimed("a")] })]);

    await expect(claimer.claim(2)).rejects.toThrow("lost");
    expect(claimer.isOpen).toBe(true);
    await claimer.claim(5);

    expect(asked[1]).toEqual(asked[0]);
    expect(claimer.isOpen).toBe(false);
  });

  test("of leases that are old when they are heard of, those that are still ours are taken", async () => {
    const { claimer } = aClaimer(
      [() => ({ jobs: [aClaimed("a"), aClaimed("b")], tookMs: 301 })],
      [{ outcome: "lost" }, { outcome: "renewed", isCancelling: false }],
    );

    expect(await claimer.claim(2)).toEqual({ jobs: [aClaimed("b")], sinceMs: 1301 });
  });

  test("when nobody says whether old leases are ours, the claim stays open", async () => {
    const { claimer } = aClaimer([() => ({ jobs: [aClaimed("a")], tookMs: 301 })]);

    await expect(claimer.claim(2)).rejects.toThrow("down");

    expect(claimer.isOpen).toBe(true);
  });
});

describe("Backoff", () => {
  test("doubles up to two seconds with jitter down to half, and begins anew", () => {
    const whole = new Backoff(() => 1);
    const half = new Backoff(() => 0);

    expect(Array.from({ length: 7 }, () => whole.next())).toEqual([100, 200, 400, 800, 1600, 2000, 2000]);
    expect(half.next()).toBe(50);
    whole.reset();
    expect(whole.next()).toBe(100);
  });
});

describe("Waiting", () => {
  test("a ring before the wait is not lost, and counts once", async () => {
    const wake = new Wake();
    wake.ring();
    wake.ring();
    await wake.wait();
    const order: string[] = [];
    const waited = wake.wait().then(() => order.push("woken"));
    order.push("waiting");
    wake.ring();
    await waited;

    expect(order).toEqual(["waiting", "woken"]);
  });

  test("a wait ends by itself after its time", async () => {
    await new Wake().wait(5);
    await pause(5);
    expect(await new Pulse().next(5)).toBe(false);
  });

  test("a pause ends with its signal, also one that is over already", async () => {
    const over = new AbortController();
    const paused = pause(60_000, over.signal);
    over.abort();
    await paused;
    await pause(60_000, over.signal);

    expect(over.signal.aborted).toBe(true);
  });

  test("all who wait hear a beat", async () => {
    const pulse = new Pulse();
    const waiting = [pulse.next(60_000), pulse.next(60_000)];
    pulse.beat();

    expect(await Promise.all(waiting)).toEqual([true, true]);
  });

  test("a deadline says what took too long, and passes on what came in time", async () => {
    await expect(withDeadline(new Promise(() => undefined), 5, "renew")).rejects.toThrow(
      "renew: no answer within 5 ms",
    );
    expect(await withDeadline(Promise.resolve(1), 60_000, "x")).toBe(1);
    await expect(withDeadline(Promise.reject(new Error("own")), 60_000, "x")).rejects.toThrow("own");
  });
});
