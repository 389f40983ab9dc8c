/** A runner over a MemorySource with real keys, real processes and a directory of its own. */
import { randomUUID } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { createVerifier } from "../../src/auth/native-verifier.ts";
import { type Signer, signDocument } from "../../src/auth/signature.ts";
import { createLog } from "../../src/log.ts";
import type { JobDocument, SignedTicket, TicketDocument } from "../../src/rpc/schema.ts";
import type { AllowList } from "../../src/runner/allow-list.ts";
import { createExecutor, type Executor } from "../../src/runner/executor.ts";
import { createJobVerifier } from "../../src/runner/job-verifier.ts";
import { findProcesses } from "../../src/runner/leftovers.ts";
import { createRunner, type Runner, type RunnerEvent, type RunnerOptions } from "../../src/runner/runner.ts";
import { openSeenJobs, type SeenJobs } from "../../src/runner/seen-jobs.ts";
import { aJob } from "./builders.ts";
import { MemorySource, type QueuedJob, type StoredJob } from "./memory-source.ts";
import { aSigner, VECTORS } from "./signing.ts";

export const BASH: Executor = createExecutor("sh", { command: ["bash", "-s"], env: ["CI", "LANG", "APP_*"] });

export const quietLog = createLog({ level: "silent", pretty: false });

export interface JobWishes extends Partial<JobDocument> {
  readonly signers?: readonly Signer[];
  /** Members of the ticket that are signed as they are told here. */
  readonly ticket?: Partial<TicketDocument>;
  readonly ticketSigner?: Signer;
  /** How it stands in the source, beside what was signed. */
  readonly stored?: Partial<QueuedJob>;
}

/** A job admitted to queue `build` by supervisor A, signed by the caller, valid for an hour unless told otherwise. */
export async function aQueuedJob(wishes: JobWishes = {}): Promise<QueuedJob> {
  const { signers = [aSigner()], ticket, ticketSigner = aSigner("supervisorA"), stored, ...wanted } = wishes;
  const now = Math.floor(Date.now() / 1000);
  const { env_vars: _env, ...plain } = aJob();
  const job: JobDocument = { ...plain, id: randomUUID(), created_at: now, expires_at: now + 3600, ...wanted };
  const signed = await Promise.all(signers.map(async (signer) => signDocument(signer, "job", job)));
  const [{ text, digest } = { text: "", digest: "0".repeat(64) }] = signed;
  const body: TicketDocument = {
    v: 1,
    aud: VECTORS.keys.supervisorA,
    job: digest,
    id: job.id,
    queue: job.runner,
    iat: now,
    exp: job.expires_at,
    ...ticket,
  };
  const { signature } = await signDocument(ticketSigner, "ticket", body);
  const signedTicket: SignedTicket = { body, public_key: ticketSigner.publicKey, signature };
  return {
    id: job.id,
    document: text,
    signatures: JSON.stringify(
      signers.map((signer, index) => ({ public_key: signer.publicKey, signature: signed[index]?.signature ?? "" })),
    ),
    ticket: JSON.stringify(signedTicket),
    queue: job.runner,
    maxAttempts: job.max_attempts ?? 1,
    ...stored,
  };
}

export interface HarnessOptions extends Partial<Omit<RunnerOptions, "source" | "seen" | "onEvent" | "executors">> {
  readonly source?: MemorySource;
  readonly executors?: readonly Executor[];
  readonly allowList?: AllowList;
}

export interface Harness {
  readonly runner: Runner;
  readonly source: MemorySource;
  readonly seen: SeenJobs;
  /** The runner's own directory; scratch directories are made in `scratch` under it. */
  readonly directory: string;
  readonly events: RunnerEvent[];
  /** Queues a job and resolves when the runner is done with its attempt, whatever came of it. */
  readonly run: (wishes?: JobWishes) => Promise<StoredJob>;
  readonly queue: (wishes?: JobWishes) => Promise<StoredJob>;
  /** Resolves when so many attempts have ended. */
  readonly ended: (count: number) => Promise<void>;
  /** @throws Error when scratch directories, processes or listeners are left behind. */
  readonly stop: () => Promise<void>;
}

/** The harness of the test that runs. */
export interface HarnessSlot {
  readonly start: (options?: HarnessOptions) => Promise<Harness>;
  readonly create: (options?: HarnessOptions) => Promise<Harness>;
  readonly stop: () => Promise<void>;
}

/** Makes harnesses one after another and stops the last one, whatever became of the test. */
export function harnessSlot(): HarnessSlot {
  let harness: Harness | undefined;
  const slot: HarnessSlot = {
    create: async (options) => {
      harness = await createHarness(options);
      return harness;
    },
    start: async (options) => {
      const created = await slot.create(options);
      await created.runner.start();
      return created;
    },
    stop: async () => {
      const stopped = harness;
      harness = undefined;
      await stopped?.stop();
    },
  };
  return slot;
}

/** Remembers nothing. */
const NO_SEEN: SeenJobs = {
  reload: async () => undefined,
  recall: () => undefined,
  started: async () => undefined,
  accepted: async () => undefined,
  close: async () => undefined,
};

/** What a runner `build-1` of group `build` is made of. */
export function aRunnerOptions(options: HarnessOptions = {}): RunnerOptions {
  const { source = new MemorySource(), executors = [BASH], allowList, limits, ...rest } = options;
  return {
    name: "build-1",
    groups: ["build"],
    slots: 1,
    version: "0.0.0-test",
    source,
    signer: aSigner("runner"),
    supervisor: VECTORS.keys.supervisorA,
    executors: new Map(executors.map((executor) => [executor.name, executor])),
    verifyJob: createJobVerifier({
      supervisor: VECTORS.keys.supervisorA,
      queues: ["build-1", "build"],
      verifier: createVerifier({ crypto: "native", maxInFlight: 64 }),
      ...(allowList === undefined ? {} : { allowList }),
      now: Date.now,
    }),
    seen: NO_SEEN,
    log: quietLog,
    now: Date.now,
    limits: { killGraceMs: 300, graceMs: 10_000, settleMs: 1000, pollMs: 100, logFlushMs: 2000, ...limits },
    ...rest,
  };
}

/** A runner in a directory of its own, not started. */
async function createHarness(options: HarnessOptions = {}): Promise<Harness> {
  const directory = await mkdtemp(join(tmpdir(), "horus-runner-test-"));
  const source = options.source ?? new MemorySource();
  const seen = await openSeenJobs({ path: join(directory, "seen"), now: Date.now });
  const events: RunnerEvent[] = [];
  const waiting: (() => void)[] = [];
  const scratchParent = join(directory, "scratch");
  const runner = createRunner({
    ...aRunnerOptions({ scratchDirectory: scratchParent, ...options, source }),
    seen,
    onEvent: (event) => {
      events.push(event);
      for (const resume of waiting.splice(0)) resume();
    },
  });
  const ended = async (count: number): Promise<void> => {
    while (events.filter((event) => event.kind === "ended").length < count) {
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
  };
  const queue = async (wishes?: JobWishes): Promise<StoredJob> => source.add(await aQueuedJob(wishes));
  return {
    runner,
    source,
    seen,
    directory,
    events,
    queue,
    ended,
    run: async (wishes) => {
      const before = events.filter((event) => event.kind === "ended").length;
      const job = await queue(wishes);
      await ended(before + 1);
      return job;
    },
    stop: async () => {
      source.goUp();
      source.hanging.clear();
      await runner.stop();
      await seen.close();
      const directories = await readdir(scratchParent).catch(() => []);
      const processes = await findProcesses(scratchParent);
      await rm(directory, { recursive: true, force: true });
      if (directories.length + processes.length + source.listeners > 0) {
        throw new Error(`left behind: ${JSON.stringify({ directories, processes, listeners: source.listeners })}`);
      }
    },
  };
}

/** No process of this number is there, or only a zombie that nobody has waited for yet. */
export async function isGone(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return status === "" || status.includes(") Z ");
}

/** The numbers a job has printed, one a line. */
export function printedNumbers(source: MemorySource, job: StoredJob): readonly number[] {
  return source.text(job.queued.id).split("\n").filter(Boolean).map(Number);
}
