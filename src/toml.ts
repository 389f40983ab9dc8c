/** TOML for people who write it by hand: what is none is told by its place, the line that stands there, and the fix. Pure. */
import { parse, TomlError } from "smol-toml";

export type TomlTable = Record<string, unknown>;

/** Longest piece of a line that is shown, in characters. */
const SHOWN_LENGTH = 80;

/** `fault` goes behind the name of the file, as a sentence. */
export function parseToml(
  text: string,
):
  | { readonly ok: true; readonly table: TomlTable }
  | { readonly ok: false; readonly fault: string; readonly cause: Error } {
  try {
    return { ok: true, table: parse(text) };
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const { line, column } = error;
    const written = text.split(/\r?\n/u)[line - 1] ?? "";
    const place = `line ${line}, column ${column}${written.trim() === "" ? "" : ` (${shown(written)})`}`;
    return { ok: false, fault: `not TOML at ${place}: ${fixOf(error, written)}.`, cause: error };
  }
}

/**
 * The line without what a terminal would obey, and of one that may hold a URL's password its name alone; a line that has
 * none goes on with a text, perhaps in the middle of a password.
 */
function shown(line: string): string {
  const text = line.trim().replaceAll(/\p{C}/gu, "?");
  if (/@|\/\/|^[\w.-]*url\b/u.test(text)) return `${/^[\w.-]+(?=[\s=])/u.exec(text)?.[0] ?? ""} …`;
  return text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}…` : text;
}

const UNCLOSED_TABLE = "the brackets of the table's name are not closed";

/** By what the parser says, less its picture of the lines; what is not listed speaks for itself. */
const FIXES: readonly (readonly [pattern: RegExp, fix: string])[] = [
  [/redefine/u, "it stands there before already; leave one of the two"],
  [/control characters|unfinished string/u, "the quotes are not closed on this line"],
  [/expected comma|unfinished/u, "a comma or a closing bracket is missing before this"],
  [/end of table/u, UNCLOSED_TABLE],
  [/leading zero/u, "a number has no leading zero, a text needs quotes around it"],
  [/escape/u, "a backslash is written twice, or stands in 'single quotes'"],
  [/end-of-line/u, "one setting a line; a text needs quotes around all of it"],
  [/numeric literal|date/u, "a number has digits alone, a date is written 2027-01-31, a text needs quotes around it"],
];

function fixOf({ message, column }: TomlError, line: string): string {
  const [reason = ""] = message.replace(/^[^:]*: /u, "").split("\n", 1);
  if (reason === "invalid value") return valueFix(line.slice(column - 1));
  if (reason.endsWith("of key") || reason.endsWith("in key")) return keyFix(line);
  return FIXES.find(([pattern]) => pattern.test(reason))?.[1] ?? reason;
}

function valueFix(rest: string): string {
  if (/^\s*(?:#|$)/u.test(rest)) return "the value is missing";
  if (/^["'“”„«‘’]/u.test(rest)) return 'quotes are straight ones: "…"';
  if (/^(?:true|false)\b/iu.test(rest)) return "true and false are written in small letters";
  return 'a text needs quotes around it: "…"';
}

function keyFix(line: string): string {
  if (/^\s*\[/u.test(line) && !/\]\s*(?:#|$)/u.test(line)) return UNCLOSED_TABLE;
  return "a line is NAME = VALUE, or the [NAME] of a table";
}
