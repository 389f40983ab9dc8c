/**
 * The load: lanes that send one job each, repeat the same bytes until it is acknowledged, and follow it to its end before
 * they take the next. What waits is so never more than there are lanes, however slow the machine.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { buildJob, CarrierError, ERRORS, RpcError, signJob } from "../../src/client/index.ts";
import { parseResponse } from "../../src/client/response.ts";
import { errorText } from "../../src/errors.ts";
import type { CallEnd, History } from "./history.ts";
import { documentOf, type JobPlan } from "./jobs.ts";
import type { Line } from "./line.ts";
import type { ChaosSystem } from "./system.ts";

export interface LoadOptions {
  readonly system: Pick<ChaosSystem, "owner" | "supervisor" | "executions">;
  readonly lines: readonly Line[];
  readonly history: History;
  readonly plans: readonly JobPlan[];
  /** Most jobs that are not ended. */
  readonly lanes: number;
  /** No answer by then is none, in ms. */
  readonly callMs: number;
  /** Gives the run up: lanes end where they are. */
  readonly signal: AbortSignal;
}

/** A request whose bytes never change. */
interface Request {
  readonly job: string;
  readonly id: string;
  readonly text: string;
}

/** Between two tries of one call, in ms, with jitter. */
const RETRY_MS = 100;
/** Longest wait for an end in one call. */
const WAIT_MS = 1000;
/** Refusals that pass. */
const PASSING: ReadonlySet<number> = new Set([ERRORS.unavailable.code, ERRORS.tooMany.code, ERRORS.internal.code]);

export class Load {
  /** By job id, as they are sent. */
  readonly jobs = new Map<string, JobPlan>();
  readonly #options: LoadOptions;
  readonly #queue: IterableIterator<JobPlan>;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#queue = options.plans.values();
  }

  /** Resolves when every job has ended or the run was given up. */
  async run(): Promise<void> {
    await Promise.all(Array.from({ length: this.#options.lanes }, async (_, lane) => this.#runLane(lane)));
  }

  async #runLane(lane: number): Promise<void> {
    const { signal } = this.#options;
    for (const plan of this.#queue) {
      try {
        const request = await this.#sign(plan);
        if (await this.#submit(request, plan, lane)) await this.#follow(request.job, lane);
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
    }
  }

  async #sign(plan: JobPlan): Promise<Request> {
    const { owner, supervisor, executions } = this.#options.system;
    const document = buildJob({ supervisor, caller: owner.publicKey, ...documentOf(plan, executions) });
    const params = await signJob(owner, document);
    this.jobs.set(document.id, plan);
    const id = randomUUID();
    return { job: document.id, id, text: JSON.stringify({ jsonrpc: "2.0", id, method: "create_job", params }) };
  }

  /** The same bytes until they are acknowledged; false when they were refused. A twin goes to all at the same moment. */
  async #submit(request: Request, { isTwin }: JobPlan, lane: number): Promise<boolean> {
    const { lines, signal } = this.#options;
    for (let attempt = 0; ; attempt += 1) {
      const line = this.#line(lane + attempt);
      const ends = await Promise.all(
        (isTwin && attempt === 0 ? lines : [line]).map(async (to) => this.#send(request, to)),
      );
      if (ends.some(({ outcome }) => outcome === "new" || outcome === "duplicate")) return true;
      if (ends.some(({ outcome }) => outcome === "refused")) return false;
      await sleep(RETRY_MS * (0.5 + Math.random()), undefined, { signal });
    }
  }

  async #send({ job, id, text }: Request, line: Line): Promise<CallEnd> {
    const { history, callMs, signal } = this.#options;
    const answered = history.invoke(job, line.name);
    const end = await line.call({ id, text, waitMs: 0, deadlineMs: callMs, signal }).then(
      (answer) => read(answer, id),
      (error: unknown) => failed(error),
    );
    answered(end);
    signal.throwIfAborted();
    return end;
  }

  /** Until its end is seen, by whichever supervisor answers. */
  async #follow(job: string, lane: number): Promise<void> {
    const { history, callMs, signal } = this.#options;
    for (let attempt = 0; ; attempt += 1) {
      const { client } = this.#line(lane + attempt);
      try {
        const waiting = { deadlineMs: WAIT_MS + callMs, signal };
        const {
          state,
          revision,
          attempt: number,
        } = await client.call("wait_job", { id: job, wait_ms: WAIT_MS }, waiting);
        if (state !== "pending" && state !== "running") {
          history.ended({ job, state, revision, attempt: number });
          return;
        }
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof RpcError && error.code === ERRORS.notFound.code) {
          history.ended({ job, state: "missing", revision: 0, attempt: 0 });
          return;
        }
        if (!(error instanceof CarrierError || error instanceof RpcError)) throw error;
        await sleep(RETRY_MS * (0.5 + Math.random()), undefined, { signal });
      }
    }
  }

  #line(turn: number): Line {
    const { lines } = this.#options;
    const line = lines[turn % lines.length];
    if (line === undefined) throw new RangeError("There is no supervisor.");
    return line;
  }
}

function read(answer: string, id: string): CallEnd {
  try {
    const { duplicate, state } = parseResponse(answer, { name: "create_job", id });
    return { outcome: duplicate ? "duplicate" : "new", detail: state };
  } catch (error) {
    return failed(error);
  }
}

/** What an error says of whether the job was admitted. */
function failed(error: unknown): CallEnd {
  const detail = errorText(error);
  if (error instanceof CarrierError) return { outcome: error.applied, detail };
  if (!(error instanceof RpcError)) throw error;
  if (!PASSING.has(error.code)) return { outcome: "refused", detail };
  // Not told: it may have been.
  return { outcome: appliedOf(error.data), detail };
}

function appliedOf(data: unknown): "no" | "unknown" {
  const isNo = typeof data === "object" && data !== null && "applied" in data && data.applied === "no";
  return isNo ? "no" : "unknown";
}
