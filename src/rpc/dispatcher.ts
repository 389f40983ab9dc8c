/** The dispatcher: bytes of one JSON-RPC message in, bytes of its answer out, the same on every transport. */
import { SupervisorError } from "../errors.ts";
import { AnswerRoom, errorText, fits, type Outcome, tooLargeText } from "./answer.ts";
import { type EntryOptions, EntryRunner } from "./entry.ts";
import { type Entry, MessageParser } from "./message.ts";
import type { Answer, Connection, RequestHandler } from "./transport.ts";

export interface DispatcherOptions extends EntryOptions {
  /** Calls back with each key whose rights have just ended; returns the way to stop that. */
  onRevoked(callback: (key: string) => void): () => void;
  readonly limits: EntryOptions["limits"] & {
    readonly maxBodyBytes: number;
    /** Entries of one batch. */
    readonly maxBatch: number;
    /** Entries of one message carried out at a time. */
    readonly concurrency: number;
  };
}

/** Errors that another try may not meet: an answer that holds one is not given again (spec: mycelium, "Repeats"). */
const TRANSIENT: ReadonlySet<number> = new Set(
  (["replay", "tooMany", "unavailable", "internal"] as const).map((name) => new SupervisorError(name).code),
);

const NOTHING: Answer = { principals: [], keys: [], isRepeatable: false };

/** Makes the one handler that all transports serve. Its `handle` never throws. */
export function createDispatcher(options: DispatcherOptions): RequestHandler {
  return new Dispatcher(options);
}

class Dispatcher implements RequestHandler {
  readonly #options: DispatcherOptions;
  readonly #parser: MessageParser;
  readonly #runner: EntryRunner;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#parser = new MessageParser(options.limits);
    this.#runner = new EntryRunner(options);
  }

  onRevoked(callback: (key: string) => void): () => void {
    return this.#options.onRevoked(callback);
  }

  async handle(bytes: Uint8Array, connection: Connection): Promise<Answer> {
    try {
      const message = this.#parser.parse(bytes);
      return "entries" in message
        ? await this.#answerBatch(message.entries, connection)
        : await this.#answerSingle(message.entry, connection);
    } catch (error) {
      return this.#crash(error);
    }
  }

  async #answerSingle(entry: Entry, connection: Connection): Promise<Answer> {
    const outcome = await this.#runner.run(entry, connection);
    const { text } = outcome;
    if (text === undefined) return NOTHING;
    const { maxAnswerBytes } = connection;
    if (fits(text, maxAnswerBytes)) return toAnswer(text, [outcome]);
    const short = tooLargeText(entry.id ?? null, maxAnswerBytes);
    return toAnswer(fits(short, maxAnswerBytes) ? short : tooLargeText(null, maxAnswerBytes), [outcome]);
  }

  /** A bounded number of entries at a time; the answers stand in the order of the entries. */
  async #answerBatch(entries: readonly Entry[], connection: Connection): Promise<Answer> {
    const { maxAnswerBytes } = connection;
    const room = new AnswerRoom(entries, maxAnswerBytes);
    // Refused before anything is carried out: its outcome could not be told.
    if (!room.isEnough) return toAnswer(tooLargeText(null, maxAnswerBytes), []);
    const outcomes: Outcome[] = [];
    const queue = entries.entries();
    const work = async (): Promise<void> => {
      for (const [index, entry] of queue) {
        const { text, ...outcome } = await this.#runner.run(entry, connection);
        outcomes[index] = text === undefined ? outcome : { ...outcome, text: room.place(entry.id ?? null, text) };
      }
    };
    const workers = Math.min(entries.length, this.#options.limits.concurrency);
    await Promise.all(Array.from({ length: workers }, work));
    const answered = outcomes.filter(({ text }) => text !== undefined);
    // All notifications: "the server MUST NOT return an empty Array" (JSON-RPC 2.0 §6).
    return answered.length === 0 ? NOTHING : toAnswer(`[${answered.map(({ text }) => text).join(",")}]`, answered);
  }

  /** A defect of the dispatcher itself: every defect of a handler was answered before it could come here. */
  #crash(error: unknown): Answer {
    const request_id = this.#options.newRequestId();
    this.#options.log.error({ event: "dispatch_failed", request_id, err: error }, "a message was not dispatched");
    const text = errorText(null, new SupervisorError("internal", { data: { request_id } }));
    return { ...NOTHING, bytes: Buffer.from(text) };
  }
}

function toAnswer(text: string, outcomes: readonly Outcome[]): Answer {
  const [only] = outcomes;
  const { verified, after = [] } = only !== undefined && outcomes.length === 1 ? only : merge(outcomes);
  const answer: Answer = {
    bytes: Buffer.from(text),
    principals: distinct(verified.map(({ principal }) => principal)),
    keys: distinct(verified.map(({ key }) => key)),
    isRepeatable: outcomes.length > 0 && outcomes.every(isRepeatable),
  };
  return after.length === 0 ? answer : { ...answer, afterSent: () => after.forEach((callback) => callback()) };
}

function merge(outcomes: readonly Outcome[]): Pick<Outcome, "verified" | "after"> {
  return {
    verified: outcomes.flatMap((outcome) => outcome.verified),
    after: outcomes.flatMap((outcome) => outcome.after ?? []),
  };
}

function isRepeatable({ verified, code }: Outcome): boolean {
  return verified.length > 0 && !TRANSIENT.has(code);
}

function distinct(names: readonly string[]): readonly string[] {
  return names.length > 1 ? [...new Set(names)] : names;
}
