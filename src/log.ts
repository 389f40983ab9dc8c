/** The one door to pino: a root logger with redaction, one child for each component. */
import { Writable } from "node:stream";

import { pino } from "pino";

import type { LogEvent } from "./log-events.ts";

/** `event` is a fixed name of the table; ids and keys are members, never in the message. */
export interface LogLine {
  readonly event: LogEvent;
  readonly [member: string]: unknown;
}

type Write = (line: LogLine, text: string) => void;

/** What parts take in their constructor. */
export interface Log {
  readonly debug: Write;
  readonly info: Write;
  readonly warn: Write;
  readonly error: Write;
}

export interface LogSettings {
  readonly level: "debug" | "info" | "warn" | "error" | "silent";
  /** Readable lines for a terminal instead of JSON. */
  readonly pretty: boolean;
}

/** Where lines go: a stream, or a test that collects them. */
export interface LogDestination {
  write(text: string): unknown;
}

/** Members that never reach a log, at any depth: payloads, environments, signatures, secrets. */
const REDACTED: ReadonlySet<string> = new Set([
  "payload",
  "env_vars",
  "signature",
  "signatures",
  "sig",
  "secret",
  "password",
  "result",
  "text",
]);
const CENSOR = "[redacted]";
/** What lies deeper is left out whole: no line needs it, and it may go round in circles. */
const MAX_DEPTH = 8;

/** Makes the root logger; lines go to `destination`, standard error unless told. */
export function createLog(settings: LogSettings, destination: LogDestination = process.stderr): Log {
  const options = {
    level: settings.level,
    base: null,
    // Not pino's own redaction: its wildcards cost ten times the rest of a line, and there is a line for each decision.
    formatters: { log: (members: Record<string, unknown>) => (isPlain(members) ? members : redactMembers(members)) },
    // Errors are taken apart there, whatever member they stand in.
    serializers: { err: (error: unknown) => error },
  };
  return pino(options, settings.pretty ? readable(destination) : { write: (line) => void destination.write(line) });
}

/** A log whose lines all carry these members too; those that are undefined stay out. */
export function withMembers(log: Log, members: Readonly<Record<string, unknown>>): Log {
  const add =
    (level: keyof Log): Write =>
    (line, text) =>
      log[level]({ ...members, ...line }, text);
  return { debug: add("debug"), info: add("info"), warn: add("warn"), error: add("error") };
}

/** Nothing to hide and nothing to look into: so are most lines, and they need no copy. */
function isPlain(members: Record<string, unknown>): boolean {
  for (const name of Object.keys(members)) {
    if (typeof members[name] === "object" || REDACTED.has(name)) return false;
  }
  return true;
}

function redact(value: unknown, depth: number): unknown {
  if (typeof value !== "object" || value === null || "toJSON" in value) return value;
  if (depth === MAX_DEPTH) return CENSOR;
  if (value instanceof Error) return redactMembers(pino.stdSerializers.err(value), depth);
  return Array.isArray(value) ? value.map((item) => redact(item, depth + 1)) : redactMembers(value, depth);
}

/** A copy: what is logged stays as it is. */
function redactMembers(members: object, depth = 0): Record<string, unknown> {
  const shown: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(members)) {
    shown[name] = REDACTED.has(name) ? CENSOR : redact(value, depth + 1);
  }
  return shown;
}

const LEVELS: Readonly<Record<number, string>> = { 20: "debug", 30: "info", 40: "WARN", 50: "ERROR" };

/** Turns pino's JSON lines into `time level message key=value …`. */
function readable(destination: LogDestination): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      destination.write(chunk.toString("utf8").split("\n").filter(Boolean).map(readableLine).join(""));
      done();
    },
  });
}

function toFields(parsed: unknown): Readonly<Record<string, unknown>> {
  return typeof parsed === "object" && parsed !== null ? { ...parsed } : { msg: parsed };
}

function readableLine(line: string): string {
  const { level, time, msg, ...fields } = toFields(JSON.parse(line));
  const clock = new Date(Number(time)).toISOString().slice(11, 23);
  const pairs = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  return `${clock} ${LEVELS[Number(level)] ?? String(level)} ${String(msg)} ${pairs.join(" ")}\n`;
}
