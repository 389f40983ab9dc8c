/** What a command reads from and writes to: real streams in the program, recorded ones in tests. */
import { once } from "node:events";
import { openSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import { isatty, ReadStream } from "node:tty";
import { styleText } from "node:util";

type Stream = "out" | "err";

export interface Terminal {
  /** Data: standard output. */
  out(text: string): void;
  /** Progress, states and errors: standard error. */
  err(text: string): void;
  /** Somebody watches standard error: progress makes sense. */
  readonly isInteractive: boolean;
  /** Which streams show colours: terminals, unless NO_COLOR is set. */
  readonly colours: Readonly<Record<Stream, boolean>>;
  /** Standard input, whole, as UTF-8; undefined where it is a terminal (nobody piped anything). */
  readInput(): Promise<string | undefined>;
  /**
   * Asks the person at the keyboard and gives the line they typed, empty for Ctrl-C and Ctrl-D; absent where nobody is.
   * Asked after a stop it waits for an answer all the same.
   */
  readonly ask?: (question: string) => Promise<string>;
  /** Ends at the first SIGINT or SIGTERM; a second one ends the process. */
  readonly stop: AbortSignal;
  /** SIGHUP: calls back until the returned function is called. */
  onReload(callback: () => void): () => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What starts this program once more: Node, its flags, the script. */
  readonly program: readonly string[];
}

type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

/** Text in a style where the stream it goes to (standard error unless told) shows colours, plain when piped. */
export function styled(terminal: Terminal, style: Style, text: string, stream: Stream = "err"): string {
  // Which stream it is for was decided already; styleText itself would look at standard output.
  return terminal.colours[stream] ? styleText(style, text, { validateStream: false }) : text;
}

/** Resolves when the terminal says stop. */
export async function untilStopped({ stop }: Pick<Terminal, "stop">): Promise<void> {
  if (!stop.aborted) await once(stop, "abort");
}

/** Prints data as JSON (one line a value) for scripts, or as `lines` for people. */
export function printData(
  terminal: Terminal,
  value: unknown,
  options: { isJson: boolean; lines: () => readonly string[] },
): void {
  terminal.out(
    options.isJson
      ? `${JSON.stringify(value)}\n`
      : options
          .lines()
          .map((line) => `${line}\n`)
          .join(""),
  );
}

/** Columns padded to their widest cell. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  return [header, ...rows].map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

/** UNIX ms as a short local time; a dash for what has not happened. */
export function clockTime(ms: number | undefined): string {
  return ms === undefined ? "-" : new Date(ms).toISOString().replace("T", " ").slice(0, 19);
}

/** Signals closer together than this, in ms, are one: npm and other wrappers pass on what the terminal sent to all. */
const ONE_SIGNAL_MS = 300;

/** The terminal of this process; `script` is the file that was started. */
export function processTerminal(script: string): Terminal {
  const stopping = new AbortController();
  let stoppedMs = 0;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (stopping.signal.aborted && performance.now() - stoppedMs > ONE_SIGNAL_MS) process.exit(130);
      if (!stopping.signal.aborted) stoppedMs = performance.now();
      stopping.abort(signal);
    });
  }
  const hasColours = (process.env["NO_COLOR"] ?? "") === "";
  const output = watchedOutput(stopping);
  return {
    ...output,
    isInteractive: isatty(2),
    colours: { out: isatty(1) && hasColours, err: isatty(2) && hasColours },
    readInput: async () => (process.stdin.isTTY ? undefined : readAll(process.stdin)),
    ...(isatty(0) || isatty(2) ? { ask: async (question) => askPerson(question, stopping.signal) } : {}),
    stop: stopping.signal,
    onReload(callback) {
      process.on("SIGHUP", callback);
      return () => process.off("SIGHUP", callback);
    },
    env: process.env,
    program: [process.execPath, ...process.execArgv, script],
  };
}

/** Of a program that a closed pipe ends by its signal, as a shell tells it: 128 and SIGPIPE. */
const CLOSED_PIPE = 141;

/**
 * Both streams. Once standard output can not be written the command has nobody to work for: it is stopped, and says no more.
 * A reader that went away (`| head`) is no failure, and no success either: nobody saw how it ended.
 */
function watchedOutput(stopping: AbortController): Pick<Terminal, "out" | "err"> {
  let isLost = false;
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (isLost) return;
    isLost = true;
    const isClosed = error.code === "EPIPE";
    if (!isClosed) {
      process.stderr.write(`error: standard output can not be written (${error.code ?? error.message})\n`);
    }
    // The command's own exit code comes before this or after it, and counts in neither case.
    process.on("exit", () => {
      process.exitCode = isClosed ? CLOSED_PIPE : 1;
    });
    stopping.abort(error);
  });
  // What goes on without a log is better than what ends for want of one.
  process.stderr.on("error", () => undefined);
  return {
    out: (text) => void (isLost || process.stdout.write(text)),
    err: (text) => void (isLost || process.stderr.write(text)),
  };
}

/** On standard error, so that standard output stays data. */
async function askPerson(question: string, signal: AbortSignal): Promise<string> {
  const keyboard = openKeyboard();
  if (keyboard === undefined) return "";
  const lines = createInterface({ input: keyboard, output: process.stderr });
  try {
    return await lines.question(question, signal.aborted ? {} : { signal });
  } catch (error) {
    // By the signal, or by Ctrl-C and Ctrl-D, which are characters while a line is typed.
    if (error instanceof Error && error.name === "AbortError") return "";
    throw error;
  } finally {
    lines.close();
    if (keyboard !== process.stdin) keyboard.destroy();
  }
}

/** Standard input, or where something else is piped in there the terminal itself. */
function openKeyboard(): ReadStream | undefined {
  if (process.stdin.isTTY) return process.stdin;
  try {
    return new ReadStream(openSync("/dev/tty", "r"));
  } catch {
    // No terminal of ours: nobody who could answer.
    return undefined;
  }
}

async function readAll(stream: AsyncIterable<Buffer | string>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return decode(Buffer.concat(chunks));
}

/** Bytes as text, unchanged or not at all. @throws Error where they are not UTF-8 */
export function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new Error("it is not UTF-8; encode it, as base64 for instance", { cause: error });
  }
}
