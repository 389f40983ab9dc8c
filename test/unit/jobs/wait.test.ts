import { describe, expect, test } from "vitest";

import { hasChanged, waitFor } from "../../../src/jobs/wait.ts";
import { aHead } from "../../support/builders.ts";

/** A store that only knows how to ring. */
function aBell(): { onChange(id: string, callback: () => void): () => void; ring(): void; readonly listeners: number } {
  const callbacks = new Set<() => void>();
  return {
    onChange(_id, callback) {
      callbacks.add(callback);
      return () => callbacks.delete(callback);
    },
    ring: () => callbacks.forEach((callback) => callback()),
    get listeners() {
      return callbacks.size;
    },
  };
}

const never = new AbortController().signal;

describe("waitFor()", () => {
  test("answers at once when there is nothing to wait for", async () => {
    const bell = aBell();

    const value = await waitFor(bell, { id: "a", waitMs: 60_000, signal: never, look: async () => "there" });

    expect(value).toBe("there");
    expect(bell.listeners).toBe(0);
  });

  test("looks again after a hint, also one that came while it looked", async () => {
    const bell = aBell();
    let looks = 0;

    const value = await waitFor(bell, {
      id: "a",
      waitMs: 60_000,
      signal: never,
      look: async () => {
        looks += 1;
        if (looks === 1) bell.ring();
        return looks === 2 ? "second" : undefined;
      },
    });

    expect([value, looks]).toEqual(["second", 2]);
  });

  test("wakes from its sleep by a hint", async () => {
    const bell = aBell();
    let looks = 0;

    const waiting = waitFor(bell, {
      id: "a",
      waitMs: 60_000,
      signal: never,
      look: async () => {
        looks += 1;
        if (looks === 1) setImmediate(() => bell.ring());
        return looks > 1 ? "woken" : undefined;
      },
    });

    await expect(waiting).resolves.toBe("woken");
  });

  test("looks a last time at the end of the wait", async () => {
    const asked: boolean[] = [];

    const value = await waitFor(aBell(), {
      id: "a",
      waitMs: 20,
      signal: never,
      look: async (isLast) => {
        asked.push(isLast);
        return isLast ? "as it is" : undefined;
      },
    });

    expect(value).toBe("as it is");
    expect(asked.at(-1)).toBe(true);
  });

  test("ends when the connection does", async () => {
    const connection = new AbortController();
    const bell = aBell();

    const waiting = waitFor(bell, {
      id: "a",
      waitMs: 60_000,
      signal: connection.signal,
      look: async () => {
        setImmediate(() => connection.abort());
        return undefined;
      },
    });

    await expect(waiting).resolves.toBeUndefined();
    expect(bell.listeners).toBe(0);
  });
});

describe("hasChanged()", () => {
  test.each([
    ["a terminal job, whatever was seen", aHead({ state: "failed", revision: 3 }), 9, true],
    ["a revision beyond the one seen", aHead({ state: "running", revision: 2 }), 1, true],
    ["the revision seen", aHead({ state: "running", revision: 2 }), 2, false],
    ["a running job when waiting for the end", aHead({ state: "running", revision: 2 }), undefined, false],
  ])("judges %s", (_what, head, since, expected) => {
    expect(hasChanged(head, since)).toBe(expected);
  });
});
