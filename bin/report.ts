/** What went wrong, as one line for a person, and as exit code. */
import { RpcError } from "../src/client/rpc-error.ts";
import { ERRORS } from "../src/errors.ts";
import { UsageError } from "./command.ts";
import { styled, type Terminal } from "./terminal.ts";

/** What to do about a refusal, by its code. */
const HINTS: ReadonlyMap<number, string> = new Map([
  [
    ERRORS.unauthenticated.code,
    "Is this key in the supervisor's keys.toml, and not revoked or expired? --key names another.",
  ],
  [ERRORS.stale.code, "Set the clocks, with NTP on both machines."],
  [ERRORS.forbidden.code, "What this key may do: supervisor whoami; which runners there are: supervisor runner list."],
  [ERRORS.notFound.code, "Jobs that this key may see: supervisor job list."],
  [
    ERRORS.wrongAudience.code,
    "Another supervisor answers there than the one that is pinned: see --supervisor and known_supervisors.",
  ],
  [ERRORS.conflict.code, "Leave out --id, or give a new one."],
]);

/** Prints the error and gives the exit code. The stack only where the level of the log is debug. */
export function report(error: unknown, argv: readonly string[], terminal: Terminal): number {
  terminal.err(`${styled(terminal, "red", "error:")} ${describe(error)}\n`);
  if (isDebug(argv, terminal) && error instanceof Error) terminal.err(`${error.stack ?? ""}\n`);
  return error instanceof UsageError ? 2 : 1;
}

function isDebug(argv: readonly string[], { env }: Terminal): boolean {
  return /--log-level[= ]debug\b/u.test(argv.join(" ")) || env["SUPERVISOR_LOG_LEVEL"] === "debug";
}

function describe(error: unknown): string {
  if (error instanceof RpcError) {
    const data = error.data === undefined ? "" : ` ${JSON.stringify(error.data)}`;
    const hint = HINTS.get(error.code);
    return `the supervisor answered ${error.code}: ${error.message}${data}${hint === undefined ? "" : `. ${hint}`}`;
  }
  if (error instanceof AggregateError) return [error.message, ...error.errors.map(messageOf)].join(": ");
  return messageOf(error);
}

/** What an error says to a person: the data of a typed one is for programs. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
