/** JSON-RPC 2.0 messages: bytes in, requests, notifications and refusals out. Nothing is carried out here. */
import { SupervisorError } from "../errors.ts";
import { scanJson } from "./json-scan.ts";

/** `null` is an id like another: only its absence makes a notification (JSON-RPC 2.0 §4.1). */
export type RequestId = string | number | null;

export type JsonObject = Readonly<Record<string, unknown>>;

/** A well-formed request object. */
export interface Request {
  /** Absent: a notification, never to be answered. */
  readonly id?: RequestId;
  readonly method: string;
  /** By name, or (an array) by position, which no method here takes. Absent params and an empty array are no params. */
  readonly params: JsonObject | readonly unknown[];
}

/** An entry that is no request object: answered, with its id where that could be told (JSON-RPC 2.0 §5). */
export interface Refusal {
  readonly id: RequestId;
  readonly error: SupervisorError;
}

export type Entry = Request | Refusal;

/** One entry, or a batch. A batch of one stays a batch: its answer is an array. */
export type Message = { readonly entry: Entry } | { readonly entries: readonly Entry[] };

export interface MessageLimits {
  readonly maxBodyBytes: number;
  /** Entries of one batch. */
  readonly maxBatch: number;
}

/** A byte order mark stays in the text, where it is no JSON (RFC 8259 §8.1), instead of being dropped. */
const UTF8 = { fatal: true, ignoreBOM: true } as const;

/** Parses messages; keeps nothing between them but its decoder. */
export class MessageParser {
  readonly #limits: MessageLimits;
  readonly #decoder = new TextDecoder("utf-8", UTF8);

  constructor(limits: MessageLimits) {
    this.#limits = limits;
  }

  /** Size, UTF-8, nesting and duplicate keys, JSON, then the shape of each entry: cheapest first, and never throws. */
  parse(bytes: Uint8Array): Message {
    const { maxBodyBytes, maxBatch } = this.#limits;
    if (bytes.length > maxBodyBytes) {
      return refuse(new SupervisorError("tooLarge", { data: beyond("max_body_bytes", maxBodyBytes, bytes.length) }));
    }
    const json = this.#parseJson(bytes);
    if (json instanceof SupervisorError) return refuse(json);
    if (!Array.isArray(json.value)) return { entry: toEntry(json.value) };
    const entries: readonly unknown[] = json.value;
    if (entries.length === 0) return refuse(invalidRequest("a batch", "at least one entry"));
    if (entries.length > maxBatch) {
      return refuse(new SupervisorError("tooMany", { data: beyond("max_batch", maxBatch, entries.length) }));
    }
    return { entries: entries.map(toEntry) };
  }

  #parseJson(bytes: Uint8Array): { readonly value: unknown } | SupervisorError {
    let text: string;
    try {
      text = this.#decoder.decode(bytes);
    } catch {
      return new SupervisorError("parse", { data: { reason: "not UTF-8" } });
    }
    const scan = scanJson(text);
    if (!scan.ok) return new SupervisorError("parse", { data: { reason: scan.reason } });
    try {
      return { value: JSON.parse(text) };
    } catch {
      // V8's message quotes the text, which may hold what no answer and no log shall show.
      return new SupervisorError("parse", { data: { reason: bytes.length === 0 ? "empty" : "not JSON" } });
    }
  }
}

/** Data of an error about a limit: its setting's name, what it allows, what was there. */
export function beyond(
  limit: string,
  allowed: number,
  present: number,
): { readonly limit: string; readonly allowed: number; readonly present: number } {
  return { limit, allowed, present };
}

export function isRefusal(entry: Entry): entry is Refusal {
  return "error" in entry;
}

function refuse(error: SupervisorError): Message {
  return { entry: { id: null, error } };
}

function invalidRequest(path: string, expected: string): SupervisorError {
  return new SupervisorError("invalidRequest", { data: { path, expected } });
}

/** JSON-RPC 2.0 §4, strictly. Members beyond its four are ignored: the specification does not forbid them. */
function toEntry(value: unknown): Entry {
  if (!isJsonObject(value)) return { id: null, error: invalidRequest("request", "an object") };
  // JSON.parse leaves no member undefined: undefined means absent.
  const { id, jsonrpc, method, params = {} } = value;
  if (id !== undefined && !isRequestId(id)) {
    return { id: null, error: invalidRequest("id", "a string, null, or a number that survives being echoed") };
  }
  if (jsonrpc === "2.0" && typeof method === "string" && isStructured(params)) {
    const request = { method, params: isEmptyArray(params) ? {} : params };
    return id === undefined ? request : { id, ...request };
  }
  return { id: id ?? null, error: faultOf(jsonrpc, method) };
}

function faultOf(jsonrpc: unknown, method: unknown): SupervisorError {
  if (jsonrpc !== "2.0") return invalidRequest("jsonrpc", '"2.0"');
  return typeof method === "string" ? invalidRequest("params", "an object") : invalidRequest("method", "a string");
}

function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isStructured(value: unknown): value is Request["params"] {
  return typeof value === "object" && value !== null;
}

/** How many clients say "no params": nothing is in a position, so nothing can be taken for another parameter. */
function isEmptyArray(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/**
 * An answer under another id is worse than none: 1e400 would come back as null, and 9007199254740993 as its neighbour.
 */
function isRequestId(id: unknown): id is RequestId {
  if (typeof id === "number") return Number.isSafeInteger(id) || (Number.isFinite(id) && !Number.isInteger(id));
  return typeof id === "string" || id === null;
}
