/** One pass over JSON text before it is parsed: bounds its nesting and refuses duplicate keys. */

/** Deepest nesting of arrays and objects that is taken (spec: api, "Dispatcher"); the flags of all levels fit one integer. */
export const MAX_NESTING = 32;

/**
 * Most members of an object or elements of an array inside the message. No method comes near it, and what is refused
 * after the parse may cost more than linear time; the outermost array is a batch, which has a limit of its own.
 */
export const MAX_MEMBERS = 1024;

export type JsonScan = { readonly ok: true } | { readonly ok: false; readonly reason: string };

const OK: JsonScan = { ok: true };
const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_ARRAY = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** From this many keys on an object's keys are kept in a Set: below it comparing them one by one is faster. */
const FEW_KEYS = 16;

/**
 * Judges nesting (at most {@link MAX_NESTING}) and keys alone: whether the text is JSON at all is left to `JSON.parse`.
 * Two members of one name are refused because readers disagree about which of them counts (RFC 8259 §4), and what one
 * party signed must be what the other one reads. Keys are compared as they decode: `"\u0061"` is `"a"`. Linear in the
 * length of the text, whatever it holds.
 */
export function scanJson(text: string): JsonScan {
  const containers = new Containers();
  let reason: string | undefined;
  for (let at = 0; at < text.length && reason === undefined; at++) {
    switch (text.charCodeAt(at)) {
      case QUOTE: {
        const end = endOfString(text, at + 1);
        // Unterminated: JSON.parse says so.
        if (end < 0) return OK;
        if (containers.expectsKey) reason = containers.addKey(decodeKey(text, at, end));
        at = end;
        break;
      }
      case OPEN_OBJECT:
        reason = containers.open(true);
        break;
      case OPEN_ARRAY:
        reason = containers.open(false);
        break;
      case CLOSE_OBJECT:
      case CLOSE_ARRAY:
        containers.close();
        break;
      case COMMA:
        reason = containers.next();
        break;
    }
  }
  return reason === undefined ? OK : { ok: false, reason };
}

/** Index of the quote that ends a string whose content begins at `start`; -1 where none does. */
function endOfString(text: string, start: number): number {
  let quote = text.indexOf('"', start);
  while (quote > start && text.charCodeAt(quote - 1) === BACKSLASH) {
    let first = quote - 1;
    while (first > start && text.charCodeAt(first - 1) === BACKSLASH) first--;
    // An even run of backslashes escapes itself alone, an odd one the quote too.
    if ((quote - first) % 2 === 0) return quote;
    quote = text.indexOf('"', quote + 1);
  }
  return quote;
}

function decodeKey(text: string, open: number, close: number): string {
  const raw = text.slice(open + 1, close);
  if (!raw.includes("\\")) return raw;
  try {
    return String(JSON.parse(text.slice(open, close + 1)));
  } catch {
    // A bad escape: the same text fails again, and for good, when the whole is parsed.
    return raw;
  }
}

/** The containers that are open, and the keys of those that are objects: innermost last, all in one array. */
class Containers {
  /** The next string is a key. */
  expectsKey = false;
  #depth = 0;
  /** Commas seen in the container at each depth. */
  readonly #counts: number[] = [];
  /** Bit d: the container at depth d is an object. */
  #objects = 0;
  readonly #keys: string[] = [];
  /** Where each open object's keys begin. */
  readonly #starts: number[] = [];
  readonly #sets: (Set<string> | undefined)[] = [];

  /** What is wrong with one more level, if anything. */
  open(isObject: boolean): string | undefined {
    if (this.#depth === MAX_NESTING) return `nested deeper than ${MAX_NESTING} levels`;
    this.#counts[this.#depth] = 0;
    const bit = 1 << this.#depth++;
    this.#objects = isObject ? this.#objects | bit : this.#objects & ~bit;
    this.expectsKey = isObject;
    if (!isObject) return undefined;
    this.#starts.push(this.#keys.length);
    this.#sets.push(undefined);
    return undefined;
  }

  close(): void {
    this.expectsKey = false;
    // More closed than opened: JSON.parse says so.
    if (this.#depth === 0) return;
    if (this.#isInObject()) {
      this.#keys.length = this.#starts.pop() ?? 0;
      this.#sets.pop();
    }
    this.#depth--;
  }

  /** After a comma: what is wrong with one more member, if anything. */
  next(): string | undefined {
    // Outside of any container: JSON.parse says so.
    if (this.#depth === 0) return undefined;
    this.expectsKey = this.#isInObject();
    const level = this.#depth - 1;
    const count = (this.#counts[level] ?? 0) + 1;
    this.#counts[level] = count;
    return level > 0 && count >= MAX_MEMBERS ? `more than ${MAX_MEMBERS} members in one container` : undefined;
  }

  /** What is wrong with this key, if anything. */
  addKey(key: string): string | undefined {
    this.expectsKey = false;
    const level = this.#starts.length - 1;
    const start = this.#starts[level] ?? 0;
    let set = this.#sets[level];
    if (set === undefined && this.#keys.length - start === FEW_KEYS) {
      set = new Set(this.#keys.slice(start));
      this.#sets[level] = set;
    }
    if (set?.has(key) ?? this.#keys.includes(key, start)) return `duplicate key ${JSON.stringify(key.slice(0, 64))}`;
    if (set === undefined) this.#keys.push(key);
    else set.add(key);
    return undefined;
  }

  #isInObject(): boolean {
    return (this.#objects & (1 << (this.#depth - 1))) !== 0;
  }
}
