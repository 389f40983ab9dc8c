/** The demo's play: one signed job, from its submission to its verified receipt. */
import { buildJob, followLogs, followStates, type LogEntry, signJob, verifyReceipt } from "../../src/client/index.ts";
import type { RunnerView } from "../../src/rpc/schema.ts";
import { type CommandConnection, connected } from "../connection.ts";
import { jobLine, LogPrinter } from "../job-output.ts";
import { sideBySide } from "../side-by-side.ts";
import { styled } from "../terminal.ts";
import { packageDirectory } from "../version.ts";
import type { Child } from "./child.ts";
import type { Stage } from "./stage.ts";
import { type DemoSystem, RUNNER } from "./system.ts";
import { waitUntil } from "./wait-until.ts";
import { demoScript } from "./work.ts";

/** Plays it and says whether everything was as it should be. @throws the stage's signal's reason when it aborts */
export async function playJob(stage: Stage, system: DemoSystem): Promise<boolean> {
  const { url, dataDirectory, mycelium } = system;
  const target = { url, dataDirectory, ...(mycelium === undefined ? {} : { mycelium }) };
  // The calls outlive the person's stop: the job that runs then is cancelled by one.
  const terminal = { ...stage.terminal, stop: new AbortController().signal };
  return connected(target, {
    terminal,
    use: async (connection) => {
      const runner = await waitForRunner(connection, { child: system.runner, signal: stage.signal });
      stage.step(`runner "${RUNNER}" is ${runner.state}, its key ${runner.key}`);
      return runJob(connection, stage, runner.key);
    },
  });
}

async function waitForRunner(
  { client }: CommandConnection,
  { child, signal }: { readonly child: Child; readonly signal: AbortSignal },
): Promise<RunnerView> {
  let found: RunnerView | undefined;
  const isSo = async (): Promise<boolean> => {
    const { runners } = await client.call("list_runners", {});
    found = runners.find(({ name, state }) => name === RUNNER && state === "online");
    return found !== undefined;
  };
  await waitUntil({ what: "the runner to attach", isSo, child, signal });
  if (found === undefined) throw new Error(`Runner "${RUNNER}" never attached.`);
  return found;
}

async function runJob(connection: CommandConnection, stage: Stage, runnerKey: string): Promise<boolean> {
  const { client, signer, supervisor } = connection;
  const payload = demoScript(packageDirectory());
  const job = buildJob({ supervisor, caller: signer.publicKey, runner: RUNNER, payload, timeout: 60 });
  const created = await client.call("create_job", await signJob(signer, job));
  stage.step(`submitted job ${created.id}, signed by ${signer.publicKey}: ${created.state}`);
  const entries = await watchJob(connection, stage, job.id);
  const view = await client.call("get_job", { id: job.id });
  stage.step(`result: ${view.result?.text ?? "(none)"}`);
  if (view.receipt === undefined) {
    stage.step("no receipt: the job did not run to its end");
    return false;
  }
  const verdict = verifyReceipt({ view, entries, supervisor, runnerKeys: [runnerKey] });
  for (const { check, ok, detail } of verdict.findings) {
    const word = ok ? styled(stage.terminal, "green", "good") : styled(stage.terminal, "red", "BAD");
    stage.step(`receipt: ${word} ${check}: ${detail}`);
  }
  stage.step(`receipt: ${verdict.ok ? verdict.trust : "refused"}`);
  return verdict.ok && view.state === "completed";
}

/** Shows states and log until the end, and gives the log. A job that is given up is cancelled, so that nothing waits for it. */
async function watchJob({ client }: CommandConnection, stage: Stage, id: string): Promise<readonly LogEntry[]> {
  const { signal, terminal } = stage;
  const entries: LogEntry[] = [];
  const printer = new LogPrinter(terminal, false);
  await sideBySide(signal, [
    async (either) => {
      for await (const state of followStates(client, id, { signal: either })) stage.step(jobLine(state));
    },
    async (either) => {
      for await (const entry of followLogs(client, id, { from: 0, follow: true, signal: either })) {
        entries.push(entry);
        printer.print(entry);
      }
    },
  ]);
  if (signal.aborted) {
    await client.call("cancel_job", { id });
    signal.throwIfAborted();
  }
  return entries;
}
