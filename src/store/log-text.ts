/** A log entry as stored: its canonical text, which the log chain hashes. */
import { canonicalText } from "../auth/canonical-json.ts";
import type { LogEntry, LogStream } from "../rpc/schema.ts";
import { asText } from "./reply.ts";

/**
 * The canonical text of an entry (spec: signing, "Log chain").
 * @throws Error when the entry has none, such as text that is not well formed.
 */
export function logText(entry: LogEntry): string {
  const written = canonicalText(entry);
  if (written.ok) return written.text;
  throw new Error(`Log entry ${entry.seq} of attempt ${entry.attempt}: ${written.path}: ${written.reason}`);
}

const STREAMS: readonly LogStream[] = ["stdout", "stderr", "system"];

/** @throws Error when the stored text is not an entry: somebody else writes under our prefix. */
export function parseLogEntry(reply: unknown): LogEntry {
  const entry: unknown = JSON.parse(asText(reply));
  if (isLogEntry(entry)) return entry;
  throw new Error("A stored log entry is none");
}

function isLogEntry(value: unknown): value is LogEntry {
  if (typeof value !== "object" || value === null) return false;
  const { attempt, seq, time_ms, stream, text, base64 }: { readonly [name: string]: unknown } = { ...value };
  return (
    [attempt, seq, time_ms].every(Number.isSafeInteger) &&
    STREAMS.some((known) => known === stream) &&
    [text, base64].every((content) => content === undefined || typeof content === "string")
  );
}
