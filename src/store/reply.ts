/** Replies of Redis come as unknown; these parse them or say what came instead. */

/** Neither we nor a script of ours answers like that: foreign data, or another version of a script. */
function unexpected(wanted: string, reply: unknown): Error {
  return new Error(`Redis answered ${typeof reply === "object" ? "a list" : typeof reply} where ${wanted} was due`);
}

export function asText(reply: unknown): string {
  if (typeof reply === "string") return reply;
  throw unexpected("text", reply);
}

/** Numbers arrive as integers, or as text where they are stored. */
export function asNumber(reply: unknown): number {
  const value = typeof reply === "string" && reply !== "" ? Number(reply) : reply;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw unexpected("a number", reply);
}

export function asList(reply: unknown): readonly unknown[] {
  if (Array.isArray(reply)) return reply;
  throw unexpected("a list", reply);
}

/** Nothing, or '' from a script, which can not say nothing inside a list. */
export function asOptional<Value>(reply: unknown, parse: (reply: unknown) => Value): Value | undefined {
  return reply === null || reply === undefined || reply === "" ? undefined : parse(reply);
}

/** A member of a closed set of words. */
export function asOneOf<const Word extends string>(reply: unknown, words: readonly Word[]): Word {
  const found = words.find((word) => word === reply);
  if (found === undefined) throw unexpected(words.join(" or "), reply);
  return found;
}
