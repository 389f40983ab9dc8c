/** Executors: what a runner is willing to start. They are the runner's own, never the caller's. */
import type { ExecutorSettings } from "../settings.ts";
import type { AttemptLimits } from "./limits.ts";

export interface Executor {
  readonly name: string;
  /** argv; no shell is put around it. */
  readonly command: readonly [string, ...string[]];
  /** `stdin`: on standard input; `file`: in a file whose path is the last argument. Never the payload itself in argv. */
  readonly payload: "stdin" | "file";
  /** Patterns of job environment names that pass: a name, or a prefix ending in `*`. */
  readonly env: readonly string[];
  /** Instead of a fresh temporary directory. */
  readonly workingDirectory?: string;
  /** Narrower than the runner's. */
  readonly limits?: Partial<AttemptLimits>;
}

/** The executor of a job that names none, where there are several. */
export const DEFAULT_EXECUTOR = "default";

/**
 * An executor from its `[executor.NAME]` (spec: jobs-and-redis, "Executors"): payload on stdin and no environment of the job unless the table says so.
 * @throws Error naming the executor and the fix.
 */
export function createExecutor(name: string, table: ExecutorSettings): Executor {
  const [program, ...args] = table.command;
  if (program === undefined || program === "") {
    throw new Error(`[executor.${name}] has an empty command. Give an argv, such as command = ["bash", "-s"].`);
  }
  return {
    name,
    command: [program, ...args],
    payload: table.payload ?? "stdin",
    env: table.env ?? [],
    ...(table.working_directory === undefined ? {} : { workingDirectory: table.working_directory }),
  };
}

/**
 * `--exec "bash -s"`: one executor named `default`, payload on stdin, every name of the job's environment let through
 * but the guarded ones.
 * @throws Error showing the text and the fix.
 */
export function parseExec(text: string): Executor {
  const command = splitWords(text);
  if (command.length === 0) throw new Error(`--exec "${text}" names no program. Give one, such as --exec "bash -s".`);
  return createExecutor(DEFAULT_EXECUTOR, { command: [...command], env: ["*"] });
}

/** One word: runs of plain characters, quoted runs, and escaped characters, with nothing between them. */
const WORD = /(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/gsu;
const PART = /\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s"'\\]+)/gsu;

/**
 * Splits at blanks; single quotes keep everything, double quotes and backslashes work as in a shell. Nothing is
 * expanded: no variables, no globs, no operators.
 * @throws Error when a quote or a backslash is left open.
 */
export function splitWords(text: string): readonly string[] {
  if (text.replaceAll(WORD, "").trim() !== "") {
    throw new Error(`--exec "${text}" has an open quote or a backslash at its end. Close it.`);
  }
  return (text.match(WORD) ?? []).map((word) => word.replaceAll(PART, unquote));
}

function unquote(...[part, escaped, double, single]: readonly string[]): string {
  if (escaped !== undefined) return escaped;
  if (double !== undefined) return double.replaceAll(/\\(["\\$`])/gu, "$1");
  return single ?? part ?? "";
}

/** The executor a job asks for: by name, else the only one, else the one named `default`. */
export function pickExecutor(
  executors: ReadonlyMap<string, Executor>,
  name: string | undefined,
): { readonly ok: true; readonly executor: Executor } | { readonly ok: false; readonly reason: string } {
  const [first] = executors.values();
  const executor = name === undefined && executors.size === 1 ? first : executors.get(name ?? DEFAULT_EXECUTOR);
  if (executor !== undefined) return { ok: true, executor };
  const known = [...executors.keys()].toSorted().join(", ");
  const reason =
    name === undefined
      ? `the job names no executor and the runner has several: ${known}`
      : `unknown executor "${name}"; the runner has: ${known}`;
  return { ok: false, reason };
}
