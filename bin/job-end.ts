/** Waiting for a job's end at a terminal: states and log lines as they come, then the result and what its receipt is worth. */
import { followLogs, followStates, verifyReceipt } from "../src/client/index.ts";
import { isTerminal } from "../src/jobs/job.ts";
import type { JobSummary, JobView } from "../src/rpc/schema.ts";
import type { CommandInput } from "./command.ts";
import type { CommandConnection } from "./connection.ts";
import { goesOn, jobLine, printLogEntry } from "./job-output.ts";
import { pinnedRunnerKeys } from "./pinned-runners.ts";
import { printData, styled, type Terminal } from "./terminal.ts";

/** Shows states (and log lines) until the end, then result and receipt; Ctrl-C leaves the job running and says so. */
export async function waitForEnd(input: CommandInput, connection: CommandConnection, id: string): Promise<number> {
  const { flags, terminal } = input;
  const isJson = flags.has("json");
  const logs = flags.has("follow") && !isJson ? printLogs(connection, id, terminal) : Promise.resolve();
  let last: JobSummary | undefined;
  for await (const job of followStates(connection.client, id, { signal: terminal.stop })) {
    last = job;
    if (!isJson) terminal.err(`${styled(terminal, "cyan", jobLine(job))}\n`);
  }
  await logs;
  if (last === undefined || !isTerminal(last.state)) {
    terminal.err(`${goesOn(id)}\n`);
    return 1;
  }
  const view = await connection.client.call("get_job", { id });
  const { supervisor, paths } = connection;
  printEnd(view, { terminal, isJson, supervisor, runnerKeys: await pinnedRunnerKeys(paths) });
  return last.state === "completed" ? 0 : 1;
}

async function printLogs({ client }: CommandConnection, id: string, terminal: Terminal): Promise<void> {
  for await (const entry of followLogs(client, id, { from: 0, follow: true, signal: terminal.stop })) {
    printLogEntry(terminal, entry, false);
  }
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
