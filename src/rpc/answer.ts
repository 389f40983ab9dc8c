/** Answers: response objects as text, and how many of them fit into what the carrier takes. */
import { ERRORS, type SupervisorError } from "../errors.ts";
import { type Entry, isRefusal, type RequestId } from "./message.ts";

/** A key whose signature was found good, and who owns it. */
export interface Verified {
  readonly principal: string;
  readonly key: string;
}

/** What came of one entry. */
export interface Outcome {
  /** The response object; absent for a notification. */
  readonly text?: string;
  /** 0, or the error's code. */
  readonly code: number;
  readonly verified: readonly Verified[];
  /** To be called once the answer is on its way. */
  readonly after?: readonly (() => void)[];
}

/** JSON-RPC 2.0 §5. @throws TypeError where the result holds what JSON has no form for. */
export function resultText(id: RequestId, result: unknown): string {
  // JSON.stringify gives nothing for undefined, whatever its type says.
  const text: string | undefined = JSON.stringify(result);
  return `{"jsonrpc":"2.0","result":${text ?? "null"},"id":${JSON.stringify(id)}}`;
}

/** JSON-RPC 2.0 §5.1. @throws TypeError where the data holds what JSON has no form for. */
export function errorText(id: RequestId, error: Pick<SupervisorError, "code" | "message" | "data">): string {
  const { code, message, data } = error;
  return `{"jsonrpc":"2.0","error":${JSON.stringify({ code, message, data })},"id":${JSON.stringify(id)}}`;
}

/**
 * In place of an answer that the carrier does not take. Its size is not told: the room for this text is set aside in each
 * batch before any answer is known.
 */
export function tooLargeText(id: RequestId, maxBytes: number): string {
  return errorText(id, { ...ERRORS.tooLarge, data: { limit: "max_answer_bytes", allowed: maxBytes } });
}

/** Counts only where it may matter: a UTF-16 unit takes at most three bytes. */
export function fits(text: string, maxBytes: number): boolean {
  return text.length * 3 <= maxBytes || Buffer.byteLength(text) <= maxBytes;
}

/**
 * The room of one batch's answer. Every entry has a place for {@link tooLargeText} from the start; what is left goes to
 * the answers in the order they are ready, so that no more is ever kept in memory than can be sent.
 */
export class AnswerRoom {
  readonly #maxBytes: number;
  readonly #leastWithoutId: number;
  #left: number;

  constructor(entries: readonly Entry[], maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#leastWithoutId = Buffer.byteLength(tooLargeText(0, maxBytes)) - 1;
    this.#left = maxBytes - 1;
    // Each with the comma or bracket behind it.
    for (const entry of entries) if (isAnswered(entry)) this.#left -= this.#least(entry.id) + 1;
  }

  /** False: not even an error for each entry would fit. */
  get isEnough(): boolean {
    return this.#left >= 0;
  }

  /** The answer itself, or what stands for it where it does not fit. */
  place(id: RequestId, text: string): string {
    const more = Buffer.byteLength(text) - this.#least(id);
    if (more > this.#left) return tooLargeText(id, this.#maxBytes);
    if (more > 0) this.#left -= more;
    return text;
  }

  #least(id: RequestId): number {
    return this.#leastWithoutId + Buffer.byteLength(JSON.stringify(id));
  }
}

/** All but notifications. */
function isAnswered(entry: Entry): entry is Entry & { readonly id: RequestId } {
  return isRefusal(entry) || entry.id !== undefined;
}
