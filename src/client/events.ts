/** Following a job by notifications, where the carrier pushes: one subscription at a time, resumed after each loss. */
import { ERRORS } from "../errors.ts";
import { EndEvent, type JobEvent, JobEventHead, type JobEventParams, LogEvent, StateEvent } from "../rpc/job-event.ts";
import type { CallOptions, SupervisorClient } from "./client.ts";
import { onAbort } from "./on-abort.ts";
import { isAs } from "./response.ts";
import { RpcError } from "./rpc-error.ts";

export interface FollowEventsOptions {
  /** Sequence number of the last event seen; from the beginning unless told. */
  readonly after?: number;
  /** Log entries too; unless told, where the key may read them. */
  readonly logs?: boolean;
  /** Ends the iteration quietly. */
  readonly signal?: AbortSignal;
}

/** An event, and where to resume behind it. */
export interface SeenEvent {
  readonly seq: number;
  readonly event: JobEvent;
}

/** A client; without `onNotification` nothing is pushed. */
export type EventSource = Pick<SupervisorClient, "call"> & Partial<Pick<SupervisorClient, "onNotification">>;

/** Without a word for this long the connection is asked for a sign of life: no platform tells of a silent loss. */
const IDLE_MS = 30_000;
/** Time to say that nothing more is wanted. */
const UNSUBSCRIBE_MS = 500;

/** Refusals that say "not here" or "not now", and not "not you" or "no such job". */
const NOT_PUSHED: ReadonlySet<number> = new Set([
  ERRORS.wrongState.code,
  ERRORS.methodNotFound.code,
  ERRORS.tooMany.code,
  // Its store is away: the polls wait for that where it is to be waited for.
  ERRORS.unavailable.code,
]);

/**
 * The events of a job, the one of type `end` last. Without an end it stops where the carrier or the supervisor does not
 * push: long polls serve then.
 * @throws RpcError the supervisor's refusal.
 * @throws CarrierError no connection within a call's deadline.
 */
export async function* followEvents(
  client: EventSource,
  id: string,
  options: FollowEventsOptions = {},
): AsyncGenerator<SeenEvent, void, undefined> {
  if (client.onNotification === undefined) return;
  const subscriber = new Subscriber(client, id, options);
  const stop = client.onNotification((text) => subscriber.push(text));
  try {
    for (let next = await subscriber.next(); next !== undefined; next = await subscriber.next()) {
      yield next;
      if (next.event.type === "end") return;
    }
  } catch (error) {
    if (options.signal?.aborted !== true) throw error;
  } finally {
    stop();
    await subscriber.close();
  }
}

/** States: *unsubscribed*, at first and after each loss; *subscribed* while the supervisor pushes. */
class Subscriber {
  readonly #client: EventSource;
  readonly #id: string;
  readonly #options: FollowEventsOptions;
  readonly #callOptions: CallOptions;
  readonly #forget: () => void;
  #seen: number | undefined;
  #subscription: string | undefined;
  /** Notifications not yet read; while unsubscribed of anybody, since the first may come with the answer. */
  #kept: (JobEventParams | "lost")[] = [];
  #wake: (() => void) | undefined;

  constructor(client: EventSource, id: string, options: FollowEventsOptions) {
    this.#client = client;
    this.#id = id;
    this.#options = options;
    this.#callOptions = options.signal === undefined ? {} : { signal: options.signal };
    this.#seen = options.after;
    const { signal } = options;
    this.#forget = signal === undefined || signal.aborted ? () => undefined : onAbort(signal, () => this.#ring());
  }

  push(text: string | undefined): void {
    const item = text === undefined ? "lost" : parseEvent(text);
    if (item === undefined || (item !== "lost" && !this.#isOwn(item))) return;
    this.#kept.push(item);
    this.#ring();
  }

  /** The next event; undefined where nothing is pushed. */
  async next(): Promise<SeenEvent | undefined> {
    for (;;) {
      if (this.#subscription === undefined && !(await this.#subscribe())) return undefined;
      const item = await this.#take();
      this.#options.signal?.throwIfAborted();
      if (item === "lost") {
        this.#subscription = undefined;
      } else if (item === undefined) {
        // Its own deadline ends a connection that only seems to be there.
        await this.#client.call("get_info", {}, this.#callOptions);
      } else {
        this.#seen = item.seq;
        if (item.event.type === "end") this.#subscription = undefined;
        return { seq: item.seq, event: item.event };
      }
    }
  }

  /** Says that nothing more is wanted; where that can not be said in time, the connection's end says it. */
  async close(): Promise<void> {
    this.#forget();
    const subscription = this.#subscription;
    if (subscription === undefined) return;
    try {
      await this.#client.call("unsubscribe_job", { subscription }, { deadlineMs: UNSUBSCRIBE_MS });
    } catch {
      // Whoever stopped following has nothing to do with it.
    }
  }

  /** False where the supervisor does not push. */
  async #subscribe(): Promise<boolean> {
    const { logs } = this.#options;
    const params = {
      id: this.#id,
      ...(this.#seen === undefined ? {} : { after: this.#seen }),
      ...(logs === undefined ? {} : { logs }),
    };
    try {
      const { subscription } = await this.#client.call("subscribe_job", params, this.#callOptions);
      this.#subscription = subscription;
      // What came before the answer, losses among it, was about others.
      this.#kept = this.#kept.filter((item) => item !== "lost" && this.#isOwn(item));
      return true;
    } catch (error) {
      if (error instanceof RpcError && NOT_PUSHED.has(error.code)) return false;
      throw error;
    }
  }

  /** Undefined after a while without anything. */
  async #take(): Promise<JobEventParams | "lost" | undefined> {
    if (this.#kept.length === 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, IDLE_MS);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
        if (this.#options.signal?.aborted === true) this.#ring();
      });
    }
    return this.#kept.shift();
  }

  #isOwn({ subscription }: JobEventParams): boolean {
    return this.#subscription === undefined || subscription === this.#subscription;
  }

  #ring(): void {
    this.#wake?.();
  }
}

/** A `job_event`; undefined for anything else, kinds of events this client does not know yet among it. */
function parseEvent(text: string): JobEventParams | undefined {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    // No notification of ours, whatever it is.
    return undefined;
  }
  if (typeof message !== "object" || message === null) return undefined;
  const { method, params }: { method?: unknown; params?: unknown } = message;
  if (method !== "job_event" || !isAs(JobEventHead, params)) return undefined;
  const { event, subscription, seq } = params;
  return isJobEvent(event) ? { subscription, seq, event } : undefined;
}

function isJobEvent(event: unknown): event is JobEvent {
  return [StateEvent, LogEvent, EndEvent].some((schema) => isAs(schema, event));
}
