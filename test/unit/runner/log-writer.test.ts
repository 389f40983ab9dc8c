import { describe, expect, test } from "vitest";

import { LogChain, logEntryText } from "../../../src/auth/log-chain.ts";
import type { LogEntry } from "../../../src/rpc/schema.ts";
import { LogWriter } from "../../../src/runner/log-writer.ts";
import type { Appended } from "../../../src/runner/source.ts";
import { quietLog } from "../../support/runner-harness.ts";
import { seededRandom } from "../../support/signing.ts";
import { waitUntil } from "../../support/wait.ts";

/** A source that stores, and can be told otherwise. */
class Appends {
  readonly stored: LogEntry[] = [];
  readonly sent: (readonly LogEntry[])[] = [];
  answer: () => Promise<Appended> = async () => "appended";

  async append(_lease: unknown, entries: readonly LogEntry[]): Promise<Appended> {
    this.sent.push(entries);
    const answer = await this.answer();
    if (answer === "appended") this.store(entries);
    return answer;
  }

  store(entries: readonly LogEntry[]): void {
    this.stored.push(...entries.filter((entry) => entry.seq > this.stored.length));
  }

  get texts(): (string | undefined)[] {
    return this.stored.map((entry) => entry.text);
  }

  get chain(): { head: string; count: number } {
    const chain = new LogChain();
    for (const entry of this.stored) chain.append(logEntryText(entry));
    return { head: chain.head, count: chain.count };
  }
}

function aWriter(limits: { logBufferBytes?: number; logStallMs?: number } = {}): {
  source: Appends;
  writer: LogWriter;
  lost: AbortController;
} {
  const source = new Appends();
  const lost = new AbortController();
  const writer = new LogWriter({
    hold: { lease: { id: "job", attempt: 1, token: "t" }, lost: lost.signal, lose: () => lost.abort() },
    source,
    limits: { maxLogBytes: 100_000, logBufferBytes: 100_000, logStallMs: 1000, ...limits },
    log: quietLog,
    now: () => 5,
    random: () => 0,
  });
  return { source, writer, lost };
}

function write(writer: LogWriter, ...lines: readonly string[]): void {
  for (const line of lines) writer.write("stdout", Buffer.from(line));
}

async function down(): Promise<Appended> {
  throw new Error("down");
}

describe("LogWriter", () => {
  test("stores lines that come together in one call, and chains them", async () => {
    const { source, writer } = aWriter();
    write(writer, "a", "b");
    writer.note("c");

    await waitUntil(() => source.stored.length === 3);

    expect(source.sent).toHaveLength(1);
    expect(source.stored.map(({ stream, seq }) => [stream, seq])).toEqual([
      ["stdout", 1],
      ["stdout", 2],
      ["system", 3],
    ]);
    expect(writer.stored).toEqual(source.chain);
    writer.end();
  });

  test("one call is under way at a time", async () => {
    const { source, writer } = aWriter();
    let inFlight = 0;
    let most = 0;
    source.answer = async () => {
      inFlight += 1;
      most = Math.max(most, inFlight);
      await new Promise((resolve) => setImmediate(resolve));
      inFlight -= 1;
      return "appended";
    };
    write(writer, ...Array.from({ length: 500 }, (_, index) => String(index)));

    expect(await writer.flush(10_000)).toBe(true);

    expect(most).toBe(1);
    expect(source.stored).toHaveLength(500);
    expect(writer.stored).toEqual(source.chain);
  });

  test("repeats the same entries until they are answered, and never others under their numbers", async () => {
    const { source, writer } = aWriter();
    source.answer = down;
    write(writer, "a");
    await waitUntil(() => source.sent.length === 1);
    write(writer, "b");
    await waitUntil(() => source.sent.length >= 2);
    source.answer = async () => "appended";

    expect(await writer.flush(10_000)).toBe(true);

    expect(source.sent[1]).toEqual(source.sent[0]);
    expect(source.texts).toEqual(["a", "b"]);
    expect(writer.stored).toEqual(source.chain);
  });

  test("a flush gives up at its bound and sends nothing afterwards, and the next one goes on", async () => {
    const { source, writer } = aWriter();
    source.answer = down;
    write(writer, "a");

    expect(await writer.flush(30)).toBe(false);
    expect(writer.stored.count).toBe(0);
    // A batch that was under its way when the flush gave up ends, and no other is sent.
    const sent = source.sent.length;
    source.answer = async () => "appended";
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(source.sent.length).toBe(sent);

    expect(await writer.flush(10_000)).toBe(true);
    expect(source.texts).toEqual(["a"]);
  });

  test("a flush with nothing to say is done at once", async () => {
    const { writer } = aWriter();

    expect(await writer.flush(0)).toBe(true);
    expect(writer.stored).toEqual({ head: "0".repeat(64), count: 0 });
    writer.end();
  });

  test("a lost lease ends it: nothing is sent any more, and the hold learns of it", async () => {
    const { source, writer, lost } = aWriter();
    source.answer = async () => "lost";
    write(writer, "a");

    await waitUntil(() => lost.signal.aborted);
    write(writer, "b");

    expect(await writer.flush(10_000)).toBe(true);
    expect(source.sent).toHaveLength(1);
  });

  test("a store that is full is told of the cut once, and then nothing", async () => {
    const { source, writer } = aWriter();
    source.answer = async () => "full";
    write(writer, "a", "b");

    expect(await writer.flush(10_000)).toBe(true);

    expect(source.sent.map((entries) => entries.map((entry) => entry.text))).toEqual([
      ["a", "b"],
      [
        "log cut: the supervisors' limit is reached, below this runner's own of 100000 bytes",
        "after the cut 2 lines (2 bytes) dropped",
      ],
    ]);
    expect(source.sent[1]?.[0]?.seq).toBe(1);
  });

  test("there is room at once while little waits", async () => {
    const { writer } = aWriter();
    write(writer, "a");

    await writer.room();

    expect(writer.isCrowded).toBe(false);
    writer.end();
  });

  test("a source that takes nothing is waited for once, one that moves again and again", async () => {
    const { source, writer } = aWriter({ logBufferBytes: 300, logStallMs: 40 });
    source.answer = down;
    write(writer, "a");
    await waitUntil(() => source.sent.length >= 1);
    write(writer, "b", "c");
    expect(writer.isCrowded).toBe(true);

    const startMs = performance.now();
    await writer.room();
    expect(performance.now() - startMs).toBeGreaterThan(30);
    // From here on it does not wait: this would not return before the test's end.
    for (let index = 0; index < 10_000; index += 1) await writer.room();
    write(writer, "dropped");

    source.answer = async () => "appended";
    await waitUntil(() => source.texts.includes("c"));
    write(writer, "d");
    await writer.flush(10_000);
    expect(source.texts).toEqual([
      "a",
      "b",
      "c",
      "gap: the log could not be stored in time, 1 line (7 bytes) dropped",
      "d",
    ]);
  });

  test("nobody waits for room any more once the output is cut off", async () => {
    const { source, writer } = aWriter({ logBufferBytes: 300, logStallMs: 60_000 });
    source.answer = () => new Promise(() => undefined);
    write(writer, "a");
    await waitUntil(() => source.sent.length === 1);
    write(writer, "b", "c");
    const room = writer.room();

    writer.stopStalling();
    await room;
    await writer.room();

    expect(writer.isCrowded).toBe(true);
    writer.end();
  });

  test("whatever fails on the way, the chain is that of what is stored, without holes", async () => {
    const random = seededRandom(20_261_123);
    const runs = Array.from({ length: 40 }, async () => {
      const { source, writer } = aWriter();
      let faults = 6;
      source.answer = async () => {
        if (random() < 0.5) await new Promise((resolve) => setImmediate(resolve));
        const dice = random();
        if (dice > 0.4 || faults === 0) return "appended";
        faults -= 1;
        // Carried out, and the answer lost.
        if (dice < 0.2) source.store(source.sent.at(-1) ?? []);
        throw new Error("cut");
      };
      for (let index = 0; index < 300; index += 1) {
        write(writer, String(index));
        if (random() < 0.05) await new Promise((resolve) => setTimeout(resolve, 60 * random()));
      }
      expect(await writer.flush(30_000)).toBe(true);
      expect(source.texts).toEqual(Array.from({ length: 300 }, (_, index) => String(index)));
      expect(writer.stored).toEqual(source.chain);
    });

    await Promise.all(runs);
  });
});
