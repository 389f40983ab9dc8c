/** One job followed by events: what is read and in which order it is told, from a position that can be resumed. */
import { SupervisorError } from "../errors.ts";
import type { JobEvent } from "../rpc/job-event.ts";
import type { JobStore } from "../store/store.ts";
import { isTerminal, type JobHead } from "./job.ts";
import { toSummary } from "./view.ts";
import { waitFor } from "./wait.ts";

/** Log entries read at a time: at most 1.6 MB, with lines as long as a runner may send. */
const PAGE = 100;
/** Positions in one log; a sequence number is revision · POSITIONS + position, and stays a safe integer. */
const POSITIONS = 2 ** 32;

/** How far a follower has seen: up to a revision of the job and a position in its log. */
interface Cursor {
  readonly revision: number;
  readonly position: number;
}

export type EndReason = Extract<JobEvent, { readonly type: "end" }>["reason"];

export interface Followed {
  readonly id: string;
  /** Sequence number of the last event seen; undefined: from the beginning. */
  readonly after: number | undefined;
  /** Log entries too. */
  readonly withLogs: boolean;
  /** The other side is gone, or wants no more. */
  readonly signal: AbortSignal;
  /** The job, while it is there. */
  head(): Promise<JobHead | undefined>;
  /** Asked before anything is told: rights end while somebody follows. */
  mayRead(): Promise<boolean>;
  /** False: nothing arrives any more. */
  send(seq: number, event: JobEvent): boolean;
  /** Runs bulk in turn with the connection's other subscriptions. */
  inTurn<Value>(work: () => Promise<Value>): Promise<Value>;
  /** Resolves when there is room for more, or no sense in waiting for it. */
  drained(): Promise<void>;
}

/**
 * Tells everything there is and then each change, until the job has ended, rights have, or nobody follows any more.
 * @throws Error whatever the store threw but `unavailable`, once the follower was told that it failed.
 */
export async function followJob(store: Pick<JobStore, "logs" | "onChange">, followed: Followed): Promise<void> {
  const teller = new Teller(store, followed);
  await waitFor(store, {
    id: followed.id,
    waitMs: Infinity,
    signal: followed.signal,
    look: async (isLast) => (isLast || (await teller.tellAll()) ? true : undefined),
  });
}

/** Events carry the cursor behind them, which rises with each: a resumed follower misses none and gets none twice. */
class Teller {
  readonly #store: Pick<JobStore, "logs">;
  readonly #followed: Followed;
  #cursor: Cursor;

  constructor(store: Pick<JobStore, "logs">, followed: Followed) {
    this.#store = store;
    this.#followed = followed;
    const { after = 0 } = followed;
    this.#cursor = { revision: Math.floor(after / POSITIONS), position: after % POSITIONS };
  }

  /** True when nothing more will come. A store that is out of reach for a while is asked again with the next look. */
  async tellAll(): Promise<boolean> {
    try {
      let next = await this.#tellSome();
      while (next === "more") next = await this.#tellSome();
      return next === "over";
    } catch (error) {
      if (error instanceof SupervisorError && error.name === "unavailable") return false;
      this.#end("failed");
      throw error;
    }
  }

  async #tellSome(): Promise<"more" | "idle" | "over"> {
    const { signal, withLogs } = this.#followed;
    const [head, mayRead] = await Promise.all([this.#followed.head(), this.#followed.mayRead()]);
    if (signal.aborted) return "over";
    if (!mayRead) return this.#end("rights");
    if (head === undefined) return this.#end("deleted");
    const hasEnded = isTerminal(head.state);
    // A terminal state comes after the whole log: whoever reads it has read everything.
    if (!hasEnded && !this.#tellState(head)) return "over";
    if (withLogs && this.#cursor.position < head.logCount) return this.#followed.inTurn(async () => this.#tellPage());
    if (!hasEnded) return "idle";
    return this.#tellState(head) ? this.#end("terminal") : "over";
  }

  async #tellPage(): Promise<"more" | "idle" | "over"> {
    const { id, signal } = this.#followed;
    // The wait for the turn may have been long.
    if (signal.aborted) return "over";
    const { position, revision } = this.#cursor;
    const { entries } = await this.#store.logs(id, position, PAGE);
    for (const entry of entries) {
      await this.#followed.drained();
      if (!this.#tell({ revision, position: this.#cursor.position + 1 }, { type: "log", entry })) return "over";
    }
    // Announced and not there: the job is being deleted, which the next look will find.
    return entries.length === 0 ? "idle" : "more";
  }

  #tellState(head: JobHead): boolean {
    const { revision, position } = this.#cursor;
    if (head.revision <= revision) return true;
    return this.#tell({ revision: head.revision, position }, { type: "state", job: toSummary(head) });
  }

  /** Its sequence number is that of the event before: a resumed follower is told the end again. */
  #end(reason: EndReason): "over" {
    this.#tell(this.#cursor, { type: "end", reason });
    return "over";
  }

  #tell(cursor: Cursor, event: JobEvent): boolean {
    if (this.#followed.signal.aborted) return false;
    if (!this.#followed.send(cursor.revision * POSITIONS + cursor.position, event)) return false;
    this.#cursor = cursor;
    return true;
  }
}
