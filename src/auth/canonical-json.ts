/** Canonical text: the one JSON spelling of a document, which is what gets signed, stored and hashed. */

/** Deepest nesting of objects and arrays; the outermost one counts as 1. */
const MAX_DEPTH = 16;
/** ASCII only, so that sorting by code unit (RFC 8785) and by code point (Matrix) is the same order. */
const KEY = /^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/;
/** Names that change what an object is instead of what it holds. `__proto__` passes {@link KEY}, so does the rest. */
const FORBIDDEN_KEYS: ReadonlySet<string> = new Set(["__proto__", "constructor", "prototype"]);
/** Printable ASCII less the quote and the backslash: most strings of a document, which stand in JSON as they are. */
const PLAIN = /^[ !#-[\]-~]*$/;
const SURROGATE = /[\ud800-\udfff]/;
const LONE_SURROGATE = /\p{Surrogate}/u;
/** How much of a bad key an answer repeats: keys come from strangers and may be megabytes long. */
const SHOWN_KEY_LENGTH = 64;

type Members = Readonly<Record<string, unknown>>;

/** Why a value has no canonical text, and where: names and indexes with dots between, from the value given. */
interface Fault {
  readonly path: string;
  readonly reason: string;
}

/**
 * Writes the canonical text of a value that came from `JSON.parse` (spec: signing, "Canonical text"; the common part of
 * RFC 8785 and Matrix canonical JSON): sorted keys, no spaces, integers of at most 2^53-1, well-formed strings as they
 * are. Refuses null, fractions, unsafe integers, -0, keys outside the pattern or of the prototype, lone surrogates,
 * nesting beyond 16, and what JSON does not know. A refusal names the member: `job.env_vars.CI`. Never throws.
 */
export function canonicalText(
  value: unknown,
): { ok: true; text: string } | { ok: false; path: string; reason: string } {
  const written = write(value, 1);
  return typeof written === "string" ? { ok: true, text: written } : { ok: false, ...written };
}

/**
 * `canonical(JSON.parse(text)) === text`: the invariant of every stored, queued or shown text. It also refuses duplicate
 * keys, since `JSON.parse` keeps the last of them and the text comes out shorter. Never throws.
 */
export function isCanonicalText(text: string): boolean {
  try {
    const written = canonicalText(JSON.parse(text));
    return written.ok && written.text === text;
  } catch {
    // Not JSON at all, so not canonical: that is the answer, nothing is hidden.
    return false;
  }
}

function write(value: unknown, depth: number): string | Fault {
  if (typeof value === "string") return writeString(value);
  if (typeof value === "number") return writeNumber(value);
  if (typeof value === "boolean") return String(value);
  if (value === null) return fault("null is not allowed; leave the member out");
  if (typeof value === "object" && depth > MAX_DEPTH) return fault(`nested deeper than ${MAX_DEPTH} levels`);
  if (Array.isArray(value)) return writeArray(value, depth);
  return isMembers(value) ? writeObject(value, depth) : fault(`${typeof value} is not JSON`);
}

function isMembers(value: unknown): value is Members {
  return typeof value === "object" && value !== null;
}

/**
 * JSON.stringify escapes lone surrogates alone as \udXXX (ES2019, QuoteJSONString), so only a text with that in it needs the slow
 * look; and a text without surrogates, which most are, not even the search for it.
 */
function writeString(value: string): string | Fault {
  if (PLAIN.test(value)) return `"${value}"`;
  const quoted = JSON.stringify(value);
  const isSuspect = SURROGATE.test(value) && quoted.includes("\\ud");
  return isSuspect && LONE_SURROGATE.test(value) ? fault("a lone surrogate is not Unicode text") : quoted;
}

function writeNumber(value: number): string | Fault {
  if (!Number.isSafeInteger(value)) return fault("only integers of at most 2^53-1 are allowed");
  return Object.is(value, -0) ? fault("-0 is not allowed; write 0") : String(value);
}

function writeArray(values: readonly unknown[], depth: number): string | Fault {
  let text = "[";
  for (let index = 0; index < values.length; index += 1) {
    const item = write(values[index], depth + 1);
    if (typeof item !== "string") return within(String(index), item);
    text += index === 0 ? item : `,${item}`;
  }
  return `${text}]`;
}

function writeObject(members: Members, depth: number): string | Fault {
  let text = "{";
  for (const key of Object.keys(members).toSorted()) {
    if (!KEY.test(key) || FORBIDDEN_KEYS.has(key)) {
      return within(key.slice(0, SHOWN_KEY_LENGTH), fault("this name is not allowed for a member"));
    }
    const member = write(members[key], depth + 1);
    if (typeof member !== "string") return within(key, member);
    text += text === "{" ? `"${key}":${member}` : `,"${key}":${member}`;
  }
  return `${text}}`;
}

function fault(reason: string): Fault {
  return { path: "", reason };
}

function within(step: string, { path, reason }: Fault): Fault {
  return { path: path === "" ? step : `${step}.${path}`, reason };
}
