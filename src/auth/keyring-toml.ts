/** Reads the text of keys.toml: every table whole and valid, or the file is refused with the fix. Pure. */
import { TomlDate } from "smol-toml";

import { type Role, ROLES } from "../rpc/method.ts";
import { parseToml } from "../toml.ts";
import { isCheckedKey, isPublicKey } from "./signature.ts";

/** One `[[key]]` table. */
export interface EnrolledKey {
  readonly name: string;
  /** Who owns the key: jobs belong to it. */
  readonly principal: string;
  /** `ed25519:` + 64 hex, its checks passed. */
  readonly key: string;
  readonly roles: readonly Role[];
  /** Patterns: a name, a prefix ending in `*`, or `*`. */
  readonly runners: readonly string[];
  /** The last ms at which it is good. A date without a time counts to its end, UTC. */
  readonly notAfterMs?: number;
  /** Whatever its value, it revokes: rights end when the file says so, not when a clock agrees. */
  readonly revokedAtMs?: number;
  /** On revocation its running jobs are cancelled too. */
  readonly cancelRunning: boolean;
  /** Good only over Mycelium, carried by one of these nodes (`x25519:` + 64 hex). */
  readonly overlay?: readonly string[];
  /** Calls a second. */
  readonly rate?: number;
}

/** One `[[require]]` table: jobs for these runners need co-signers. */
export interface Requirement {
  /** Pattern of the runner and group names a job may be sent to: a name, a prefix ending in `*`, or `*`. */
  readonly runner: string;
  /** Who may approve, without repeats. Those who own no key yet, or none any more, can not: it fails closed. */
  readonly principals: readonly string[];
  /** How many of them must have signed, each counted once however many keys they own: 1 to all of them. */
  readonly atLeast: number;
}

/** What a keyring file says. */
export interface KeyringContents {
  readonly keys: readonly EnrolledKey[];
  readonly requirements: readonly Requirement[];
}

/** A fault of one table: carries the problem out of the depth of its reading; caught in this file. */
class KeyProblem extends Error {}

type Table = Readonly<Record<string, unknown>>;
type Kind = "key" | "require";

const KEY_FIELDS: ReadonlySet<string> = new Set([
  "name",
  "principal",
  "key",
  "roles",
  "runners",
  "not_after",
  "revoked_at",
  "cancel_running",
  "overlay",
  "rate",
]);
const REQUIREMENT_FIELDS: ReadonlySet<string> = new Set(["runner", "principals", "at_least"]);
/** Printable, so that a name can stand in a log line and on a terminal. */
const LABEL = /^[^\p{C}\p{Z}](?:[^\p{C}]{0,126}[^\p{C}\p{Z}])?$/u;
const RUNNER_PATTERN = /^(?:[a-z0-9][a-z0-9._-]{0,63}|(?:[a-z0-9][a-z0-9._-]{0,62})?\*)$/;
const NODE_KEY = /^x25519:[0-9a-f]{64}$/;
const WRITTEN_DAY = /^[^#\n]*?\b(not_after|revoked_at)["'\t ]*=[\t ]*(\d{4}-\d{2}-\d{2})/gmu;
const DAY_MS = 86_400_000;

/**
 * Parses keys.toml (spec: signing, "Policy"). Unknown fields, duplicate names or keys, bad keys, unknown roles, an
 * empty principal, a requirement nobody could read or no key at all refuse the whole file; `problem` names the table and
 * the fix. Never throws.
 * @param checked keys whose point was checked before: that costs a millisecond each, and a reload repeats most of them.
 */
export function parseKeyring(
  tomlText: string,
  checked: ReadonlySet<string> = new Set(),
): ({ ok: true } & KeyringContents) | { ok: false; problem: string } {
  try {
    assertRealDays(tomlText);
    const tables = readTables(tomlText);
    const keys = tables.keys.map((table, index) => readKey(table, index, checked));
    assertUnique(keys);
    const requirements = tables.requirements.map(readRequirement);
    assertOnePerPattern(requirements);
    return { ok: true, keys, requirements };
  } catch (error) {
    if (error instanceof KeyProblem) return { ok: false, problem: error.message };
    throw error;
  }
}

/** The parser turns 2027-02-31 into a day of March: rights would last longer than anybody wrote. */
function assertRealDays(tomlText: string): void {
  for (const { index, 1: field = "", 2: day = "" } of tomlText.matchAll(WRITTEN_DAY)) {
    if (!isRealDay(day)) {
      const line = tomlText.slice(0, index).split("\n").length;
      throw new KeyProblem(`line ${line}: ${field} ${day} is no day of the calendar.`);
    }
  }
}

/** Of a day as the file writes it: is it one of the calendar? */
export function isRealDay(day: string): boolean {
  const moment = new Date(`${day}T00:00:00Z`);
  return !Number.isNaN(moment.getTime()) && moment.toISOString().startsWith(day);
}

function readTables(tomlText: string): { readonly keys: readonly Table[]; readonly requirements: readonly Table[] } {
  const parsed = parseToml(tomlText);
  if (!parsed.ok) throw new KeyProblem(parsed.fault);
  const { key: keys, require: requirements, ...others } = parsed.table;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) {
    throw new KeyProblem(`unknown member "${unknown}". There are [[key]] tables and [[require]] tables.`);
  }
  if (!Array.isArray(keys) || keys.length === 0) {
    throw new KeyProblem(
      "no [[key]] table in it. A keyring without keys would lock everybody out; enrol one key at least.",
    );
  }
  return {
    keys: tablesOf("key", keys),
    requirements: requirements === undefined ? [] : tablesOf("require", requirements),
  };
}

function tablesOf(kind: Kind, tables: unknown): readonly Table[] {
  if (!Array.isArray(tables)) throw new KeyProblem(`${kind} is not a list of [[${kind}]] tables.`);
  return tables.map((table: unknown, index) => {
    if (isTable(table)) return table;
    throw new KeyProblem(`${kind} ${index + 1} is not a [[${kind}]] table.`);
  });
}

function isTable(value: unknown): value is Table {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

function readKey(table: Table, index: number, checked: ReadonlySet<string>): EnrolledKey {
  const reader = new TableReader(table, { kind: "key", index, fields: KEY_FIELDS });
  const { notAfterMs, revokedAtMs } = { notAfterMs: reader.time("not_after"), revokedAtMs: reader.time("revoked_at") };
  const overlay = reader.optionalList("overlay");
  const rate = reader.rate();
  return {
    name: reader.label("name"),
    principal: reader.label("principal"),
    key: reader.publicKey(checked),
    roles: reader.roles(),
    runners: reader.patterns("runners"),
    cancelRunning: reader.flag("cancel_running"),
    ...(notAfterMs === undefined ? {} : { notAfterMs }),
    ...(revokedAtMs === undefined ? {} : { revokedAtMs }),
    ...(overlay === undefined ? {} : { overlay: reader.nodes(overlay) }),
    ...(rate === undefined ? {} : { rate }),
  };
}

function readRequirement(table: Table, index: number): Requirement {
  const reader = new TableReader(table, { kind: "require", index, fields: REQUIREMENT_FIELDS });
  const runner = reader.pattern("runner");
  const principals = reader.principals();
  return { runner, principals, atLeast: reader.atLeast(principals.length) };
}

/** Two tables for one pattern would both hold; that one of them was forgotten is likelier than that both are meant. */
function assertOnePerPattern(requirements: readonly Requirement[]): void {
  const seen = new Set<string>();
  for (const { runner } of requirements) {
    if (seen.has(runner)) {
      throw new KeyProblem(
        `require "${runner}": stands there twice. Make one of the two tables, or name the runners apart.`,
      );
    }
    seen.add(runner);
  }
}

function assertUnique(keys: readonly EnrolledKey[]): void {
  const seen = new Map<string, string>();
  for (const { name, key } of keys) {
    for (const value of [name, key]) {
      const first = seen.get(value);
      if (first === name) {
        throw new KeyProblem(`key "${name}": two tables have this name. Name the keys apart, a revoked one too.`);
      }
      if (first !== undefined) {
        throw new KeyProblem(
          `key "${name}": "${value}" stands in key "${first}" already. Remove one of the two tables.`,
        );
      }
      seen.set(value, name);
    }
  }
}

/** Reads the fields of one table; every method throws a KeyProblem that names table, field, value and fix. */
class TableReader {
  readonly #table: Table;
  readonly #title: string;

  constructor(
    table: Table,
    { kind, index, fields }: { readonly kind: Kind; readonly index: number; readonly fields: ReadonlySet<string> },
  ) {
    this.#table = table;
    const name = table[kind === "key" ? "name" : "runner"];
    this.#title = typeof name === "string" && LABEL.test(name) ? `${kind} "${name}"` : `${kind} ${index + 1}`;
    const unknown = Object.keys(table).find((field) => !fields.has(field));
    if (unknown !== undefined) this.#refuse(unknown, `is unknown. Fields: ${[...fields].join(", ")}`);
  }

  label(field: "name" | "principal"): string {
    const value = this.#table[field];
    if (typeof value === "string" && LABEL.test(value)) return value;
    return this.#refuse(field, "must be a text of 1 to 128 printable characters");
  }

  publicKey(checked: ReadonlySet<string>): string {
    const value = this.#table["key"];
    if (!isPublicKey(value)) {
      return this.#refuse("key", "must be ed25519: and 64 lower-case hex digits, as `supervisor keygen` prints it");
    }
    if (checked.has(value) || isCheckedKey(value)) return value;
    return this.#refuse("key", "is no point anybody has the secret of. Make a pair with `supervisor keygen`");
  }

  roles(): readonly Role[] {
    return this.#list("roles").map((text) => {
      const role = ROLES.find((known) => known === text);
      return role ?? this.#refuse("roles", `knows no role "${text}". Roles: ${ROLES.join(", ")}`);
    });
  }

  patterns(field: "runners"): readonly string[] {
    const patterns = this.optionalList(field) ?? [];
    const wrong = patterns.find((pattern) => !RUNNER_PATTERN.test(pattern));
    if (wrong === undefined) return patterns;
    return this.#refuse(field, `can not hold "${wrong}". Give names, prefixes ending in *, or "*"`);
  }

  pattern(field: "runner"): string {
    const value = this.#table[field];
    if (typeof value === "string" && RUNNER_PATTERN.test(value)) return value;
    return this.#refuse(field, 'must be one name, a prefix ending in *, or "*"');
  }

  principals(): readonly string[] {
    const names = this.#list("principals");
    const wrong = names.find((name, index) => !LABEL.test(name) || names.indexOf(name) !== index);
    if (wrong === undefined && names.length > 0) return names;
    return this.#refuse("principals", "must list one principal or more, each once, as [[key]] tables name them");
  }

  /** None would be no requirement, more than there are could never be met. */
  atLeast(most: number): number {
    const value = this.#table["at_least"];
    if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= most) return value;
    return this.#refuse("at_least", `must be a whole number from 1 to ${most}, as many as principals are listed`);
  }

  nodes(nodes: readonly string[]): readonly string[] {
    const wrong = nodes.find((node) => !NODE_KEY.test(node));
    if (wrong === undefined && nodes.length > 0) return nodes;
    return this.#refuse(
      "overlay",
      "must list nodes as x25519: and 64 lower-case hex digits; leave it out for any carrier",
    );
  }

  flag(field: "cancel_running"): boolean {
    const value = this.#table[field] ?? false;
    return typeof value === "boolean" ? value : this.#refuse(field, "must be true or false");
  }

  rate(): number | undefined {
    const value = this.#table["rate"];
    if (value === undefined) return undefined;
    if (typeof value === "number" && value > 0 && Number.isFinite(value)) return value;
    return this.#refuse("rate", "must be a number above 0, in calls a second");
  }

  /** A date, or a date and time with its offset: local times would mean another moment on another host. */
  time(field: "not_after" | "revoked_at"): number | undefined {
    const value = this.#table[field];
    if (value === undefined) return undefined;
    if (!(value instanceof TomlDate) || value.isTime() || (value.isLocal() && !value.isDate())) {
      return this.#refuse(field, "must be a date, 2027-01-01, or a moment with its offset, 2027-01-01T12:00:00Z");
    }
    return field === "not_after" && value.isDate() ? value.getTime() + DAY_MS - 1 : value.getTime();
  }

  optionalList(field: "runners" | "overlay"): readonly string[] | undefined {
    return this.#table[field] === undefined ? undefined : this.#list(field);
  }

  #list(field: string): readonly string[] {
    const value = this.#table[field];
    if (Array.isArray(value) && value.every((item): item is string => typeof item === "string")) return value;
    return this.#refuse(field, 'must be a list of texts, such as ["…"]; it may be empty');
  }

  #refuse(field: string, problem: string): never {
    throw new KeyProblem(`${this.#title}: ${field} ${problem}.`);
  }
}
