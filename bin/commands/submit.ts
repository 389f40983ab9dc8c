/** `supervisor submit`: sign a job and send it; with --wait its end decides the exit code. */
import { readFile } from "node:fs/promises";

import { buildJob, ERRORS, type Result, RpcError, type SignedJob, signJob } from "../../src/client/index.ts";
import { newJobId } from "../../src/client/job.ts";
import { errorText } from "../../src/errors.ts";
import type { JobDocument } from "../../src/rpc/schema.ts";
import { type Command, type CommandInput, type Flags, UsageError } from "../command.ts";
import {
  type CommandConnection,
  CONNECTION_OPTIONS,
  isMissing,
  type SigningParts,
  signingParts,
  withConnection,
} from "../connection.ts";
import { explainJobRefusal, explainUnclearJob } from "../hints.ts";
import { waitForEnd } from "../job-end.ts";
import { checkedId } from "../job-output.ts";
import { readSignedJob, signedJobText, writeSignedJob } from "../signed-job.ts";
import { decode, printData, styled } from "../terminal.ts";
import { checkedRunnerName } from "./runner.ts";

const DAY_SECONDS = 86_400;

export const submit: Command = {
  options: [
    { flag: "--runner <name>", description: "Runner or group that executes it (required)" },
    { flag: "--payload <text>", description: "The payload itself, instead of a file or standard input" },
    { flag: "--executor <name>", description: "Which of the runner's executors" },
    {
      flag: "--env <NAME=value>",
      description: "Environment variable of the job; may be given more than once",
      isMany: true,
    },
    { flag: "--timeout <seconds>", description: "Longest run of one attempt", default: "600" },
    { flag: "--expires-in <seconds>", description: "No attempt starts later than this", default: "3600" },
    { flag: "--delay <seconds>", description: "No attempt starts earlier than this" },
    { flag: "--max-attempts <n>", description: "Attempts in all that may fail", default: "1" },
    { flag: "--on-loss <what>", description: "retry or fail, when the runner disappears", default: "retry" },
    { flag: "--priority <0-9>", description: "Higher first", default: "5" },
    { flag: "--context <id>", description: "Label: tenant, project" },
    { flag: "--id <uuid>", description: "Id of the job: the same id and content again is the same job" },
    { flag: "--sign-only", description: "Write the signed job instead of sending it, for others to sign as well" },
    { flag: "--out <file>", description: "With --sign-only: where it goes; standard output unless told" },
    { flag: "--signed <file>", description: "Send a job that was signed before, as it is; - for standard input" },
    {
      flag: "--wait",
      description:
        "Wait for the end; exit code 1 when it did not complete, 3 when nobody answers. Ctrl-C offers to cancel the job",
    },
    {
      flag: "--follow",
      description: "Print states and log lines as they come (waits as well); with --json the end alone",
    },
    ...CONNECTION_OPTIONS,
  ],
  examples: [
    "supervisor submit --runner demo --wait --follow < script.sh",
    'supervisor submit --runner demo --payload "echo hello" --wait',
    "supervisor submit build.sh --runner build --env BRANCH=main --timeout 1800",
    "supervisor submit deploy.sh --runner prod-1 --sign-only --out deploy.job",
    "supervisor submit --signed deploy.job --wait",
  ],
  async run(input) {
    const { flags, terminal } = input;
    const isSignOnly = flags.has("sign-only");
    if (!isSignOnly && flags.text("out") !== undefined) throw new UsageError("--out belongs to --sign-only.");
    const file = flags.text("signed");
    const wish = file === undefined ? await freshJob(input) : await signedBefore(input, file);
    if (isSignOnly) return signOnly(input, wish);
    return withConnection(input, async (connection) => {
      const created = await sent(wish, connection, flags);
      const isJson = flags.has("json");
      const known = created.duplicate ? " (known already)" : "";
      const note = created.runner_online ? known : `${known}; no live runner takes "${wish.runner}" at the moment`;
      const says = `${created.state}${note}`;
      if (flags.has("wait") || flags.has("follow")) {
        // People see the state from the wait itself.
        if (isJson || note !== "") terminal.err(`${created.id} ${says}\n`);
        return waitForEnd(input, connection, created.id);
      }
      printData(terminal, created, { isJson, lines: () => [created.id] });
      if (note !== "") terminal.err(`${says}\n`);
      return 0;
    });
  },
};

/** What is to be sent. */
interface Wish {
  readonly id: string;
  readonly runner: string;
  readonly send: (connection: CommandConnection) => Promise<Created>;
  /** Absent where others have signed it already. */
  readonly sign?: (parts: SigningParts) => Promise<SignedJob>;
}

async function sent({ id, runner, send }: Wish, connection: CommandConnection, flags: Flags): Promise<Created> {
  try {
    return await send(connection);
  } catch (error) {
    throw explainUnclearJob(explainJobRefusal(error, runner), id, flags);
  }
}

async function freshJob(input: CommandInput): Promise<Wish> {
  const members = { id: newJobId(Date.now()), ...membersOf(input.flags), payload: await payloadOf(input) };
  return {
    id: members.id,
    runner: members.runner,
    send: async (connection) => create(connection, members),
    sign: async ({ signer, supervisor }) => {
      const { lifetime, delay, ...rest } = members;
      return signJob(
        signer,
        buildJob({ supervisor, caller: signer.publicKey, ...rest, ...timesFrom(lifetime, delay) }),
      );
    },
  };
}

/** Members of a document are signed: nothing about it can be told any more. */
async function signedBefore({ flags, positionals, terminal }: CommandInput, file: string): Promise<Wish> {
  const stray = ["runner", "payload", "executor", "timeout", "id"].find((name) => flags.text(name) !== undefined);
  if (stray !== undefined || positionals.length > 0) {
    throw new UsageError(
      `--signed sends a job as it was signed; ${stray === undefined ? positionals[0] : `--${stray}`} can not change it.`,
    );
  }
  const signed = await readSignedJob(file, terminal);
  return { id: signed.job.id, runner: signed.job.runner, send: async ({ client }) => client.submitJob(signed) };
}

async function signOnly(input: CommandInput, { sign }: Wish): Promise<number> {
  if (sign === undefined)
    throw new UsageError("--sign-only makes a job; to sign one that is there: supervisor cosign FILE");
  const { flags, terminal } = input;
  const signed = await sign(await signingParts(input));
  const out = flags.text("out");
  if (out === undefined || out === "-") {
    terminal.out(signedJobText(signed));
    return 0;
  }
  await writeSignedJob(out, signed);
  terminal.err(
    `Signed. Others add their signatures: supervisor cosign ${out}; send it: supervisor submit --signed ${out}\n`,
  );
  return 0;
}

async function payloadOf({ positionals, flags, terminal }: CommandInput): Promise<string> {
  const [file] = positionals;
  const text = flags.text("payload");
  if (file !== undefined && text !== undefined) throw new UsageError("Give a file or --payload, not both.");
  if (text !== undefined) return text;
  try {
    const input = file === undefined ? await terminal.readInput() : decode(await readFile(file));
    if (input === "") terminal.err(`${styled(terminal, "yellow", "warning:")} the payload is empty.\n`);
    if (input !== undefined) return input;
  } catch (error) {
    if (file !== undefined && isMissing(error)) {
      const fix = "Name one that is there, give --payload, or leave it out and pipe the payload in";
      throw new UsageError(`${file}: no such file. ${fix}.`, { cause: error });
    }
    const what = file === undefined ? "Standard input" : `"${file}"`;
    throw new UsageError(`${what} can not be the payload: ${errorText(error)}.`, { cause: error });
  }
  throw new UsageError("No payload: name a file, give --payload, or pipe it in.");
}

/** What flags say of the job, with times relative to now. */
interface Members extends Partial<Omit<JobDocument, "v" | "aud" | "caller_id" | "payload">> {
  readonly runner: string;
  /** Seconds from now; an hour from the earliest start where it is absent. */
  readonly lifetime: number | undefined;
  readonly delay: number;
}

function membersOf(flags: Flags): Members {
  const runner = flags.text("runner");
  if (runner === undefined) {
    throw new UsageError("--runner is missing: the runner or group that should execute the job.");
  }
  checkedRunnerName(runner);
  const id = flags.text("id");
  const optional = {
    executor: flags.text("executor"),
    id: id === undefined ? undefined : checkedId(id, "--id "),
    context_id: flags.text("context"),
    timeout: flags.integer("timeout", [1, DAY_SECONDS]),
    max_attempts: flags.integer("max-attempts", [1, 20]),
    on_loss: onLossOf(flags),
    priority: flags.integer("priority", [0, 9]),
    env_vars: environmentOf(flags),
  };
  const given = Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined));
  const lifetime = flags.integer("expires-in", [1, 365 * DAY_SECONDS]);
  const delay = flags.integer("delay", [0, 365 * DAY_SECONDS]) ?? 0;
  if (lifetime !== undefined && lifetime < delay) {
    throw new UsageError(`--expires-in ${lifetime} is before --delay ${delay}: no attempt could ever start.`);
  }
  return { ...given, runner, lifetime, delay };
}

type Created = Result<"create_job">;
type Times = Partial<Pick<JobDocument, "created_at" | "expires_at" | "not_before">>;

/** Signs and sends. With an id that is known already the same job, apart from its times, is that job. */
async function create(
  connection: CommandConnection,
  { lifetime, delay, ...members }: Members & { readonly payload: string },
): Promise<Created> {
  const { client, signer, supervisor } = connection;
  const send = async (times: Times): Promise<Created> => {
    const job = buildJob({ supervisor, caller: signer.publicKey, ...members, ...times });
    return client.call("create_job", await signJob(signer, job));
  };
  try {
    return await send(timesFrom(lifetime, delay));
  } catch (error) {
    const times = isConflict(error) ? await timesOf(connection, members.id) : undefined;
    if (times === undefined) throw error;
    // The supervisor judges again: with the times of the first submission the same job has the same digest.
    return send(times);
  }
}

function timesFrom(lifetime: number | undefined, delay: number): Times {
  const now = Math.floor(Date.now() / 1000);
  return {
    created_at: now,
    ...(lifetime === undefined ? {} : { expires_at: now + lifetime }),
    ...(delay === 0 ? {} : { not_before: now + delay }),
  };
}

function isConflict(error: unknown): boolean {
  return error instanceof RpcError && error.code === ERRORS.conflict.code;
}

/** Times of the job that has the id, where this key may read it. */
async function timesOf({ client }: CommandConnection, id: string | undefined): Promise<Times | undefined> {
  if (id === undefined) return undefined;
  try {
    const { created_at, expires_at, not_before } = (await client.call("get_job", { id })).job;
    if (created_at === undefined || expires_at === undefined) return undefined;
    return { created_at, expires_at, ...(not_before === undefined ? {} : { not_before }) };
  } catch (error) {
    // Somebody else's, or deleted: the conflict stands.
    if (error instanceof RpcError) return undefined;
    throw error;
  }
}

function onLossOf(flags: Flags): "retry" | "fail" | undefined {
  const text = flags.text("on-loss");
  if (text === undefined || text === "retry" || text === "fail") return text;
  throw new UsageError(`--on-loss "${text}" is neither retry nor fail.`);
}

function environmentOf(flags: Flags): Readonly<Record<string, string>> | undefined {
  const pairs = flags.many("env").map((pair): [string, string] => {
    const at = pair.indexOf("=");
    if (at < 1) throw new UsageError(`--env "${pair}" is not NAME=value.`);
    return [pair.slice(0, at), pair.slice(at + 1)];
  });
  return pairs.length === 0 ? undefined : Object.fromEntries(pairs);
}
