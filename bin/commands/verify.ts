/** `supervisor verify receipt`: from files and pinned keys alone; no server, no network, nothing believed. */
import { readFile } from "node:fs/promises";

import { Type } from "typebox";
import { Check } from "typebox/schema";

import { readSeed } from "../../src/auth/key-file.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { isPublicKey } from "../../src/auth/signature.ts";
import { type Enrolment, type ReceiptQuestion, type ReceiptVerdict, verifyReceipt } from "../../src/client/index.ts";
import { dataPaths, type DataPaths } from "../../src/data-directory.ts";
import { errorText } from "../../src/errors.ts";
import { scanJson } from "../../src/rpc/json-scan.ts";
import { type JobView, JobView as JobViewSchema, LogEntry, SignedRunner } from "../../src/rpc/schema.ts";
import { type Command, type Flags, UsageError } from "../command.ts";
import { CONFIG_OPTION, configOf } from "../config.ts";
import { visible } from "../job-words.ts";
import { pinnedRunnerKeys } from "../pinned-runners.ts";
import { printData, styled, type Terminal } from "../terminal.ts";

const StoredRegistration = Type.Object({ registration: SignedRunner, enrolled_by: Type.String() });

export const verifyReceiptCommand: Command = {
  options: [
    { flag: "--view <file>", description: "The job: what job get --json printed (required)" },
    { flag: "--logs <file>", description: "Its log: what job logs --json printed, all of it" },
    { flag: "--supervisor <key>", description: "Pinned identity, ed25519:…; this host's own unless told" },
    {
      flag: "--runner-key <key>",
      description:
        "Pinned runner, ed25519:…; more than once. Trusted unless any is told: those that have their key in the data " +
        "directory (runners/*.key) or a line in its known_runners",
      isMany: true,
    },
    {
      flag: "--registrar-key <key>",
      description: "Pinned registrar, ed25519:…, with --registration instead of a runner; more than once",
      isMany: true,
    },
    { flag: "--registration <file>", description: "The runner: what runner status --json printed" },
    { flag: "--data-dir <dir>", description: "Data directory", default: "~/.local/share/horus-supervisor" },
    CONFIG_OPTION,
    { flag: "--json", description: "Print data as JSON" },
  ],
  examples: [
    "supervisor verify receipt --view job.json --logs log.jsonl --supervisor ed25519:… --runner-key ed25519:…",
    "supervisor verify receipt --view job.json --registration runner.json --registrar-key ed25519:…",
  ],
  async run(input) {
    const { flags, terminal } = input;
    const { data_dir: directory } = await configOf(flags, terminal);
    const paths = dataPaths(directory);
    const logs = flags.text("logs");
    const registration = flags.text("registration");
    const question = {
      view: await readView(flags),
      supervisor: await supervisorOf(flags, paths),
      ...(await pinsOf(flags, paths)),
      ...(logs === undefined ? {} : { entries: await readLog(logs) }),
      ...(registration === undefined ? {} : { enrolment: await readEnrolment(registration) }),
    };
    const verdict = verifyReceipt(question);
    const hasLog = logs !== undefined;
    printData(terminal, verdict, {
      isJson: flags.has("json"),
      lines: () => verdictLines(terminal, verdict, { view: question.view, hasLog }),
    });
    return verdict.ok && verdict.trust === "verified" ? 0 : 1;
  },
};

function verdictLines(
  terminal: Terminal,
  verdict: ReceiptVerdict,
  { view, hasLog }: { readonly view: JobView; readonly hasLog: boolean },
): readonly string[] {
  const runner = view.receipt?.public_key ?? "nobody";
  const findings = verdict.findings.map(({ check, ok, detail }) => {
    const mark = ok ? styled(terminal, "green", "proved", "out") : styled(terminal, "red", "WRONG ", "out");
    return `${mark}  ${check}: ${visible(detail)}`;
  });
  return [...findings, ...notProved(verdict, { runner, hasLog }), conclusion(verdict, runner)];
}

/** What good findings do not say; people take a green line for more than it is. */
function notProved(
  { ok, trust }: ReceiptVerdict,
  { runner, hasLog }: { readonly runner: string; readonly hasLog: boolean },
): readonly string[] {
  return [
    ...(hasLog ? [] : ["not proved: the log; give it with --logs"]),
    // Of a receipt that is wrong it is not said whose it is; nobody is to pin a key for its sake.
    ...(!ok || trust === "verified"
      ? []
      : [`not proved: that ${runner} is a runner you trust; pin it with --runner-key`]),
    "not proved: that the runner told the truth about what ran, only that it said so; times are by its own clock",
  ];
}

function conclusion({ ok, trust }: ReceiptVerdict, runner: string): string {
  if (!ok) return "WRONG: this is not what a runner signed for this job.";
  return trust === "verified"
    ? `Verified: ${runner}, which you trust, signed this outcome of this job.`
    : `Vouched for by the supervisor: all fits together, and nobody you pinned stands behind ${runner}.`;
}

type Pins = Required<Pick<ReceiptQuestion, "runnerKeys" | "registrarKeys">>;

/** Told pins count alone: who asks whether one key signed is not to hear yes because of another that lies here. */
async function pinsOf(flags: Flags, paths: DataPaths): Promise<Pins> {
  const told = { runnerKeys: publicKeys(flags, "runner-key"), registrarKeys: publicKeys(flags, "registrar-key") };
  const isTold = told.runnerKeys.length + told.registrarKeys.length > 0 || flags.text("registration") !== undefined;
  return isTold ? told : { ...told, runnerKeys: await pinnedRunnerKeys(paths) };
}

async function supervisorOf(flags: Flags, paths: DataPaths): Promise<string> {
  const [told] = publicKeys(flags, "supervisor");
  if (told !== undefined) return told;
  try {
    return createNativeSigner(await readSeed(paths.identity)).publicKey;
  } catch (error) {
    throw new UsageError("Which supervisor admitted the job? Pin its identity: --supervisor ed25519:…", {
      cause: error,
    });
  }
}

function publicKeys(flags: Flags, name: string): readonly string[] {
  const given = [flags.text(name) ?? [], flags.many(name)].flat();
  const wrong = given.filter((key) => !isPublicKey(key));
  if (wrong.length === 0) return given;
  throw new UsageError(`--${name} "${wrong.join('", "')}" is not ed25519: and 64 lower-case hex digits.`);
}

async function readView(flags: Flags): Promise<JobView> {
  const path = flags.text("view");
  if (path === undefined) throw new UsageError("--view is missing: a file that supervisor job get ID --json printed.");
  const view = parse(await readText(path), path);
  // What submit --wait --json prints has this verdict in it as well, which counts for nothing here.
  const { receipt_verdict: _verdict, ...rest }: { readonly receipt_verdict?: unknown } = isObject(view) ? view : {};
  if (Check(JobViewSchema, rest)) return rest;
  throw new Error(`${path} is no job: it should be what supervisor job get ID --json printed, whole.`);
}

/** One entry a line. */
async function readLog(path: string): Promise<readonly LogEntry[]> {
  const lines = (await readText(path)).split("\n").filter((line) => line !== "");
  return lines.map((line, index) => {
    const entry = parse(line, `${path}, line ${index + 1},`);
    if (Check(LogEntry, entry)) return entry;
    throw new Error(
      `${path}, line ${index + 1}, is no log entry: it should be what supervisor job logs ID --json printed.`,
    );
  });
}

async function readEnrolment(path: string): Promise<Enrolment> {
  const status = parse(await readText(path), path);
  if (Check(StoredRegistration, status)) return { registration: status.registration, call: status.enrolled_by };
  throw new Error(`${path} is no runner: it should be what supervisor runner status NAME --json printed.`);
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new UsageError(`${path} can not be read (${errorText(error)}).`, { cause: error });
  }
}

/** Two members of one name are refused: readers disagree about which of them counts. */
function parse(text: string, path: string): unknown {
  const scan = scanJson(text);
  if (!scan.ok) throw new Error(`${path} is not to be trusted: ${scan.reason}.`);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${path} is not JSON.`, { cause: error });
  }
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
