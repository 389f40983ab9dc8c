/** One HTTP request to the daemon: deadline, limits, and a failure that says what happened to it. */

/**
 * Why a request to the daemon failed.
 * - `refused`: there was no connection, nothing was sent
 * - `lost`: the connection broke, or the answer was late; the daemon may have acted
 * - `status`: it answered with a status that the API does not give here
 * - `malformed`: its answer is not what the API gives, or beyond all limits
 * - `stopped`: the caller's signal, or `close()`, ended it
 */
export type DaemonFailure = "refused" | "lost" | "status" | "malformed" | "stopped";

/** A request to the daemon failed; `kind` says how, the message says what to look at. */
export class DaemonError extends Error {
  override readonly name = "DaemonError";
  readonly kind: DaemonFailure;
  /** HTTP status, for kind `status`. */
  readonly status: number | undefined;

  constructor(kind: DaemonFailure, message: string, details: { status?: number; cause?: unknown } = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.kind = kind;
    this.status = details.status;
  }
}

/** One request. */
export interface Ask {
  readonly method?: "GET" | "POST" | "DELETE";
  readonly body?: unknown;
  /** Deadline in ms; the requester's default where absent. */
  readonly deadlineMs?: number | undefined;
  /** End the request by closing its connection. */
  readonly signals?: readonly (AbortSignal | undefined)[];
  /** Statuses the caller understands; others are failures. */
  readonly expect: readonly number[];
  /** Reads nothing of the answer's body. */
  readonly isBodyIgnored?: boolean;
}

/** An answer with an expected status. */
export interface Reply {
  readonly status: number;
  readonly text: string;
}

/** Longest answer read, in characters: a 2 MiB request body of the sender, and air. */
const MAX_ANSWER_LENGTH = 4 * 1024 * 1024;

/** Speaks HTTP to one API. Connections are kept alive by the runtime's `fetch`. */
export class Requester {
  readonly #api: string;
  readonly #deadlineMs: number;
  /** Requests under way. Not one signal that all listen to: runtimes warn of a leak at more than ten listeners. */
  readonly #open = new Set<() => void>();
  #isClosed = false;

  constructor(api: string, deadlineMs: number) {
    this.#api = api;
    this.#deadlineMs = deadlineMs;
  }

  /** Ends every request, now and later. */
  close(): void {
    this.#isClosed = true;
    for (const abort of this.#open) {
      abort();
    }
  }

  /** @throws DaemonError in every case but an expected status */
  async request(path: string, ask: Ask): Promise<Reply> {
    const end = new AbortController();
    const abort = (): void => end.abort();
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      abort();
    }, ask.deadlineMs ?? this.#deadlineMs);
    const release = this.#follow(ask.signals ?? [], abort);
    try {
      const response = await fetch(`${this.#api}${path}`, {
        method: ask.method ?? "GET",
        signal: end.signal,
        ...(ask.body === undefined
          ? {}
          : { body: JSON.stringify(ask.body), headers: { "content-type": "application/json" } }),
      });
      const text = await readBody(response, ask.isBodyIgnored === true);
      if (!ask.expect.includes(response.status)) {
        const said = `the daemon at ${this.#api} answered ${response.status} ${text.slice(0, 200)}`.trim();
        throw new DaemonError("status", said, { status: response.status });
      }
      return { status: response.status, text };
    } catch (error) {
      throw this.#failure(error, { isLate, isStopped: end.signal.aborted && !isLate });
    } finally {
      clearTimeout(timer);
      release();
    }
  }

  /** Aborts with the first of the signals, or at `close()`; gives the way to let go of them. */
  #follow(signals: readonly (AbortSignal | undefined)[], abort: () => void): () => void {
    this.#open.add(abort);
    for (const signal of signals) {
      signal?.addEventListener("abort", abort);
    }
    if (this.#isClosed || signals.some((signal) => signal?.aborted === true)) {
      abort();
    }
    return () => {
      this.#open.delete(abort);
      for (const signal of signals) {
        signal?.removeEventListener("abort", abort);
      }
    };
  }

  #failure(error: unknown, why: { readonly isLate: boolean; readonly isStopped: boolean }): DaemonError {
    if (error instanceof DaemonError) {
      return error;
    }
    if (why.isStopped) {
      return new DaemonError("stopped", "stopped", { cause: error });
    }
    if (why.isLate) {
      const reasons = "it hangs, or another program holds its lock";
      return new DaemonError("lost", `the daemon at ${this.#api} did not answer in time: ${reasons}`, { cause: error });
    }
    const reason = reasonOf(error);
    return REFUSALS.has(reason)
      ? new DaemonError("refused", `no daemon at ${this.#api} (${reason})`, { cause: error })
      : new DaemonError("lost", `the connection to the daemon at ${this.#api} broke (${reason})`, { cause: error });
  }
}

/** Reads an answer up to the limit: a peer chooses the size of what lies in the inbox. */
async function readBody(response: Response, isIgnored: boolean): Promise<string> {
  if (response.body === null) {
    return "";
  }
  if (isIgnored) {
    await response.body.cancel();
    return "";
  }
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let text = "";
  for (;;) {
    const value: unknown = (await reader.read()).value;
    if (!(value instanceof Uint8Array)) {
      return text + decoder.decode();
    }
    text += decoder.decode(value, { stream: true });
    if (text.length > MAX_ANSWER_LENGTH) {
      await reader.cancel();
      throw new DaemonError("malformed", `an answer is longer than ${MAX_ANSWER_LENGTH} characters`);
    }
  }
}

/** Connection failures before a byte left. The codes are Node's; browsers give none, so theirs count as lost. */
const REFUSALS: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  if (typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string") {
    return cause.code;
  }
  return error instanceof Error ? error.message : String(error);
}
