/** The command line's grammar and help: cac finds the command and lays out the help, the table says what there is. */
import { type CAC, cac } from "cac";

import { nearestWord } from "../src/spelling.ts";
import { type Command, type CommandEntry, UsageError } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import type { Terminal } from "./terminal.ts";
import { programVersion } from "./version.ts";

/** What a command line asks for. */
export interface Match {
  readonly asks: "run" | "help" | "version";
  /** `job` for `supervisor job …`, empty for the program's own commands. */
  readonly noun: string;
  /** Absent where help of a noun is asked for. */
  readonly entry?: CommandEntry;
  /** What follows the command's name. */
  readonly words: readonly string[];
}

type HelpSections = ReturnType<NonNullable<CAC["globalCommand"]["helpCallback"]>> & object;

/** Finds the command. @throws UsageError naming what there is, where none fits */
export function matchCommand(argv: readonly string[]): Match {
  const [first = "", ...others] = argv;
  // As git and npm take it: `supervisor help job logs`.
  return first === "help" ? findCommand([...others.filter((word) => word !== "--help"), "--help"]) : findCommand(argv);
}

function findCommand(argv: readonly string[]): Match {
  const [first = ""] = argv;
  const isNoun = COMMANDS.some(({ name }) => name.startsWith(`${first} `));
  const noun = isNoun ? first : "";
  const words = isNoun ? argv.slice(1) : argv;
  const cli = program(noun).option("-h, --help", "").option("-v, --version", "");
  cli.parse(["node", "supervisor", ...words], { run: false });
  const asks = asksOf(cli);
  const name = cli.matchedCommand?.name;
  const [stray] = cli.args;
  if (asks === "help" && isNoun && name === undefined && stray === undefined) return { asks, noun, words: [] };
  const entry = entryOf(noun, name, stray);
  if (name === "") return { asks, noun, entry, words };
  if (words[0] !== name) throw new UsageError(`The command comes first: supervisor ${entry.name} …`);
  // Only the program has a version: what a command makes of --version is its own.
  return { asks: asks === "help" ? "help" : "run", noun, entry, words: words.slice(1) };
}

function asksOf({ options }: CAC): Match["asks"] {
  if (options["help"] === true) return "help";
  return options["version"] === true ? "version" : "run";
}

/** `stray` is the first word that is no option: cac takes one it does not know for an argument of the program itself. */
function entryOf(noun: string, name: string | undefined, stray: string | undefined): CommandEntry {
  const entry = name === undefined ? undefined : COMMANDS.find((known) => known.name === fullName(noun, name));
  if (entry === undefined || (entry.name === "" && stray !== undefined)) {
    throw new UsageError(unknownCommand(noun, stray ?? ""));
  }
  return entry;
}

function fullName(noun: string, name: string): string {
  return noun === "" ? name : `${noun} ${name}`;
}

function unknownCommand(noun: string, word: string): string {
  const known = COMMANDS.map(({ name }) => name).filter((name) => name.startsWith(noun === "" ? "" : `${noun} `));
  const guess = nearestWord(fullName(noun, word), [...known, ...known.map((name) => name.split(" ", 1)[0] ?? "")]);
  const meant = guess === undefined ? "" : ` (did you mean "${guess}"?)`;
  const what =
    word === "" ? `"supervisor ${noun}" needs a command.` : `"${fullName(noun, word)}" is no command${meant}.`;
  return `${what} There are: ${known.filter((name) => name !== "").join(", ")}.`;
}

/** A cac program of the commands after `noun`: cac knows no names of two words. The loaded one has its options. */
function program(noun: string, loaded?: { readonly entry: CommandEntry; readonly command: Command }): CAC {
  const cli = cac(fullName("supervisor", noun).trim());
  const prefix = noun === "" ? "" : `${noun} `;
  for (const entry of COMMANDS.filter(({ name }) => name.startsWith(prefix))) {
    const declared = cli.command(`${entry.name.slice(prefix.length)} ${entry.args}`.trim(), entry.summary);
    if (entry !== loaded?.entry) continue;
    declared.usage(`${declared.rawName} [options]`.trim());
    for (const { flag, description, default: value } of loaded.command.options) {
      declared.option(flag, description, value === undefined ? {} : { default: value });
    }
    for (const example of loaded.command.examples) declared.example(`  $ ${example}`);
  }
  return cli;
}

/** Prints the help of a command, or of a noun where the match has no command. */
export async function printHelp({ noun, entry }: Match, terminal: Terminal): Promise<void> {
  const loaded = entry === undefined ? undefined : { entry, command: await entry.load() };
  const cli = program(noun, loaded);
  cli.usage("<command> [options]");
  if (entry?.name === "") cli.option("-v, --version", "Print the version");
  cli.help((sections) => {
    terminal.out(helpText(sections, entry));
    // cac prints what is left, which is nothing but the end of the last line.
    return [];
  });
  const name = entry === undefined ? "" : entry.name.slice(noun === "" ? 0 : noun.length + 1);
  cli.parse(
    ["node", "supervisor", name, "--help"].filter((word) => word !== ""),
    { run: false },
  );
}

const MORE = `Every other setting is for the file of --config or the environment (SUPERVISOR_HTTP_MAX_CONNECTIONS=100);
mycelium.toml.example documents them all. Exit codes: 0 done, 1 failed or refused,
2 wrong usage, 3 no answer from a supervisor, or one that can not serve now.
Help of one command: supervisor <command> --help`;

/** cac's sections, with what the program is before them and where to go on after them. */
function helpText(sections: HelpSections, entry: CommandEntry | undefined): string {
  const [head = { body: "" }, ...rest] = sections;
  const isProgram = entry?.name === "";
  const title = isProgram
    ? `supervisor ${programVersion()}: admits signed jobs, routes them to runners through Redis, keeps track of them`
    : [entry === undefined ? head.body : `supervisor ${entry.name}`, entry?.summary].filter(Boolean).join(": ");
  const more = isProgram ? [MORE] : entry === undefined ? ["Help of one command: supervisor <command> --help"] : [];
  return [title, ...rest.filter(isWanted).map((section) => sectionText(section, isProgram)), ...more].join("\n\n");
}

type HelpSection = HelpSections[number];

function isWanted({ title }: HelpSection): boolean {
  return title !== undefined && !title.startsWith("For more info");
}

function sectionText({ title = "", body }: HelpSection, isProgram: boolean): string {
  const lines = body.split("\n").map((line) => withoutNoise(line).trimEnd());
  if (!isProgram) return [`${title}:`, ...lines].join("\n");
  // The program itself has no name in the list of commands, and its options are not the commands'.
  if (title === "Usage") return ["Usage:", ...lines, "  $ supervisor <command> [options]"].join("\n");
  if (title === "Options") return ["Options of starting the supervisor:", ...lines].join("\n");
  return [
    `${title}:`,
    ...lines.filter((line) => title !== "Commands" || !/^\s*Start the supervisor$/u.test(line)),
  ].join("\n");
}

/** cac gives each `--no-…` a default of true, which says the opposite of what it means. */
function withoutNoise(line: string): string {
  return line.trimStart().startsWith("--no-") ? line.replace(/ \(default: true\)$/u, "") : line;
}
