/** Waiting for a job's end, and believing it only as far as its runner signed for it. */
import { type JobState, type JobView, type LogEntry, TERMINAL_STATES } from "../rpc/schema.ts";
import type { SupervisorClient } from "./client.ts";
import type { Enrolment } from "./enrolment.ts";
import type { EventSource } from "./events.ts";
import { followLogs, followStates } from "./follow.ts";
import { MAX_TIMER_MS } from "./pause.ts";
import { type ReceiptFinding, type ReceiptVerdict, verifyReceipt } from "./receipt.ts";

export interface ResultOptions {
  /** Ends the wait with its reason; the job goes on. */
  readonly signal?: AbortSignal;
  /** The longest time for all of it, in ms; none unless told. Ends with a `TimeoutError`. */
  readonly deadlineMs?: number;
  /** Reads the log as well, and checks that nothing of it is missing. */
  readonly logs?: boolean;
  /** False: nothing is checked. */
  readonly verify?: boolean;
  /** The runner's registration and the call that brought it, where registrars are pinned. */
  readonly enrolment?: Enrolment;
}

export interface JobEnd {
  readonly state: JobState;
  readonly view: JobView;
  /** All of the log, where it was asked for. */
  readonly entries?: readonly LogEntry[];
  /**
   * `verified`: signed by a pinned runner, or one that a pinned registrar enrolled. `vouched for by the supervisor`: signed
   * by a runner the supervisor knows, or an end without a runner's signature (expired, lost, cancelled before it ran).
   */
  readonly trust: ReceiptVerdict["trust"] | "not checked";
}

type Client = EventSource & Pick<SupervisorClient, "maxWaitMs" | "supervisor" | "pins">;

/** What a supervisor may say of a job without a runner's signature: no result comes with it. */
const OWN_WORD: ReadonlySet<JobState> = new Set(["failed", "cancelled", "expired"]);
const OF_RECEIPT: ReadonlySet<ReceiptFinding["check"]> = new Set(["receipt", "outcome", "result", "log"]);

/** The answer about a job's end does not hold: somebody on the way changed it, or its runner is none of those pinned. */
export class ReceiptError extends Error {
  override readonly name = "ReceiptError";
  readonly verdict: ReceiptVerdict;
  /** What was told; not to be believed. */
  readonly view: JobView;

  constructor(view: JobView, verdict: ReceiptVerdict, faults: readonly string[]) {
    super(`Job ${view.id}: ${faults.join("; ")}`);
    this.view = view;
    this.verdict = verdict;
  }
}

/**
 * Waits until a job has ended and checks its receipt against the client's pins, unless told otherwise.
 * @throws ReceiptError when what was told does not hold.
 * @throws RpcError CarrierError as {@link SupervisorClient.call}; the reason of `signal`.
 */
export async function waitForResult(client: Client, id: string, options: ResultOptions = {}): Promise<JobEnd> {
  const { signal, deadlineMs } = options;
  if (deadlineMs === undefined) return resultOf(client, id, options);
  // Not AbortSignal.timeout: Node 20 forgets one that only signals made of it refer to.
  const late = new AbortController();
  const end = (): void => late.abort(new DOMException("The job has not ended", "TimeoutError"));
  const timer = setTimeout(end, Math.min(deadlineMs, MAX_TIMER_MS));
  try {
    const ends = signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]);
    return await resultOf(client, id, { ...options, signal: ends });
  } finally {
    clearTimeout(timer);
  }
}

async function resultOf(client: Client, id: string, options: ResultOptions): Promise<JobEnd> {
  await untilEnded(client, id, options);
  const view = await client.call("get_job", { id }, signalOf(options));
  const entries = options.logs === true ? await readLog(client, id, options) : undefined;
  const told = { state: view.state, view, ...(entries === undefined ? {} : { entries }) };
  if (options.verify === false) return { ...told, trust: "not checked" };
  return { ...told, trust: check(client, { view, entries, enrolment: options.enrolment }) };
}

async function untilEnded(client: Client, id: string, options: ResultOptions): Promise<void> {
  options.signal?.throwIfAborted();
  for await (const { state } of followStates(client, id, signalOf(options))) {
    if (TERMINAL_STATES.some((terminal) => terminal === state)) return;
  }
  // The iterator ends quietly where it is told to.
  options.signal?.throwIfAborted();
}

async function readLog(client: Client, id: string, options: ResultOptions): Promise<readonly LogEntry[]> {
  const entries: LogEntry[] = [];
  for await (const entry of followLogs(client, id, { ...signalOf(options), follow: false })) entries.push(entry);
  options.signal?.throwIfAborted();
  return entries;
}

interface Told {
  readonly view: JobView;
  readonly entries: readonly LogEntry[] | undefined;
  readonly enrolment: Enrolment | undefined;
}

function check(client: Client, { view, entries, enrolment }: Told): ReceiptVerdict["trust"] {
  const { supervisor, pins } = client;
  const verdict = verifyReceipt({
    view,
    supervisor,
    runnerKeys: pins.runnerKeys,
    registrarKeys: pins.registrarKeys,
    ...(entries === undefined ? {} : { entries }),
    ...(enrolment === undefined ? {} : { enrolment }),
  });
  const isSpared = (of: ReceiptFinding["check"]): boolean => OF_RECEIPT.has(of) && isOwnWord(view);
  const bad = verdict.findings.filter(({ ok, check: of }) => !ok && !isSpared(of));
  const faults = bad.map(({ detail }) => detail);
  const hasPins = pins.runnerKeys.length + pins.registrarKeys.length > 0;
  if (verdict.ok && hasPins && verdict.trust !== "verified") faults.push("its runner's key is none of those pinned");
  if (faults.length > 0) throw new ReceiptError(view, verdict, faults);
  return verdict.trust;
}

/** Did the job end in a way that no runner signs for? What a receipt says of this very end must hold. */
function isOwnWord({ receipt, attempt, state }: JobView): boolean {
  if (!OWN_WORD.has(state)) return false;
  if (receipt === undefined || receipt.body.attempt < attempt) return true;
  // Ended while it waited for its next attempt.
  return state !== "failed" && (receipt.body.status === "failed" || receipt.body.status === "timeout");
}

function signalOf({ signal }: ResultOptions): { readonly signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
