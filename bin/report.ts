/** What went wrong, as one line for a person, and as exit code. */
import { RpcError } from "../src/client/rpc-error.ts";
import { CarrierError, ERRORS, SupervisorError } from "../src/errors.ts";
import { DaemonError } from "../transports/mycelium/daemon-request.ts";
import { UsageError } from "./command.ts";
import { hintOf, RefusedError, refusalText } from "./hints.ts";
import { InterruptedError, NotRunningError } from "./impatient-dialer.ts";
import { styled, type Terminal } from "./terminal.ts";

/** Prints the error and gives the exit code. The stack only where the level of the log is debug. */
export function report(error: unknown, argv: readonly string[], terminal: Terminal): number {
  terminal.err(`${styled(terminal, "red", "error:")} ${describe(error, argv)}\n`);
  if (isDebug(argv, terminal) && error instanceof Error) terminal.err(`${error.stack ?? ""}\n`);
  return exitCodeOf(error);
}

/** Scripts tell by it whether to mend the command, to come back later, or to look at what failed (README, "By hand"). */
function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return 2;
  return isUnanswered(error) ? 3 : 1;
}

/** No supervisor was reached, or its Redis does not serve it or us: nothing is known of the job or runner that was asked for. */
function isUnanswered(error: unknown): boolean {
  if (error instanceof CarrierError || error instanceof NotRunningError || error instanceof DaemonError) return true;
  if (error instanceof RpcError || error instanceof SupervisorError) return error.code === ERRORS.unavailable.code;
  return error instanceof Error && !(error instanceof InterruptedError) && isUnanswered(error.cause);
}

function isDebug(argv: readonly string[], { env }: Terminal): boolean {
  return /--log-level[= ]debug\b/u.test(argv.join(" ")) || env["SUPERVISOR_LOG_LEVEL"] === "debug";
}

function describe(error: unknown, argv: readonly string[]): string {
  const isJson = argv.includes("--json");
  if (error instanceof RpcError) return refusalText(error, { hint: hintOf(error, argv[0]), isJson });
  if (error instanceof RefusedError) return refusalText(error.refusal, { hint: error.hint, isJson });
  if (error instanceof AggregateError) return [error.message, ...error.errors.map(messageOf)].join(": ");
  return messageOf(error);
}

/** What an error says to a person: the data of a typed one is for programs. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
