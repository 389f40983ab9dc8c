/** How jobs and their logs look on a terminal, and how a job is named there. */
import type { JobSummary, LogEntry } from "../src/rpc/schema.ts";
import { type Flags, UsageError } from "./command.ts";
import { visible } from "./job-words.ts";
import { toTheSame } from "./shell-words.ts";
import { styled, type Terminal } from "./terminal.ts";

/** One line about a job: id, state, and why. */
export function jobLine(job: JobSummary): string {
  const state = job.cancelling ? `${job.state} (cancelling)` : job.state;
  const attempt = job.attempt > 1 ? ` attempt ${job.attempt}` : "";
  const runner = job.runner === undefined ? "" : ` on ${job.runner}`;
  // -1: no process ran to its end; and one that ended well did not make the job fail.
  const isTold = job.code !== undefined && job.code >= 0 && !(job.code === 0 && job.state === "failed");
  const code = isTold ? ` exit code ${job.code}` : "";
  // A job that failed by its exit code has nothing else for a reason.
  const reason = job.reason === undefined || code === ` ${job.reason}` ? "" : `: ${job.reason}`;
  return `${job.id} ${state}${attempt}${runner}${code}${reason}`;
}

/** The same line in the colour of its state, for standard error. */
export function colouredJobLine(terminal: Terminal, job: JobSummary): string {
  const hasFailed = job.state === "failed" || job.state === "timeout";
  return styled(terminal, hasFailed ? "red" : "cyan", jobLine(job));
}

/** A job's id as a person typed it; `flag` is where. @throws UsageError for what is no UUID in lower case */
export function checkedId(id: string, flag: string): string {
  if (/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/u.test(id)) return id;
  throw new UsageError(`${flag}"${id}" is no job's id: a UUID in lower case. supervisor job list shows them.`);
}

/** What a person is told who stops waiting. */
export function goesOn(id: string, flags: Flags): string {
  const job = toTheSame(flags, id);
  return `The job goes on without us. Look: supervisor job get ${job}; stop it: supervisor job cancel ${job}`;
}

/** "Select graphic rendition" (ECMA-48 §8.3.117). */
const COLOUR = new RegExp(String.raw`(${String.fromCodePoint(0x1b)}\[[0-9;]*m)`, "u");

/**
 * A line of a job for a person's terminal: colours stay, whatever else would act on the terminal (titles, the cursor, the
 * clipboard) is shown instead. Piped output stays byte for byte.
 */
function harmless(text: string): string {
  return text
    .split(COLOUR)
    .map((part, index) => (index % 2 === 1 ? part : part.split("\t").map(visible).join("\t")))
    .join("");
}

/**
 * Prints log entries where the job wrote them: stdout on ours, stderr on ours. What is not the job's own stands in brackets
 * on stderr: what the runner says, and which attempt the lines are of that follow, from the second on.
 */
export class LogPrinter {
  readonly #terminal: Terminal;
  readonly #isJson: boolean;
  #attempt = 1;

  constructor(terminal: Terminal, isJson: boolean) {
    this.#terminal = terminal;
    this.#isJson = isJson;
  }

  print(entry: LogEntry): void {
    if (this.#isJson) {
      this.#terminal.out(`${JSON.stringify(entry)}\n`);
      return;
    }
    if (entry.attempt !== this.#attempt) this.#note(`attempt ${entry.attempt}`);
    this.#attempt = entry.attempt;
    const text = entry.text ?? `base64:${entry.base64 ?? ""}`;
    const { colours } = this.#terminal;
    if (entry.stream === "stdout") this.#terminal.out(`${colours.out ? harmless(text) : text}\n`);
    else if (entry.stream === "stderr") this.#terminal.err(`${colours.err ? harmless(text) : text}\n`);
    else this.#note(visible(text));
  }

  #note(text: string): void {
    this.#terminal.err(`${styled(this.#terminal, "dim", `[${text}]`)}\n`);
  }
}
