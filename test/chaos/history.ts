/** The history of a run, kept outside the system under test: a JSON line for everything as it happens, and the evidence. */
import { appendFileSync, writeFileSync } from "node:fs";

import type { Call, CallOutcome, End, FaultRecord } from "./evidence.ts";

/** How a call ended, and what was said. */
export interface CallEnd {
  readonly outcome: CallOutcome;
  readonly detail?: string;
}

export class History {
  readonly calls: Call[] = [];
  readonly ends: End[] = [];
  readonly faults: FaultRecord[] = [];
  readonly #path: string;
  #lastEndMs = Date.now();
  #lastCall = 0;

  /** `path` is written anew. */
  constructor(path: string) {
    this.#path = path;
    writeFileSync(path, "");
  }

  /** When the last job was seen to end, UNIX ms; the beginning before that. */
  get lastEndMs(): number {
    return this.#lastEndMs;
  }

  /** A call begins; what it returns is told how it ended. */
  invoke(job: string, to: string): (end: CallEnd) => void {
    const startMs = Date.now();
    this.#lastCall += 1;
    const call = this.#lastCall;
    this.#write({ event: "invoke", call, job, to });
    return (end) => {
      this.calls.push({ job, to, startMs, endMs: Date.now(), ...end });
      this.#write({ event: "answer", call, ...end });
    };
  }

  ended(end: End): void {
    this.#lastEndMs = Date.now();
    this.ends.push(end);
    this.#write({ event: "end", ...end });
  }

  /** A fault strikes; what it returns is called when all is mended. */
  strike(name: string): () => void {
    const startMs = Date.now();
    this.#write({ event: "fault", name });
    return () => {
      this.faults.push({ name, startMs, endMs: Date.now() });
      this.#write({ event: "mended", name });
    };
  }

  /** Anything else that belongs to the evidence. */
  note(event: string, fields: object): void {
    this.#write({ event, ...fields });
  }

  /** Written at once: a harness that is killed leaves its history. */
  #write(line: object): void {
    appendFileSync(this.#path, `${JSON.stringify({ atMs: Date.now(), ...line })}\n`);
  }
}
