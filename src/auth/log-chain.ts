/** The hash chain over a job's log: its head in the runner's receipt makes the whole log checkable. */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, concatBytes } from "@noble/hashes/utils.js";

import type { LogEntry } from "../rpc/schema.ts";
import { canonicalText } from "./canonical-json.ts";

/** Separates these hashes from every other SHA-256; the zero byte ends the label. */
const LABEL = "horus.log.v1\0";

/**
 * What one entry adds to the chain: the canonical text of attempt, seq, stream, time_ms and text or base64.
 * @throws TypeError when a member is not what JSON can carry (a lone surrogate in the text: give base64 instead).
 */
export function logEntryText(entry: LogEntry): string {
  const { attempt, seq, stream, time_ms, text, base64 } = entry;
  const content = text === undefined ? { base64 } : { text };
  const canonical = canonicalText({ attempt, seq, stream, time_ms, ...content });
  if (!canonical.ok) throw new TypeError(`Log entry ${seq}: ${canonical.path}: ${canonical.reason}.`);
  return canonical.text;
}

/**
 * One attempt's chain (spec: signing, "Ticket, registration, receipt"): h0 = 32 zero bytes,
 * h_i = SHA-256("horus.log.v1\0" ‖ h_{i-1} ‖ u64be(i) ‖ SHA-256(entry_i)), i = seq from 1.
 */
export class LogChain {
  #head: Uint8Array = new Uint8Array(32);
  #count = 0;

  /** Adds the next entry, as {@link logEntryText} writes it. */
  append(entryText: string): void {
    this.#count += 1;
    const encoder = new TextEncoder();
    const index = new DataView(new ArrayBuffer(8));
    index.setBigUint64(0, BigInt(this.#count));
    this.#head = sha256(
      concatBytes(encoder.encode(LABEL), this.#head, new Uint8Array(index.buffer), sha256(encoder.encode(entryText))),
    );
  }

  /** h_i of the last entry, 64 hex; 64 zeros before the first. */
  get head(): string {
    return bytesToHex(this.#head);
  }

  get count(): number {
    return this.#count;
  }
}
