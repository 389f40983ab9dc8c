/**
 * Changes of keys.toml as text: tables are added and revoked in place, so that comments, order and spacing survive. Every
 * change is proved before it is given: the new text must parse, and say what the old one said but for this change. Pure.
 */
import { type EnrolledKey, isRealDay, type KeyringContents, parseKeyring } from "./keyring-toml.ts";

/** The new text with what it says, or why nothing was changed, with the fix. */
export type EditedKeyring =
  | { readonly ok: true; readonly text: string; readonly contents: KeyringContents }
  | { readonly ok: false; readonly problem: string };

/** One `[[key]]` table to be written; the parser judges every field of it. */
export interface NewKey {
  readonly name: string;
  readonly principal: string;
  /** `ed25519:` + 64 hex. */
  readonly key: string;
  readonly roles: readonly string[];
  readonly runners: readonly string[];
  /** A TOML date, or a moment with its offset. */
  readonly notAfter?: string;
  readonly overlay?: readonly string[];
  /** Calls a second, as a number in text. */
  readonly rate?: string;
}

export interface KeyRevocation {
  /** The key's name in the file, or the key itself. */
  readonly which: string;
  /** UNIX ms. */
  readonly now: number;
  /** Its running jobs are to be cancelled too. */
  readonly cancelRunning: boolean;
}

const HEADER = /^[ \t]*\[/u;
const KEY_HEADER = /^[ \t]*\[\[[ \t]*key[ \t]*\]\][ \t]*(?:#.*)?\r?$/u;
/** What may stand unquoted: nothing that could begin another line or table. */
const BARE_DATE = /^\d{4}-\d{2}-\d{2}(?:[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2}))?$/u;
const BARE_NUMBER = /^\d{1,9}(?:\.\d{1,9})?$/u;

/** Adds a table at the end of the file. */
export function addKey(text: string, added: NewKey): EditedKeyring {
  const before = parseKeyring(text);
  if (!before.ok) return before;
  const { notAfter, rate } = added;
  if (notAfter !== undefined && !BARE_DATE.test(notAfter)) {
    return refused(`not_after "${notAfter}" is neither a date, 2027-01-01, nor a moment with its offset`);
  }
  if (notAfter !== undefined && !isRealDay(notAfter.slice(0, 10))) {
    return refused(`not_after ${notAfter} is no day of the calendar`);
  }
  if (rate !== undefined && !BARE_NUMBER.test(rate)) return refused(`rate "${rate}" is not a number of calls a second`);
  const end = endOfLine(text);
  const gap = text.endsWith("\n") || text === "" ? end : end + end;
  const edited = text + gap + tableLines(added).join(end) + end;
  return proved(edited, (after) => {
    const last = after.keys.at(-1);
    const isAdded = last !== undefined && last.key === added.key && last.name === added.name;
    return isAdded && isSame({ ...after, keys: after.keys.slice(0, -1) }, before);
  });
}

function tableLines(added: NewKey): readonly string[] {
  const { notAfter, overlay, rate } = added;
  return [
    "[[key]]",
    `name = ${quoted(added.name)}`,
    `principal = ${quoted(added.principal)}`,
    `key = ${quoted(added.key)}`,
    `roles = ${list(added.roles)}`,
    ...(added.runners.length === 0 ? [] : [`runners = ${list(added.runners)}`]),
    ...(notAfter === undefined ? [] : [`not_after = ${notAfter}`]),
    ...(overlay === undefined ? [] : [`overlay = ${list(overlay)}`]),
    ...(rate === undefined ? [] : [`rate = ${rate}`]),
  ];
}

/** Sets `revoked_at`, and `cancel_running` where it is asked for, in the key's own table. Revoking twice changes nothing. */
export function revokeKey(text: string, { which, now, cancelRunning }: KeyRevocation): EditedKeyring {
  const before = parseKeyring(text);
  if (!before.ok) return before;
  const index = before.keys.findIndex(({ name, key }) => name === which || key === which);
  const found = before.keys[index];
  if (found === undefined) {
    return refused(`no key "${which}" in it. There are: ${before.keys.map(({ name }) => `"${name}"`).join(", ")}`);
  }
  const wanted = cancelRunning || found.cancelRunning;
  if (found.revokedAtMs !== undefined && wanted === found.cancelRunning) {
    return { ok: true, text, contents: { keys: before.keys, requirements: before.requirements } };
  }
  const edited = withRevocation(text, { index, count: before.keys.length, found, now, cancelRunning });
  if (edited === undefined) return refused(`the table of "${found.name}" can not be told apart from other text`);
  return proved(edited, (after) => {
    const revokedAtMs = found.revokedAtMs ?? Math.floor(now / 1000) * 1000;
    const keys = before.keys.map((key) => (key === found ? { ...key, cancelRunning: wanted, revokedAtMs } : key));
    return isSame(after, { keys, requirements: before.requirements });
  });
}

interface Place {
  readonly index: number;
  /** Tables of the whole file. */
  readonly count: number;
  readonly found: EnrolledKey;
  readonly now: number;
  readonly cancelRunning: boolean;
}

/** Undefined where the lines are not those of a plain file: text in several lines can look like a table. */
function withRevocation(text: string, place: Place): string | undefined {
  const lines = text.split("\n");
  const headers = lines.flatMap((line, at) => (KEY_HEADER.test(line) ? [at] : []));
  const start = headers[place.index];
  if (headers.length !== place.count || start === undefined) return undefined;
  const next = lines.findIndex((line, at) => at > start && HEADER.test(line));
  const table = lines.slice(start, next === -1 ? lines.length : next);
  const keyLine = table.findIndex((line) => /^[ \t]*key[ \t]*=/u.test(line));
  if (keyLine === -1) return undefined;
  const carriage = lines[start]?.endsWith("\r") === true ? "\r" : "";
  const moment = new Date(place.now).toISOString().replace(/\.\d+Z$/u, "Z");
  const more = [
    ...(place.found.revokedAtMs === undefined ? [`revoked_at = ${moment}${carriage}`] : []),
    ...(place.cancelRunning ? [`cancel_running = true${carriage}`] : []),
  ];
  const isReplaced = (line: string): boolean => place.cancelRunning && /^[ \t]*cancel_running[ \t]*=/u.test(line);
  const changed = [...table.slice(0, keyLine + 1), ...more, ...table.slice(keyLine + 1)];
  const kept = changed.filter((line) => more.includes(line) || !isReplaced(line));
  return [...lines.slice(0, start), ...kept, ...lines.slice(start + table.length)].join("\n");
}

/** The text as the file that is to be written, if it says what it should. */
function proved(text: string, isMeant: (contents: KeyringContents) => boolean): EditedKeyring {
  const parsed = parseKeyring(text);
  if (!parsed.ok) return parsed;
  const contents = { keys: parsed.keys, requirements: parsed.requirements };
  if (isMeant(contents)) return { ok: true, text, contents };
  return refused("the change would touch other tables as well");
}

function refused(problem: string): EditedKeyring {
  return { ok: false, problem: `${problem}. Nothing was changed; the file can be edited by hand.` };
}

function isSame(one: KeyringContents, other: KeyringContents): boolean {
  return plain(one) === plain(other);
}

/** Whatever the order in which members were set. */
function plain({ keys, requirements }: KeyringContents): string {
  const sorted = keys.map((key) => Object.entries(key).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  return JSON.stringify([sorted, requirements]);
}

/** A TOML basic string; JSON's escapes are all among TOML's. */
function quoted(text: string): string {
  return JSON.stringify(text);
}

function list(texts: readonly string[]): string {
  return `[${texts.map(quoted).join(", ")}]`;
}

function endOfLine(text: string): string {
  return text.includes("\r\n") ? "\r\n" : "\n";
}
