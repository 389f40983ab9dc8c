/** What went wrong, as one line for a person, and as exit code. */
import { RpcError } from "../src/client/rpc-error.ts";
import { UsageError } from "./command.ts";
import { hintOf, refusalText } from "./hints.ts";
import { styled, type Terminal } from "./terminal.ts";

/** Prints the error and gives the exit code. The stack only where the level of the log is debug. */
export function report(error: unknown, argv: readonly string[], terminal: Terminal): number {
  terminal.err(`${styled(terminal, "red", "error:")} ${describe(error, argv[0])}\n`);
  if (isDebug(argv, terminal) && error instanceof Error) terminal.err(`${error.stack ?? ""}\n`);
  return error instanceof UsageError ? 2 : 1;
}

function isDebug(argv: readonly string[], { env }: Terminal): boolean {
  return /--log-level[= ]debug\b/u.test(argv.join(" ")) || env["SUPERVISOR_LOG_LEVEL"] === "debug";
}

function describe(error: unknown, command: string | undefined): string {
  if (error instanceof RpcError) return refusalText(error, hintOf(error, command));
  if (error instanceof AggregateError) return [error.message, ...error.errors.map(messageOf)].join(": ");
  return messageOf(error);
}

/** What an error says to a person: the data of a typed one is for programs. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
