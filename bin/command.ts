/** What a command of the command line is: a table entry to find it by, and a module with its options and what it does. */
import { canonicalText } from "../src/auth/canonical-json.ts";
import { redactUrl } from "../src/redact-url.ts";
import { VARIABLE_NAME } from "../src/rpc/variable-name.ts";
import type { Terminal } from "./terminal.ts";

/** Wrong words on the command line: exit code 2. The message names the value and the fix. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export interface Option {
  /** As cac writes it: `--key <file>`, or `--json` for a switch. */
  readonly flag: string;
  readonly description: string;
  /** Shown in help; the command itself applies it. */
  readonly default?: string;
  /** May be given more than once. */
  readonly isMany?: boolean;
}

export interface CommandInput {
  readonly positionals: readonly string[];
  readonly flags: Flags;
  readonly terminal: Terminal;
}

/** What the table of commands says of one: enough to find it and to list it. */
export interface CommandEntry {
  /** `submit`, or `job get` for a command of a noun; empty for the program itself. */
  readonly name: string;
  /** Positional arguments as cac writes them: `<id>`, `[file]`. */
  readonly args: string;
  readonly summary: string;
  /** Imports the command's module: only the chosen command's parts are read, so that the others cost nothing. */
  readonly load: () => Promise<Command>;
}

/** The rest of a command. */
export interface Command {
  readonly options: readonly Option[];
  readonly examples: readonly string[];
  /** Resolves with the exit code: 0 done, 1 failed. Throws UsageError for 2, and what says that nobody answered for 3. */
  run(input: CommandInput): Promise<number>;
}

/** Name of an option without dashes and value: `key`. */
export function optionName(option: Option): string {
  return option.flag.replace(/^--/u, "").split(" ", 1)[0] ?? "";
}

/** Does the option take a value? */
export function takesValue(option: Option): boolean {
  return option.flag.includes("<");
}

/** One option as it was given. */
interface Given {
  readonly name: string;
  readonly value?: string | undefined;
}

/** An option that can be given once has two values, or a variable has a name that no job may carry. */
export function valuesFault(options: readonly Option[], given: readonly Given[]): string | undefined {
  for (const option of options) {
    const name = optionName(option);
    const values = given.filter((one) => one.name === name).flatMap(({ value }) => value ?? []);
    const fault = option.isMany === true ? variableFault(option, values) : twiceFault(name, values);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/** The last one would count, and nobody would know. */
function twiceFault(name: string, values: readonly string[]): string | undefined {
  const [first = "", second] = new Set(values);
  if (second === undefined) return undefined;
  // It may be the URL of a Redis.
  return `--${name} is given twice, as "${redactUrl(first)}" and as "${redactUrl(second)}": leave one of them.`;
}

const VARIABLE = new RegExp(VARIABLE_NAME, "u");

/** Of an option that takes `NAME=value`. The value may be a secret, and is not shown; a lone NAME is the command's to refuse. */
function variableFault({ flag }: Option, values: readonly string[]): string | undefined {
  if (!flag.endsWith("<NAME=value>")) return undefined;
  const names = values.filter((pair) => pair.indexOf("=") > 0).map((pair) => pair.slice(0, pair.indexOf("=")));
  const name = names.find((one) => !VARIABLE.test(one) || !canonicalText({ [one]: "" }).ok);
  if (name === undefined) return undefined;
  const rule = "a letter or _ first, then letters, digits and _, 64 at most";
  return `${flag.split(" ", 1)[0]} "${name}=…": "${name}" is no name of a variable: ${rule}.`;
}

type FlagValue = string | boolean | readonly (string | boolean)[] | undefined;

/** Least and most of a number, both allowed. */
export type Range = readonly [least: number, most: number];

/** Parsed options by name, as raw text: `007` stays `007`. */
export class Flags {
  readonly #values: Readonly<Record<string, FlagValue>>;

  constructor(values: Readonly<Record<string, FlagValue>>) {
    this.#values = values;
  }

  has(name: string): boolean {
    return this.#values[name] === true;
  }

  text(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === "string" ? value : undefined;
  }

  many(name: string): readonly string[] {
    const value = this.#values[name];
    return Array.isArray(value) ? value.filter((item): item is string => typeof item === "string") : [];
  }

  /** A whole number within its range, ends included. @throws UsageError naming flag, value and range */
  integer(name: string, [least, most]: Range): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = /^\d{1,15}$/u.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
    throw new UsageError(`--${name} "${text}" is not a whole number ${range}.`);
  }
}
