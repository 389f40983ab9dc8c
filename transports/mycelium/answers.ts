/** Finds each call's answer in the text of a reply. */

import { ERRORS } from "../../src/errors.ts";
import { membersOf, parseBytes } from "./rpc-text.ts";

/** What a reply says to one call. */
export interface FoundAnswer {
  /** The response object as JSON text. */
  readonly text: string;
  /** Code of its error; absent for a result. */
  readonly code?: number;
}

/**
 * The answers of a reply by JSON-RPC id; undefined where the reply is not JSON-RPC. An error with id null concerns the
 * message as a whole (JSON-RPC 2.0 §5): each call gets it under its own id.
 */
export function findAnswers(reply: Uint8Array, ids: readonly string[]): Map<string, FoundAnswer> | undefined {
  const value = parseBytes(reply);
  const entries: unknown[] = Array.isArray(value) ? value : [value];
  const found = new Map<string, FoundAnswer>();
  for (const entry of entries) {
    const members = membersOf(entry);
    if (!("result" in members) && !("error" in members)) {
      return undefined;
    }
    const code = membersOf(members["error"])["code"];
    const known = typeof code === "number" ? { code } : {};
    const { id } = members;
    if (typeof id === "string" || typeof id === "number") {
      found.set(String(id), { text: JSON.stringify(entry), ...known });
    } else if (!Array.isArray(value)) {
      for (const each of ids) {
        found.set(each, { text: JSON.stringify({ ...members, id: each }), ...known });
      }
    }
  }
  return found;
}

/** Whether an answer says that something was too large: in a batch, perhaps only all answers together. */
export function isTooLarge(answer: FoundAnswer): boolean {
  return answer.code === ERRORS.tooLarge.code;
}
