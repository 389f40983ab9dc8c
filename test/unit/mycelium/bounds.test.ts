/** The parts of the Mycelium transport that bound something: rates, memory, queues. */

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { AnswerCache } from "../../../transports/mycelium/answer-cache.ts";
import { DaemonError } from "../../../transports/mycelium/daemon-request.ts";
import { MyceliumDaemon } from "../../../transports/mycelium/daemon.ts";
import { Governor } from "../../../transports/mycelium/governor.ts";
import { Peers } from "../../../transports/mycelium/peers.ts";
import type { QueuedReply } from "../../../transports/mycelium/reply-lane.ts";
import { ReplyQueue } from "../../../transports/mycelium/reply-queue.ts";
import { RoundTrips } from "../../../transports/mycelium/round-trips.ts";
import { captureLog } from "../../support/mycelium-harness.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const bytes = (size: number): Uint8Array => new Uint8Array(size);

const answer = (node: string, size = 10, keys = ["k"]): Parameters<AnswerCache["set"]>[1] => ({
  node,
  keys,
  principal: "p",
  bytes: bytes(size),
});

function aQueue(
  send: (id: string) => Promise<void>,
  governor = new Governor({ perSecond: 1e6, burst: 1e6 }),
): {
  queue: ReplyQueue;
  lines: string[];
} {
  const { log, lines } = captureLog();
  return { queue: new ReplyQueue({ send, governor, log, now: Date.now, unauthenticatedPerSecond: 2 }), lines };
}
const reply = (id: string, principal?: string, size = 1): QueuedReply => ({
  id,
  nodeKey: "n",
  bytes: bytes(size),
  ...(principal === undefined ? {} : { principal }),
});

function aHangingDaemon(): MyceliumDaemon {
  vi.stubGlobal("fetch", async (_url: string, { signal }: { readonly signal: AbortSignal }) => {
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))));
  });
  return new MyceliumDaemon();
}

describe("Governor", () => {
  test("lets a burst go at once and then so many a second", async () => {
    const governor = new Governor({ perSecond: 20, burst: 3, now: Date.now });
    let gone = 0;
    const all = Promise.all(Array.from({ length: 13 }, () => governor.acquire().then(() => (gone += 1))));

    await vi.advanceTimersByTimeAsync(0);
    expect(gone).toBe(3);
    await vi.advanceTimersByTimeAsync(250);
    expect(gone).toBe(8);
    await vi.advanceTimersByTimeAsync(250);
    expect(gone).toBe(13);
    await all;
  });

  test("allows 12 a second and 200 at once unless told otherwise", async () => {
    const governor = new Governor({ now: Date.now });
    const taken = Array.from({ length: 201 }, () => governor.tryAcquire());

    expect(taken.filter(Boolean)).toHaveLength(200);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(Array.from({ length: 21 }, () => governor.tryAcquire()).filter(Boolean)).toHaveLength(12);
  });

  test("serves in order, and gives no token to those who left", async () => {
    const governor = new Governor({ perSecond: 10, burst: 1, now: Date.now });
    const stop = new AbortController();
    const order: number[] = [];
    await governor.acquire();
    const first = governor.acquire(stop.signal);
    const rest = [1, 2].map((name) => governor.acquire().then(() => order.push(name)));
    expect(governor.tryAcquire()).toBe(false);

    stop.abort();
    await expect(first).rejects.toThrow("aborted");
    await expect(governor.acquire(stop.signal)).rejects.toThrow("aborted");
    await vi.advanceTimersByTimeAsync(200);

    expect(order).toEqual([1, 2]);
    await Promise.all(rest);
  });
});

describe("a request to a daemon that hangs", () => {
  const message = { to: { pk: "1d".repeat(32) }, topic: "t", payload: bytes(1) };

  test.each([
    { what: "that waits for a reply ends 10 s after the reply was due", replyTimeoutSeconds: 30, endsMs: 40_000 },
    { what: "that waits for no reply ends after 10 s", replyTimeoutSeconds: 0, endsMs: 10_000 },
  ])("$what", async ({ replyTimeoutSeconds, endsMs }) => {
    let outcome: unknown;
    const over = aHangingDaemon()
      .push({ ...message, replyTimeoutSeconds })
      .catch((error: unknown) => (outcome = error));

    await vi.advanceTimersByTimeAsync(endsMs - 1);
    expect(outcome).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1);
    await over;

    expect(outcome).toBeInstanceOf(DaemonError);
    expect(outcome).toMatchObject({ kind: "lost" });
    expect(String(outcome)).toContain("did not answer in time");
  });
});

describe("AnswerCache", () => {
  test("forgets after its time", async () => {
    const cache = new AnswerCache({ ttlMs: 1_000, now: Date.now });
    cache.set("d", answer("n"), 0);

    await vi.advanceTimersByTimeAsync(999);
    expect(cache.get("d")).toBeDefined();
    await vi.advanceTimersByTimeAsync(1);
    expect(cache.get("d")).toBeUndefined();
    expect(cache.size).toBe(0);
  });

  test("holds so many answers, the oldest goes first", () => {
    const cache = new AnswerCache({ maxEntries: 8, now: Date.now });
    for (let index = 0; index < 12; index += 1) {
      cache.set(`d${index}`, answer(`n${index}`), 0);
    }

    expect(cache.size).toBe(8);
    expect(cache.get("d3")).toBeUndefined();
    expect(cache.get("d4")).toBeDefined();
  });

  test("gives one node a quarter at most, of entries and of bytes", () => {
    const cache = new AnswerCache({ maxEntries: 8, maxBytes: 400, now: Date.now });
    cache.set("other", answer("m"), 0);
    for (let index = 0; index < 20; index += 1) {
      cache.set(`d${index}`, answer("n"), 0);
    }
    expect(cache.size).toBe(3);
    cache.set("wide", answer("n", 95), 0);
    expect(cache.get("d19")).toBeUndefined();
    cache.set("too wide", answer("n", 101), 0);
    expect(cache.get("too wide")).toBeUndefined();
    expect(cache.get("other")).toBeDefined();
  });

  test("holds so many bytes", () => {
    const cache = new AnswerCache({ maxBytes: 400, now: Date.now });
    for (let index = 0; index < 8; index += 1) {
      cache.set(`d${index}`, answer(`n${index}`, 100), 0);
    }

    expect(cache.size).toBe(4);
  });

  test("replaces an answer without counting it twice", () => {
    const cache = new AnswerCache({ maxEntries: 8, now: Date.now });
    for (let index = 0; index < 20; index += 1) {
      cache.set("d", answer("n", index + 1), 0);
    }

    expect(cache.get("d")?.bytes).toHaveLength(20);
    expect(cache.size).toBe(1);
  });

  test("forgets what rests on a revoked key, and keeps nothing begun before", () => {
    const cache = new AnswerCache({ now: Date.now });
    cache.set("a", answer("n", 1, ["k1", "k2"]), cache.revocations);
    cache.set("b", answer("n", 1, ["k3"]), cache.revocations);
    const before = cache.revocations;

    cache.revoke("k2");
    cache.set("c", answer("n", 1, ["k3"]), before);

    expect([cache.get("a"), cache.get("b"), cache.get("c")].map(Boolean)).toEqual([false, true, false]);
  });
});

describe("Peers", () => {
  test("remembers a thousand nodes, heard most recently first", () => {
    const peers = new Peers(Date.now);
    for (let index = 0; index < 1_005; index += 1) {
      peers.heard(`n${index}`, "400::1");
    }
    peers.heard("n500", "400::2");
    peers.refused("n500");
    peers.refused("unknown");
    peers.measured("n500", 12);
    peers.measured("unknown", 12);
    peers.heard("n500", "400::2");

    const list = peers.list();
    expect(list).toHaveLength(1_000);
    expect(list[0]).toEqual({
      node: "x25519:n500",
      address: "400::2",
      lastMessageMs: Date.now(),
      calls: 3,
      refused: 1,
      roundTripMs: 12,
    });
    expect(list.at(-1)?.node).toBe("x25519:n5");
  });
});

function roundTrips(tripMs: number): { trips: RoundTrips; measured: [string, number][]; looks: string[] } {
  const measured: [string, number][] = [];
  const looks: string[] = [];
  const sentAt = new Map<string, number>();
  const trips = new RoundTrips({
    ask: (id) => {
      looks.push(id);
      const since = sentAt.get(id) ?? Date.now();
      sentAt.set(id, since);
      return Promise.resolve(Date.now() - since >= tripMs ? "arrived" : "under way");
    },
    onMeasured: (node, ms) => measured.push([node, ms]),
    now: Date.now,
  });
  return { trips, measured, looks };
}

const MINUTE_MS = 60_000;

describe("RoundTrips", () => {
  test("measures a node once a minute, a tenth exact, in few looks", async () => {
    const { trips, measured, looks } = roundTrips(1_000);
    trips.sent("1", "a", 100);
    await vi.advanceTimersByTimeAsync(2_000);
    trips.sent("2", "a", 100);
    await vi.advanceTimersByTimeAsync(MINUTE_MS);
    trips.sent("3", "a", 100);
    await vi.advanceTimersByTimeAsync(2_000);

    expect(measured.map(([node]) => node)).toEqual(["a", "a"]);
    expect(measured[0]?.[1]).toBeGreaterThanOrEqual(1_000);
    expect(measured[0]?.[1]).toBeLessThan(1_150);
    expect(new Set(looks)).toEqual(new Set(["1", "3"]));
    expect(looks.length).toBeLessThan(100);
  });

  test("measures four nodes at a time, and nothing that is large", async () => {
    const { trips, measured } = roundTrips(100);
    for (const node of ["a", "b", "c", "d", "e"]) trips.sent(node, node, 100);
    trips.sent("f", "f", 1_000_000);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(measured.map(([node]) => node).toSorted()).toEqual(["a", "b", "c", "d"]);

    trips.sent("e", "e", 100);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(measured).toHaveLength(5);
  });

  test("gives up on who never has it, on a daemon that knows nothing of it, and at the end", async () => {
    const { trips, measured, looks } = roundTrips(Infinity);
    trips.sent("1", "a", 100);
    await vi.advanceTimersByTimeAsync(2 * MINUTE_MS);
    const count = looks.length;
    await vi.advanceTimersByTimeAsync(MINUTE_MS);
    expect(looks).toHaveLength(count);
    trips.sent("2", "b", 100);
    trips.close();
    trips.sent("3", "c", 100);
    await vi.advanceTimersByTimeAsync(MINUTE_MS);
    expect(looks.filter((id) => id !== "1").length).toBeLessThanOrEqual(1);

    let asked = 0;
    const ask = (): Promise<never> => Promise.reject(new DaemonError("lost", `gone ${(asked += 1)}`));
    const lost = new RoundTrips({ ask, onMeasured: (node, ms) => measured.push([node, ms]), now: Date.now });
    lost.sent("1", "a", 100);
    await vi.advanceTimersByTimeAsync(MINUTE_MS);
    expect([asked, measured]).toEqual([1, []]);
  });

  test("forgets the node measured longest ago beyond a thousand", async () => {
    const { trips, measured } = roundTrips(0);
    for (let index = 0; index < 1_001; index += 1) {
      trips.sent(`${index}`, `n${index}`, 1);
      await vi.advanceTimersByTimeAsync(5);
    }
    trips.sent("again", "n0", 1);
    await vi.advanceTimersByTimeAsync(5);

    expect(measured.at(-1)?.[0]).toBe("n0");
    expect(measured).toHaveLength(1_002);
  });
});

describe("ReplyQueue", () => {
  test("lets principals take turns", async () => {
    const sent: string[] = [];
    const { queue } = aQueue((id) => Promise.resolve(void sent.push(id)));
    for (const id of ["a1", "a2", "a3"]) {
      queue.add(reply(id, "alice"));
    }
    queue.add(reply("b1", "bob"));
    queue.add(reply("x1"));

    await queue.close(new AbortController().signal);

    expect(sent).toEqual(["a1", "b1", "x1", "a2", "a3"]);
    expect(queue.size).toBe(0);
  });

  test("has an allowance of two a second for all that is not authenticated", async () => {
    const { queue } = aQueue(() => Promise.resolve());
    const flood = (): number =>
      Array.from({ length: 50 }, (_, index) => queue.add(reply(`x${index}`))).filter(Boolean).length;

    expect(flood()).toBe(10);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(flood()).toBe(2);
    expect(queue.add(reply("a1", "alice"))).toBe(true);
  });

  test("holds 500 replies for one principal and 2,000 for all, 16 MiB for one and 64 MiB for all", () => {
    const { queue } = aQueue(() => new Promise(() => undefined));
    const add = (principal: string, count: number): number =>
      Array.from({ length: count }, (_, index) => queue.add(reply(`${index}`, principal))).filter(Boolean).length;

    expect(["a", "b", "c", "d", "e"].map((name) => add(name, 600))).toEqual([500, 500, 500, 500, 0]);
    const { queue: wide } = aQueue(() => new Promise(() => undefined));
    const fill = (principal: string): boolean[] => [
      wide.add(reply("1", principal, 15 * 1024 * 1024)),
      wide.add(reply("2", principal, 2 * 1024 * 1024)),
    ];
    expect(["a", "b", "c", "d", "e"].flatMap(fill)).toEqual([
      true,
      false,
      true,
      false,
      true,
      false,
      true,
      false,
      false,
      true,
    ]);
  });

  test("lets the nodes of a principal take turns, and none of them fill its lane for the others", async () => {
    const sent: string[] = [];
    const { queue } = aQueue((id) => Promise.resolve(void sent.push(id)));
    const from = (nodeKey: string, id: string, size = 1): boolean =>
      queue.add({ ...reply(id, "alice", size), nodeKey });
    const relayed = Array.from({ length: 510 }, (_, index) => from("relay", `r${index}`));

    expect(relayed.filter(Boolean)).toHaveLength(500);
    expect([from("home", "h1"), from("home", "h2"), from("relay", "late")]).toEqual([true, true, false]);
    expect(queue.size).toBe(500);
    await queue.close(new AbortController().signal);
    expect(sent.slice(0, 5)).toEqual(["r0", "h1", "r1", "h2", "r2"]);
    expect(sent).not.toContain("r499");

    const wide = Array.from({ length: 16 }, (_, index) => from("relay", `w${index}`, 1024 * 1024));
    expect([...wide, from("home", "h3", 1024)].every(Boolean)).toBe(true);
    expect(from("relay", "w16", 1024 * 1024)).toBe(false);
    await queue.close(AbortSignal.abort());
  });

  test("puts a reply that the daemon does not take behind all others", async () => {
    const sent: string[] = [];
    const { queue } = aQueue((id) =>
      id === "bad"
        ? Promise.reject(new DaemonError("status", "answered 503", { status: 503 }))
        : Promise.resolve(void sent.push(id)),
    );
    for (const [id, principal] of [
      ["bad", "alice"],
      ["a2", "alice"],
      ["b1", "bob"],
    ] as const) {
      queue.add(reply(id, principal));
    }

    await vi.advanceTimersByTimeAsync(5_000);

    expect(sent.toSorted()).toEqual(["a2", "b1"]);
    expect(queue.size).toBe(1);
  });

  test("hands a reply over again until the daemon takes it", async () => {
    let attempts = 0;
    const { queue } = aQueue(() => {
      attempts += 1;
      return attempts < 4 ? Promise.reject(new DaemonError("refused", "no daemon")) : Promise.resolve();
    });
    queue.add(reply("a1", "alice"));

    await vi.advanceTimersByTimeAsync(5_000);

    expect(attempts).toBe(4);
    expect(queue.size).toBe(0);
  });

  test("drops what the daemon refuses for good, and what nobody waits for any more", async () => {
    const { queue, lines } = aQueue((id) =>
      Promise.reject(id === "bad" ? new DaemonError("status", "answered 400", { status: 400 }) : new Error("down")),
    );
    queue.add(reply("bad", "alice"));
    queue.add(reply("old", "bob"));

    await vi.advanceTimersByTimeAsync(440_000);

    expect(queue.size).toBe(0);
    expect(lines.join("")).toContain("the daemon refuses it");
    expect(lines.join("")).toContain("took none for too long");
  });

  test("gives up what is left at the deadline", async () => {
    const { queue } = aQueue(() => Promise.reject(new Error("down")));
    queue.add(reply("a1", "alice"));
    const deadline = new AbortController();
    const closed = queue.close(deadline.signal);

    await vi.advanceTimersByTimeAsync(100);
    deadline.abort();
    await closed;
    await aQueue(() => Promise.resolve()).queue.close(AbortSignal.abort());

    expect(queue.size).toBe(1);
  });
});
