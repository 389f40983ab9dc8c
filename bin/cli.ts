/** The command line: words -> command -> exit code. cac finds and helps, parseArgs keeps the raw text of values. */
import { parseArgs } from "node:util";

import { errorText } from "../src/errors.ts";
import { nearestWord } from "../src/spelling.ts";
import {
  type Command,
  type CommandEntry,
  Flags,
  type Option,
  optionName,
  takesValue,
  UsageError,
  valuesFault,
} from "./command.ts";
import { unknownVariables } from "./environment.ts";
import { matchCommand, printHelp } from "./program.ts";
import { report } from "./report.ts";
import { styled, type Terminal } from "./terminal.ts";
import { programVersion } from "./version.ts";

/**
 * Runs one command line (without node and script) and resolves with the exit code: 0 done, 1 failed, 2 usage, 3 no answer.
 * Never throws: what goes wrong is one line on the terminal, with a stack only with `--log-level debug`.
 */
export async function runCli(argv: readonly string[], terminal: Terminal): Promise<number> {
  try {
    const match = matchCommand(argv);
    if (match.asks === "version") {
      terminal.out(`${programVersion()}\n`);
      return 0;
    }
    if (match.asks === "help" || match.entry === undefined) {
      await printHelp(match, terminal);
      return 0;
    }
    const command = await match.entry.load();
    const parsed = parse(match.entry, command, match.words);
    for (const says of unknownVariables(terminal.env)) {
      terminal.err(`${styled(terminal, "yellow", "warning:")} ${says}\n`);
    }
    return await command.run({ ...parsed, terminal });
  } catch (error) {
    return report(error, argv, terminal);
  }
}

interface Parsed {
  readonly positionals: readonly string[];
  readonly flags: Flags;
}

function parse(entry: CommandEntry, command: Command, words: readonly string[]): Parsed {
  const usage = `supervisor ${entry.name}`.trimEnd();
  const { positionals, values } = parseWords(usage, command, words);
  const args = entry.args.split(" ").filter((arg) => arg !== "");
  const missing = args[positionals.length];
  if (missing?.startsWith("<")) throw new UsageError(`${missing} is missing: ${usage} ${entry.args}`);
  const stray = positionals[args.length];
  if (stray !== undefined) {
    throw new UsageError(`"${stray}" is one word too many: ${`${usage} ${entry.args}`.trimEnd()}`);
  }
  return { positionals, flags: new Flags(values) };
}

type Values = ConstructorParameters<typeof Flags>[0];

function parseWords(
  usage: string,
  command: Command,
  words: readonly string[],
): { readonly positionals: readonly string[]; readonly values: Values } {
  const options = Object.fromEntries(
    command.options.map((option) => [
      optionName(option),
      { type: takesValue(option) ? ("string" as const) : ("boolean" as const), multiple: option.isMany === true },
    ]),
  );
  const help = `There is help: ${usage} --help`;
  try {
    const { positionals, values, tokens } = parseArgs({
      args: [...words],
      options,
      allowPositionals: true,
      strict: true,
      tokens: true,
    });
    const fault = valuesFault(
      command.options,
      tokens.flatMap((token) => (token.kind === "option" ? [token] : [])),
    );
    if (fault !== undefined) throw new UsageError(`${fault} ${help}`);
    return { positionals, values };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const dashed = hasCode(error, "ERR_PARSE_ARGS_INVALID_OPTION_VALUE")
      ? dashFault(command.options, words)
      : undefined;
    throw new UsageError(`${dashed ?? wordsFault(error, [...Object.keys(options), "help"])} ${help}`, { cause: error });
  }
}

/** Node takes no word that begins with a dash for a value, since it may be an option whose fore-runner lacks its value. */
function dashFault(options: readonly Option[], words: readonly string[]): string | undefined {
  const valued = new Set(options.filter(takesValue).map((option) => `--${optionName(option)}`));
  const at = words.findIndex((word, index) => valued.has(word) && /^-./u.test(words[index + 1] ?? ""));
  const [flag, next] = words.slice(at, at + 2);
  return at === -1 ? undefined : `${flag} is followed by "${next}". Where that is its value, write ${flag}=${next}.`;
}

/** What Node says, on one line; its advice on positional arguments that begin with a dash helps nobody here. */
function wordsFault(error: unknown, names: readonly string[]): string {
  const [what = "", ...advice] = errorText(error)
    .replaceAll("\n", " ")
    .split(/\.(?: |$)/u);
  const isUnknown = hasCode(error, "ERR_PARSE_ARGS_UNKNOWN_OPTION");
  return [isUnknown ? withGuess(what, names) : what, ...(isUnknown ? [] : advice)]
    .filter((sentence) => sentence !== "")
    .join(". ")
    .concat(".");
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

/** What is unknown, with the option that was probably meant. */
function withGuess(what: string, names: readonly string[]): string {
  const [, word = ""] = /'--([^'=]+)/u.exec(what) ?? [];
  const guess = nearestWord(word, names);
  return guess === undefined ? what : `${what} (did you mean --${guess}?)`;
}
