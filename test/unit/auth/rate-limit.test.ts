import { describe, expect, test } from "vitest";

import { RateLimiter } from "../../../src/auth/rate-limit.ts";

function aLimiter(wanted: { perSecond?: number; burst?: number; maxEntries?: number } = {}): {
  limiter: RateLimiter;
  clock: { ms: number };
} {
  const clock = { ms: 1_790_000_000_000 };
  const limiter = new RateLimiter({ perSecond: 2, burst: 3, maxEntries: 100, now: () => clock.ms, ...wanted });
  return { limiter, clock };
}

function takes(limiter: RateLimiter, key: string, count: number): readonly number[] {
  return Array.from({ length: count }, () => limiter.take(key));
}

describe("RateLimiter", () => {
  test("grants the burst at once, then says how long the next takes", () => {
    const { limiter } = aLimiter();

    expect(takes(limiter, "a", 5)).toEqual([0, 0, 0, 500, 500]);
  });

  test("keeps what it said: granted after that time and not a ms before", () => {
    const { limiter, clock } = aLimiter();
    takes(limiter, "a", 3);

    clock.ms += 499;
    expect(limiter.take("a")).toBe(1);
    clock.ms += 1;
    expect(limiter.take("a")).toBe(0);
    expect(limiter.take("a")).toBe(500);
  });

  test("never holds more than the burst", () => {
    const { limiter, clock } = aLimiter();
    takes(limiter, "a", 3);
    clock.ms += 3_600_000;

    expect(takes(limiter, "a", 4)).toEqual([0, 0, 0, 500]);
  });

  test("takes again what was given back", () => {
    const { limiter } = aLimiter();
    const charges = [1, 2, 3].map(() => limiter.charge("a"));
    expect(limiter.charge("a").waitMs).toBe(500);

    charges[0]?.giveBack();
    charges[2]?.giveBack();

    expect(takes(limiter, "a", 3)).toEqual([0, 0, 500]);
  });

  test("does not give back what time gave back already, nor what was refused", () => {
    const { limiter, clock } = aLimiter();
    const early = [1, 2, 3].map(() => limiter.charge("a"));
    clock.ms += 1500;
    const late = [1, 2, 3, 4].map(() => limiter.charge("a"));
    expect(late.map(({ waitMs }) => waitMs)).toEqual([0, 0, 0, 500]);

    for (const charge of [...early, ...late.slice(3)]) charge.giveBack();

    expect(limiter.take("a")).toBe(500);
  });

  test("has nothing to give back to a bucket that is full again and gone", () => {
    const { limiter, clock } = aLimiter();
    const charge = limiter.charge("a");
    clock.ms += 5000;
    limiter.take("b");

    charge.giveBack();

    expect(takes(limiter, "a", 4)).toEqual([0, 0, 0, 500]);
  });

  test("keeps names apart", () => {
    const { limiter } = aLimiter();
    takes(limiter, "a", 4);

    expect(limiter.take("b")).toBe(0);
  });

  test("charges a cost, takes nothing on refusal, and counts more than the burst as the burst", () => {
    const { limiter, clock } = aLimiter();

    expect(limiter.take("a", 2)).toBe(0);
    expect(limiter.take("a", 2)).toBe(500);
    expect(limiter.take("a", 1)).toBe(0);
    expect(limiter.take("a", 100)).toBe(1500);
    clock.ms += 1500;
    expect(limiter.take("a", 100)).toBe(0);
  });

  test.each([0.1, 3, 7, 1000 / 3])("grants what it announced at %d a second", (perSecond) => {
    const { limiter, clock } = aLimiter({ perSecond });
    takes(limiter, "a", 3);

    for (let call = 0; call < 50; call += 1) {
      clock.ms += limiter.take("a");
      expect(limiter.take("a")).toBe(0);
    }
  });

  test("gives nothing when the clock is set back", () => {
    const { limiter, clock } = aLimiter();
    takes(limiter, "a", 3);
    clock.ms -= 60_000;

    expect(limiter.take("a")).toBe(500);
  });

  test("forgets the one unused for longest when strangers are too many, never more", () => {
    const { limiter } = aLimiter({ maxEntries: 2 });
    takes(limiter, "a", 3);
    takes(limiter, "b", 3);
    takes(limiter, "a", 1);
    takes(limiter, "c", 3);

    expect(limiter.take("a")).toBe(500);
    expect(limiter.take("c")).toBe(500);
    expect(limiter.take("b")).toBe(0);
  });

  test("keeps a busy name although many that come once have filled up again", () => {
    const { limiter, clock } = aLimiter({ maxEntries: 10 });
    for (let stranger = 0; stranger < 1000; stranger += 1) {
      limiter.take(`once ${stranger}`);
      takes(limiter, "busy", 3);
      clock.ms += 500;
    }

    expect(limiter.take("busy")).toBe(0);
    expect(limiter.take("busy")).toBeGreaterThan(0);
  });
});
