/** The log of a command that goes on: where the terminal's own words go. */
import { createLog, type LogSettings } from "../src/log.ts";
import type { Terminal } from "./terminal.ts";

/** Lines for people where somebody watches, JSON else. */
export function terminalLog(terminal: Terminal, { level, pretty }: LogSettings): ReturnType<typeof createLog> {
  const isPretty = pretty || terminal.isInteractive;
  return createLog({ level, pretty: isPretty }, { write: (text) => terminal.err(text) });
}
