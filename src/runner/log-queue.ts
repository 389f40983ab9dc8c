/**
 * The lines of one attempt that wait to be stored: bounded in memory and in all. What does not fit is counted, and a
 * line of stream `system` stands where it is missing (faults, I8: truncation shows).
 */
import { isUtf8 } from "node:buffer";

import { logEntryText } from "../auth/log-chain.ts";
import { counted } from "../counted.ts";
import type { LogEntry, LogStream } from "../rpc/schema.ts";

/** A script touches at most 100 items (spec: jobs-and-redis, rule 2). */
const BATCH_ENTRIES = 100;
const BATCH_BYTES = 256 * 1024;
/** What a line weighs in memory beside its bytes: empty lines are bounded too. */
const LINE_BYTES = 128;
/** Kept back of the cap, so that the two lines that say it was reached fit under it. */
const RESERVED_BYTES = 512;

export interface LogQueueOptions {
  readonly attempt: number;
  /** Canonical text of all entries together. */
  readonly maxLogBytes: number;
  /** Bytes waiting. */
  readonly maxQueuedBytes: number;
  readonly now: () => number;
}

interface Line {
  readonly stream: LogStream;
  readonly bytes: Uint8Array;
  readonly timeMs: number;
}

/** Entries in their order, with the text each adds to the chain. */
export interface LogBatch {
  readonly entries: readonly LogEntry[];
  readonly texts: readonly string[];
  readonly bytes: number;
}

class Tally {
  lines = 0;
  bytes = 0;

  add(bytes: number): void {
    this.lines += 1;
    this.bytes += bytes;
  }

  toString(): string {
    return `${counted(this.lines, "line")} (${counted(this.bytes, "byte")})`;
  }
}

export class LogQueue {
  readonly #options: LogQueueOptions;
  #lines: Line[] = [];
  #queuedBytes = 0;
  #takenBytes = 0;
  /** Since the last line that found room. */
  #gap = new Tally();
  /** Since the cap was reached. */
  #cut: Tally | undefined;
  #hasEnded = false;

  constructor(options: LogQueueOptions) {
    this.#options = options;
  }

  get length(): number {
    return this.#lines.length;
  }

  /** Enough for a batch, or no room for much more: nothing is gained by waiting. */
  get isRipe(): boolean {
    return this.#lines.length >= BATCH_ENTRIES || this.isCrowded;
  }

  /** More than half of what may wait is waiting: who can wait with more, does. */
  get isCrowded(): boolean {
    return this.#queuedBytes > this.#options.maxQueuedBytes / 2;
  }

  /** Takes a line, or counts it where it finds no room. */
  push(stream: LogStream, bytes: Uint8Array): void {
    if (this.#cut !== undefined) {
      if (stream !== "system") this.#cut.add(bytes.length);
    } else if (this.#queuedBytes + bytes.length + LINE_BYTES > this.#options.maxQueuedBytes) {
      this.#gap.add(bytes.length);
    } else {
      this.#closeGap();
      this.#enqueue(stream, bytes);
    }
  }

  /** No line follows: whatever was counted and not yet said is said. */
  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#closeGap();
    if (this.#cut !== undefined) {
      this.#enqueue("system", Buffer.from(`after the cut ${this.#cut.toString()} dropped`));
    }
  }

  /** The next lines as entries, numbered from `firstSeq`; empty when none wait. */
  take(firstSeq: number): LogBatch {
    const entries: LogEntry[] = [];
    const texts: string[] = [];
    let bytes = 0;
    while (entries.length < BATCH_ENTRIES && bytes < BATCH_BYTES) {
      const [line] = this.#lines;
      if (line === undefined) break;
      const entry = toEntry(line, this.#options.attempt, firstSeq + entries.length);
      const text = logEntryText(entry);
      const size = Buffer.byteLength(text);
      if (this.#cut === undefined && this.#takenBytes + size > this.#options.maxLogBytes - RESERVED_BYTES) {
        this.#cutHere(`the limit of ${this.#options.maxLogBytes} bytes is reached`);
        continue;
      }
      this.#lines.shift();
      this.#queuedBytes -= line.bytes.length + LINE_BYTES;
      this.#takenBytes += size;
      bytes += size;
      entries.push(entry);
      texts.push(text);
    }
    return { entries, texts, bytes };
  }

  /** The store's own cap refused this batch: cut there. False when it was cut already and refuses even to say so. */
  refuse(batch: LogBatch): boolean {
    if (this.#cut !== undefined) return false;
    this.#takenBytes -= batch.bytes;
    for (const entry of batch.entries) if (entry.stream !== "system") this.#gap.add(contentBytes(entry));
    this.#cutHere(`the supervisors' limit is reached, below this runner's own of ${this.#options.maxLogBytes} bytes`);
    return true;
  }

  #cutHere(why: string): void {
    const cut = this.#gap;
    for (const line of this.#lines) if (line.stream !== "system") cut.add(line.bytes.length);
    this.#gap = new Tally();
    this.#cut = cut;
    this.#lines = [];
    this.#queuedBytes = 0;
    this.#enqueue("system", Buffer.from(`log cut: ${why}`));
    // Counted when it was reached after the end: nothing else would say how much is missing.
    if (this.#hasEnded) {
      this.#hasEnded = false;
      this.end();
    }
  }

  #closeGap(): void {
    if (this.#gap.lines === 0) return;
    this.#enqueue("system", Buffer.from(`gap: the log could not be stored in time, ${this.#gap.toString()} dropped`));
    this.#gap = new Tally();
  }

  #enqueue(stream: LogStream, bytes: Uint8Array): void {
    this.#lines.push({ stream, bytes, timeMs: this.#options.now() });
    this.#queuedBytes += bytes.length + LINE_BYTES;
  }
}

/** Text where the bytes are UTF-8, else base64. */
function toEntry({ stream, bytes, timeMs }: Line, attempt: number, seq: number): LogEntry {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const content = isUtf8(buffer) ? { text: buffer.toString("utf8") } : { base64: buffer.toString("base64") };
  return { attempt, seq, time_ms: timeMs, stream, ...content };
}

function contentBytes({ text, base64 }: LogEntry): number {
  return text === undefined ? Buffer.byteLength(base64 ?? "", "base64") : Buffer.byteLength(text);
}
