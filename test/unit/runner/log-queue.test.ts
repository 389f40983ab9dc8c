import { describe, expect, test } from "vitest";

import { logEntryText } from "../../../src/auth/log-chain.ts";
import { type LogBatch, LogQueue } from "../../../src/runner/log-queue.ts";

function aQueue(wanted: { maxLogBytes?: number; maxQueuedBytes?: number } = {}): LogQueue {
  return new LogQueue({ attempt: 2, maxLogBytes: 100_000, maxQueuedBytes: 100_000, now: () => 1234, ...wanted });
}

function push(queue: LogQueue, ...lines: readonly string[]): void {
  for (const line of lines) queue.push("stdout", Buffer.from(line));
}

/** Everything that waits, batch by batch. */
function takeAll(queue: LogQueue): { batches: LogBatch[]; texts: (string | undefined)[] } {
  const batches: LogBatch[] = [];
  for (let seq = 1; queue.length > 0;) {
    const batch = queue.take(seq);
    seq += batch.entries.length;
    batches.push(batch);
  }
  return { batches, texts: batches.flatMap((batch) => batch.entries.map((entry) => entry.text)) };
}

describe("LogQueue", () => {
  test("gives lines as numbered entries, with the text each adds to the chain", () => {
    const queue = aQueue();
    push(queue, "one");
    queue.push("stderr", new Uint8Array([0xff]));

    const { entries, texts } = queue.take(7);

    expect(entries).toEqual([
      { attempt: 2, seq: 7, time_ms: 1234, stream: "stdout", text: "one" },
      { attempt: 2, seq: 8, time_ms: 1234, stream: "stderr", base64: "/w==" },
    ]);
    expect(texts).toEqual(entries.map((entry) => logEntryText(entry)));
    expect(queue.take(9).entries).toEqual([]);
  });

  test("keeps a byte order mark and control characters as they are", () => {
    const queue = aQueue();
    push(queue, "\u{FEFF}a\r\0");

    expect(queue.take(1).entries[0]?.text).toBe("\u{FEFF}a\r\0");
  });

  test("a batch has at most 100 entries, and ends soon after 256 KiB", () => {
    const queue = aQueue({ maxLogBytes: 10_000_000, maxQueuedBytes: 10_000_000 });
    push(queue, ...Array.from({ length: 150 }, () => "x"));
    push(queue, ...Array.from({ length: 60 }, () => "x".repeat(10_000)));

    const sizes = takeAll(queue).batches.map((batch) => batch.entries.length);

    expect(sizes[0]).toBe(100);
    expect(Math.max(...sizes.slice(1))).toBeLessThan(100);
    expect(sizes.reduce((all, size) => all + size, 0)).toBe(210);
  });

  test("what finds no room is counted, and a marker stands where it is missing", () => {
    const queue = aQueue({ maxQueuedBytes: 300 });
    push(queue, "a", "b", "lost", "gone");
    const first = queue.take(1);
    push(queue, "c");

    expect(first.entries.map((entry) => entry.text)).toEqual(["a", "b"]);
    expect(takeAll(queue).texts).toEqual(["gap: the log could not be stored in time, 2 lines (8 bytes) dropped", "c"]);
  });

  test("a gap at the end is said at the end, once", () => {
    const queue = aQueue({ maxQueuedBytes: 150 });
    push(queue, "a", "lost");
    queue.end();
    queue.end();

    expect(takeAll(queue).texts).toEqual(["a", "gap: the log could not be stored in time, 1 line (4 bytes) dropped"]);
  });

  test("empty lines are bounded too", () => {
    const queue = aQueue({ maxQueuedBytes: 1000 });
    push(queue, ...Array.from({ length: 1000 }, () => ""));

    expect(queue.length).toBeLessThan(10);
  });

  test("the cap holds to the byte, markers included", () => {
    const queue = aQueue({ maxLogBytes: 2000 });
    push(queue, ...Array.from({ length: 50 }, (_, index) => `line ${index} ${"\u{1}".repeat(index)}`));
    queue.end();

    const { batches, texts } = takeAll(queue);

    const stored = batches.flatMap((batch) => batch.texts).reduce((all, text) => all + Buffer.byteLength(text), 0);
    expect(stored).toBeLessThanOrEqual(2000);
    const kept = texts.filter((text) => text?.startsWith("line ")).length;
    expect(texts.slice(kept)).toEqual([
      "log cut: the limit of 2000 bytes is reached",
      expect.stringMatching(new RegExp(`^after the cut ${50 - kept} lines \\(\\d+ bytes\\) dropped$`)),
    ]);
  });

  test("after the cut lines are counted, and the runner's own are dropped", () => {
    const queue = aQueue({ maxLogBytes: 600 });
    push(queue, "a", "b");
    const before = queue.take(1);
    push(queue, "after");
    queue.push("system", Buffer.from("note"));
    queue.end();

    expect(before.entries.map((entry) => entry.text)).toEqual(["a", "log cut: the limit of 600 bytes is reached"]);
    expect(takeAll(queue).texts).toEqual(["after the cut 2 lines (6 bytes) dropped"]);
  });

  test("a batch the store refuses as too much is counted and cut there", () => {
    const queue = aQueue();
    push(queue, "a", "bcd");
    queue.push("system", Buffer.from("note"));
    queue.push("stdout", new Uint8Array([0xff, 0xfe]));
    const refused = queue.take(1);
    push(queue, "waiting");

    expect(queue.refuse(refused)).toBe(true);
    queue.end();
    const marker = takeAll(queue);

    expect(marker.texts).toEqual([
      "log cut: the supervisors' limit is reached, below this runner's own of 100000 bytes",
      "after the cut 4 lines (13 bytes) dropped",
    ]);
    expect(queue.refuse(marker.batches[0] ?? refused)).toBe(false);
  });

  test("a batch refused after the end still says how much is missing", () => {
    const queue = aQueue();
    push(queue, "abc");
    queue.end();
    queue.refuse(queue.take(1));

    expect(takeAll(queue).texts).toEqual([
      "log cut: the supervisors' limit is reached, below this runner's own of 100000 bytes",
      "after the cut 1 line (3 bytes) dropped",
    ]);
  });
});
