/** Waiting for a job's end at a terminal: states and log lines as they come, then the result and what its receipt is worth. */
import { CarrierError, ERRORS, followLogs, followStates, RpcError, verifyReceipt } from "../src/client/index.ts";
import { isTerminal } from "../src/jobs/job.ts";
import type { JobSummary, JobView } from "../src/rpc/schema.ts";
import type { CommandInput } from "./command.ts";
import { type CommandConnection, withConnection } from "./connection.ts";
import { explainLostSight } from "./hints.ts";
import { colouredJobLine, goesOn, LogPrinter } from "./job-output.ts";
import { pinnedRunnerKeys } from "./pinned-runners.ts";
import { sideBySide } from "./side-by-side.ts";
import { printData, styled, type Terminal } from "./terminal.ts";

/** A job that is waited for, and how much of its log was shown. */
interface Waited {
  readonly id: string;
  readonly printer: LogPrinter;
  shown: number;
}

/**
 * Shows states (and log lines) until the end, then result and receipt. Ctrl-C offers a person to cancel the job; without
 * one, or without a yes, the job goes on, and how to cancel it is said.
 */
export async function waitForEnd(input: CommandInput, connection: CommandConnection, id: string): Promise<number> {
  const { flags, terminal } = input;
  const waited = { id, printer: new LogPrinter(terminal, false), shown: 0 };
  const code = await watch(input, connection, waited).catch((error: unknown) => {
    // Nobody answers any more: what becomes of the job has nothing to do with it.
    if (error instanceof CarrierError) terminal.err(`${goesOn(id, flags)}\n`);
    throw explainLostSight(error, id, flags);
  });
  if (code !== undefined) return code;
  if (await wantsCancel(terminal)) {
    // The first connection ended with the interrupt; at the next the process ends.
    const insisting = { ...input, terminal: { ...terminal, stop: new AbortController().signal } };
    const end = await withConnection(insisting, async (fresh) => {
      await cancelUnlessEnded(fresh, id);
      return watch(insisting, fresh, waited);
    });
    if (end !== undefined) return end;
  }
  terminal.err(`${goesOn(id, flags)}\n`);
  return 1;
}

/** The exit code, or undefined where the person stopped waiting. */
async function watch(input: CommandInput, connection: CommandConnection, waited: Waited): Promise<number | undefined> {
  const { flags, terminal } = input;
  const isJson = flags.has("json");
  const isFollowing = flags.has("follow") && !isJson;
  const states: JobSummary[] = [];
  const show = (job: JobSummary): void => terminal.err(`${colouredJobLine(terminal, job)}\n`);
  await sideBySide(terminal.stop, [
    async (signal) => {
      for await (const job of followStates(connection.client, waited.id, { signal, isKnown: true })) {
        states.push(job);
        // The end is shown behind the log, which may be told a moment later.
        if (!isJson && !(isFollowing && isTerminal(job.state))) show(job);
      }
    },
    ...(isFollowing ? [printLogs(connection, waited)] : []),
  ]);
  const last = states.at(-1);
  if (last === undefined || !isTerminal(last.state)) return undefined;
  if (isFollowing) show(last);
  const view = await connection.client.call("get_job", { id: waited.id });
  const { supervisor, paths } = connection;
  printEnd(view, { terminal, isJson, supervisor, runnerKeys: await pinnedRunnerKeys(paths) });
  return last.state === "completed" ? 0 : 1;
}

/** Only Ctrl-C asks: who sends SIGTERM does not sit at the keyboard. */
async function wantsCancel({ ask, stop, isInteractive }: Terminal): Promise<boolean> {
  if (ask === undefined || !isInteractive || stop.reason !== "SIGINT") return false;
  const answer = await ask("\nThe job goes on. Cancel it? Type yes, or Enter to leave it running: ");
  return /^y(?:es)?$/iu.test(answer.trim());
}

async function cancelUnlessEnded({ client }: CommandConnection, id: string): Promise<void> {
  try {
    await client.call("cancel_job", { id });
  } catch (error) {
    // It ended while the person thought about it, and is shown as it ended.
    if (!(error instanceof RpcError) || error.code !== ERRORS.wrongState.code) throw error;
  }
}

function printLogs({ client }: CommandConnection, waited: Waited): (signal: AbortSignal) => Promise<void> {
  return async (signal) => {
    for await (const entry of followLogs(client, waited.id, { from: waited.shown, isKnown: true, signal })) {
      waited.shown += 1;
      waited.printer.print(entry);
    }
  };
}

interface EndOptions {
  readonly terminal: Terminal;
  readonly isJson: boolean;
  readonly supervisor: string;
  readonly runnerKeys: readonly string[];
}

function printEnd(view: JobView, { terminal, isJson, supervisor, runnerKeys }: EndOptions): void {
  const verdict = view.receipt === undefined ? undefined : verifyReceipt({ view, supervisor, runnerKeys });
  printData(
    terminal,
    { ...view, receipt_verdict: verdict },
    {
      isJson,
      lines: () => (view.result?.text === undefined ? [] : [view.result.text.replace(/\n$/u, "")]),
    },
  );
  if (verdict !== undefined && !isJson) {
    const says = verdict.ok
      ? `receipt good (${verdict.trust})`
      : `RECEIPT BAD: ${verdict.findings
          .filter((finding) => !finding.ok)
          .map((finding) => finding.detail)
          .join("; ")}`;
    terminal.err(`${styled(terminal, verdict.ok ? "green" : "red", says)}\n`);
  }
}
