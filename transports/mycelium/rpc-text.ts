/** The little a carrier must see of a JSON-RPC text: is it a request, whose ids, and how to refuse it. */

import { ERRORS, type ErrorName } from "../../src/errors.ts";
import { parseJson } from "./daemon-answers.ts";

/** Members of a JSON object; anything else has none. */
type Members = Partial<Record<string, unknown>>;

/** The value of a JSON text in UTF-8; undefined where it is not one. */
export function parseBytes(bytes: Uint8Array): unknown {
  try {
    return parseJson(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    // Invalid UTF-8 is no JSON text (RFC 8259 §8.1).
    return undefined;
  }
}

/** The members of a value, none where it is not an object. */
export function membersOf(value: unknown): Members {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

/**
 * Whether a value can only be an answer: `result` or `error` without `method`. Nobody may answer one, else two nodes
 * that send each other errors never end.
 */
export function isAnswer(value: unknown): boolean {
  if (Array.isArray(value)) {
    return value.length > 0 && value.every((entry) => !Array.isArray(entry) && isAnswer(entry));
  }
  const members = membersOf(value);
  return !("method" in members) && ("result" in members || "error" in members);
}

/** The text that refuses a request, or each request of a batch, by one error; undefined where nothing is to be said. */
export function refusal(request: unknown, name: ErrorName, data?: object): Uint8Array | undefined {
  const { code, message } = ERRORS[name];
  const error = data === undefined ? { code, message } : { code, message, data };
  const refuse = (entry: unknown): object[] => {
    const { id } = membersOf(entry);
    const isId = typeof id === "string" || typeof id === "number" || id === null;
    return isId ? [{ jsonrpc: "2.0", id, error }] : [];
  };
  const answers: unknown[] = Array.isArray(request) ? request.flatMap(refuse) : refuse(request);
  if (answers.length === 0) {
    return undefined;
  }
  return new TextEncoder().encode(JSON.stringify(Array.isArray(request) ? answers : answers[0]));
}
