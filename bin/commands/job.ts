/** `supervisor job …`: read, wait for, cancel and delete jobs. */
import { followLogs, followStates } from "../../src/client/index.ts";
import { counted } from "../../src/counted.ts";
import { isTerminal } from "../../src/jobs/job.ts";
import { JOB_STATES, type JobState, type JobSummary, type JobView } from "../../src/rpc/schema.ts";
import { type Command, type CommandInput, type Flags, UsageError } from "../command.ts";
import { CONNECTION_OPTIONS, withConnection } from "../connection.ts";
import { checkedId, goesOn, jobLine, LogPrinter } from "../job-output.ts";
import { clockTime, printData, table } from "../terminal.ts";

function idOf({ positionals }: CommandInput): string {
  return checkedId(positionals[0] ?? "", "");
}

export const getJob: Command = {
  options: CONNECTION_OPTIONS,
  examples: ["supervisor job get 0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b --json"],
  async run(input) {
    const id = idOf(input);
    const view = await withConnection(input, async ({ client }) => client.call("get_job", { id }));
    printData(input.terminal, view, { isJson: input.flags.has("json"), lines: () => viewLines(view) });
    return 0;
  },
};

function viewLines(view: JobView): readonly string[] {
  const result = view.result?.text ?? (view.result?.base64 === undefined ? undefined : `base64:${view.result.base64}`);
  const fields: readonly (readonly [string, string | undefined])[] = [
    ["id", view.id],
    ["state", view.cancelling ? `${view.state} (cancelling)` : view.state],
    ["reason", view.reason],
    ["exit code", view.code?.toString()],
    ["owner", view.principal],
    ["queue", view.queue],
    ["runner", view.runner],
    ["attempts", `${view.attempt} (${view.failures} failed, ${view.losses} lost)`],
    ["admitted", clockTime(view.admitted_ms)],
    ["started", clockTime(view.started_ms)],
    ["finished", clockTime(view.finished_ms)],
    ["log", `${counted(view.log_count, "entry", "entries")}, ${counted(view.log_bytes, "byte")}`],
    ["digest", view.digest],
    ["receipt", view.receipt === undefined ? undefined : `signed by ${view.receipt.public_key}`],
    ["result", result],
  ];
  return fields.flatMap(([name, value]) => (value === undefined ? [] : [`${name.padEnd(10)} ${value}`]));
}

export const listJobs: Command = {
  options: [
    { flag: "--state <state>", description: `Only jobs in this state: ${JOB_STATES.join(", ")}` },
    { flag: "--runner <name>", description: "Only jobs for this runner or group" },
    { flag: "--context <id>", description: "Only jobs with this context_id" },
    { flag: "--all", description: "Everybody's jobs (observer, admin)" },
    { flag: "--limit <n>", description: "How many", default: "50" },
    ...CONNECTION_OPTIONS,
  ],
  examples: ["supervisor job list --state failed", "supervisor job list --json --limit 500"],
  async run(input) {
    const { flags, terminal } = input;
    const filter = listFilter(flags);
    const wanted = flags.integer("limit", [1, 1_000_000]) ?? 50;
    const jobs = await withConnection(input, async ({ client }) => {
      const found: JobSummary[] = [];
      let cursor: string | undefined;
      do {
        const limit = Math.min(200, wanted - found.length);
        const page = await client.call("list_jobs", { ...filter, limit, ...(cursor === undefined ? {} : { cursor }) });
        found.push(...page.jobs);
        cursor = page.next;
      } while (cursor !== undefined && found.length < wanted);
      return found;
    });
    printData(terminal, jobs, {
      isJson: flags.has("json"),
      lines: () =>
        table(
          ["ID", "STATE", "QUEUE", "RUNNER", "ADMITTED", "CODE", "REASON"],
          jobs.map((job) => [
            job.id,
            job.state,
            job.queue,
            job.runner ?? "-",
            clockTime(job.admitted_ms),
            job.code?.toString() ?? "-",
            job.reason ?? "",
          ]),
        ),
    });
    return 0;
  },
};

function listFilter(flags: Flags): { state?: JobState; runner?: string; context_id?: string; all?: boolean } {
  const state = flags.text("state");
  const known = JOB_STATES.find((name) => name === state);
  if (state !== undefined && known === undefined) {
    throw new UsageError(`--state "${state}" is none of ${JOB_STATES.join(", ")}.`);
  }
  const runner = flags.text("runner");
  const context = flags.text("context");
  return {
    ...(known === undefined ? {} : { state: known }),
    ...(runner === undefined ? {} : { runner }),
    ...(context === undefined ? {} : { context_id: context }),
    ...(flags.has("all") ? { all: true } : {}),
  };
}

export const waitJob: Command = {
  options: CONNECTION_OPTIONS,
  examples: ["supervisor job wait 0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b"],
  async run(input) {
    const { flags, terminal } = input;
    const id = idOf(input);
    return withConnection(input, async ({ client }) => {
      let job: JobSummary | undefined;
      for await (const state of followStates(client, id, { signal: terminal.stop })) job = state;
      if (job === undefined || !isTerminal(job.state)) {
        terminal.err(`${goesOn(id, flags)}\n`);
        return 1;
      }
      const ended = job;
      printData(terminal, ended, { isJson: flags.has("json"), lines: () => [jobLine(ended)] });
      return ended.state === "completed" ? 0 : 1;
    });
  },
};

export const jobLogs: Command = {
  options: [
    { flag: "--follow", description: "Wait for more until the job ended" },
    { flag: "--from <n>", description: "Position of the first entry", default: "0" },
    ...CONNECTION_OPTIONS,
  ],
  examples: ["supervisor job logs 0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b --follow"],
  async run(input) {
    const { flags, terminal } = input;
    const isJson = flags.has("json");
    const id = idOf(input);
    const from = flags.integer("from", [0, Number.MAX_SAFE_INTEGER]) ?? 0;
    const printer = new LogPrinter(terminal, isJson);
    return withConnection(input, async ({ client }) => {
      const options = { from, follow: flags.has("follow"), signal: terminal.stop };
      for await (const entry of followLogs(client, id, options)) {
        printer.print(entry);
      }
      return 0;
    });
  },
};

export const cancelJob: Command = {
  options: CONNECTION_OPTIONS,
  examples: ["supervisor job cancel 0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b"],
  async run(input) {
    const id = idOf(input);
    const job = await withConnection(input, async ({ client }) => client.call("cancel_job", { id }));
    printData(input.terminal, job, { isJson: input.flags.has("json"), lines: () => [jobLine(job)] });
    return 0;
  },
};

export const deleteJob: Command = {
  options: CONNECTION_OPTIONS,
  examples: ["supervisor job delete 0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b"],
  async run(input) {
    const id = idOf(input);
    const deleted = await withConnection(input, async ({ client }) => client.call("delete_job", { id }));
    printData(input.terminal, deleted, { isJson: input.flags.has("json"), lines: () => [`deleted ${deleted.id}`] });
    return 0;
  },
};
