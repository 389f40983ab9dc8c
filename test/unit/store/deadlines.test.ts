import { describe, expect, test } from "vitest";

import { Deadlines } from "../../../src/store/deadlines.ts";
import { DeadlineError } from "../../../src/store/redis-errors.ts";

async function never(): Promise<never> {
  return new Promise(() => undefined);
}

describe("Deadlines", () => {
  test("give what the work gives, whatever it is", async () => {
    const deadlines = new Deadlines(60_000);

    expect(await deadlines.hold(Promise.resolve(1))).toBe(1);
    await expect(deadlines.hold(Promise.reject(new Error("own")))).rejects.toThrow("own");
  });

  test("end what takes longer, each at its own time, and nothing else", async () => {
    const deadlines = new Deadlines(20);
    const quick = deadlines.hold(Promise.resolve("quick"));
    const first = deadlines.hold(never());
    const ends: string[] = [];
    const noteFirst = first.catch(() => void ends.push("first"));
    await new Promise((resolve) => void setTimeout(resolve, 10));
    const startedMs = performance.now();
    const second = deadlines.hold(never());
    const noteSecond = second.catch(() => void ends.push("second"));

    await expect(first).rejects.toThrow(new DeadlineError(20));
    await expect(second).rejects.toThrow(DeadlineError);
    const tookMs = performance.now() - startedMs;
    await Promise.all([noteFirst, noteSecond]);

    expect(await quick).toBe("quick");
    expect(tookMs).toBeGreaterThanOrEqual(20);
    expect(ends).toEqual(["first", "second"]);
  });

  test("go on after all that was waited for has ended", async () => {
    const deadlines = new Deadlines(5);
    await expect(deadlines.hold(never())).rejects.toThrow(DeadlineError);

    await expect(deadlines.hold(never())).rejects.toThrow(DeadlineError);
    expect(await deadlines.hold(Promise.resolve(1))).toBe(1);
  });
});
