/** The client's end of HTTP: one POST a call, over the platform's own fetch, so that it runs in browsers too. */
import { type Applied, CarrierError, errorText } from "../../src/errors.ts";
import type { Dialer, OutgoingCall } from "../../src/rpc/transport.ts";
import { isLasting } from "./status.ts";

const MIB = 1024 * 1024;

export interface HttpDialerOptions {
  /** Longest answer taken, bytes. Default 10 MiB. */
  readonly maxAnswerBytes?: number;
}

/** What of a fetch failure tells that nothing was sent. */
const NEVER_SENT = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "UND_ERR_CONNECT_TIMEOUT",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "CERT_HAS_EXPIRED",
  "ERR_TLS_CERT_ALTNAME_INVALID",
]);

/** @throws Error for what is no http or https URL, or holds a password: calls are signed, not logged in. */
export function createHttpDialer(url: string, options: HttpDialerOptions = {}): Dialer & AsyncDisposable {
  return new HttpDialer(url, options.maxAnswerBytes ?? 10 * MIB);
}

class HttpDialer implements Dialer, AsyncDisposable {
  readonly url: string;
  readonly validitySeconds = 120;
  readonly maxWaitMs = 25_000;
  readonly #maxAnswerBytes: number;
  readonly #open = new Set<Ender>();
  readonly #closing = new AbortController();

  constructor(url: string, maxAnswerBytes: number) {
    this.url = checkedUrl(url);
    this.#maxAnswerBytes = maxAnswerBytes;
  }

  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  async call(call: OutgoingCall): Promise<string> {
    const ender = new Ender(call);
    this.#open.add(ender);
    if (this.closed.aborted) ender.end(CLOSED);
    try {
      if (ender.reason !== undefined) throw this.#ended(ender.reason, "no");
      const response = await fetch(this.url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: call.text,
        signal: ender.signal,
        // A redirect would carry a signed call to a place nobody chose.
        redirect: "manual",
        credentials: "omit",
      });
      const text = await this.#read(response);
      if (response.status === 200) return text;
      throw this.#fault(response.status, text);
    } catch (error) {
      if (error instanceof CarrierError) throw error;
      throw this.#failure(error, ender.reason);
    } finally {
      ender.release();
      this.#open.delete(ender);
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    for (const ender of this.#open) ender.end(CLOSED);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #read(response: Response): Promise<string> {
    const reader = response.body?.getReader();
    if (reader === undefined) return "";
    const decoder = new TextDecoder();
    let text = "";
    let length = 0;
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      const bytes: unknown = piece.value;
      // Node's types leave open what it is; the Fetch standard says bytes.
      if (!(bytes instanceof Uint8Array)) continue;
      length += bytes.length;
      if (length > this.#maxAnswerBytes) {
        await reader.cancel();
        throw new CarrierError(`${this.url}: the answer is longer than ${this.#maxAnswerBytes} bytes`, "unknown");
      }
      text += decoder.decode(bytes, { stream: true });
    }
    return text + decoder.decode();
  }

  /** A status other than 200: a supervisor that refused says why; anything else came from somebody in between. */
  #fault(status: number, body: string): CarrierError {
    const refusal = parseFault(body);
    const isFinal = isLasting(status);
    if (refusal !== undefined) {
      const { text, limit } = refusal;
      const fate = status === 413 && limit !== undefined ? { limit } : { isFinal };
      return new CarrierError(`${this.url} answered ${status}: ${text}`, "no", undefined, fate);
    }
    const text = `${this.url} answered ${described(status)}. Is this the supervisor's URL?`;
    return new CarrierError(text, "unknown", new StatusError(status), { isFinal });
  }

  #ended(reason: string, applied: Applied, cause?: unknown): CarrierError {
    return new CarrierError(`${this.url}: ${reason}`, applied, cause, { isFinal: this.closed.aborted });
  }

  #failure(error: unknown, ended: string | undefined): CarrierError {
    if (ended !== undefined) return this.#ended(ended, "unknown", error);
    if (isForbiddenPort(error)) {
      const text = `${this.url}: fetch calls no such port, it is another protocol's. Give the supervisor another one.`;
      return new CarrierError(text, "no", error, { isFinal: true });
    }
    const code = codeOf(error);
    const isUnsent = code !== undefined && NEVER_SENT.has(code);
    const fix = code === "ECONNREFUSED" ? ". Is the supervisor running there?" : "";
    return new CarrierError(`${this.url}: ${code ?? errorText(error)}${fix}`, isUnsent ? "no" : "unknown", error);
  }
}

const CLOSED = "the dialer is closed";

/** A status that no supervisor answers, as a code that tells it from a network's fault. */
class StatusError extends Error {
  override readonly name = "StatusError";
  readonly code: string;

  constructor(status: number) {
    super(`HTTP status ${status}`);
    this.code = `HTTP_${status}`;
  }
}

/** Deadline, the caller's signal and close(), as one signal and the reason it ended with. */
class Ender {
  reason: string | undefined;
  readonly #controller = new AbortController();
  readonly #timer: ReturnType<typeof setTimeout>;
  readonly #source: AbortSignal | undefined;

  constructor({ deadlineMs, signal }: OutgoingCall) {
    this.#timer = setTimeout(() => this.end(`no answer within ${deadlineMs} ms`), deadlineMs);
    this.#source = signal;
    if (signal?.aborted === true) this.#giveUp();
    else signal?.addEventListener("abort", this.#giveUp);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  end(reason: string): void {
    this.reason ??= reason;
    this.#controller.abort();
  }

  release(): void {
    clearTimeout(this.#timer);
    this.#source?.removeEventListener("abort", this.#giveUp);
  }

  readonly #giveUp = (): void => this.end("given up by the caller");
}

function checkedUrl(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch (error) {
    throw new Error(`${JSON.stringify(text)}: not a URL. Write it like http://127.0.0.1:8080.`, { cause: error });
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new Error(`${JSON.stringify(text)}: not http or https. Write it like http://127.0.0.1:8080.`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new Error(
      `${url.host}: a URL with a password in it. Calls are signed with a key; leave user and password out.`,
    );
  }
  return url.href;
}

function described(status: number): string {
  // Browsers hide the status of a redirect.
  if (status === 0) return "with a redirect, as no supervisor does";
  return status === 204 ? "204, no answer" : `${status}, as no supervisor does`;
}

/** `{error, fix, limit}`, as a listener writes it. */
function parseFault(text: string): { readonly text: string; readonly limit?: string } | undefined {
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body !== "object" || body === null) return undefined;
    const { error, fix, limit }: { error?: unknown; fix?: unknown; limit?: unknown } = body;
    if (typeof error !== "string" || typeof fix !== "string") return undefined;
    return { text: `${error}. ${fix}`, ...(typeof limit === "string" ? { limit } : {}) };
  } catch {
    // Whatever it is, it is not a supervisor's.
    return undefined;
  }
}

/** "Port blocking" of the Fetch standard, as Node tells it. */
function isForbiddenPort(error: unknown): boolean {
  return error instanceof TypeError && error.cause instanceof Error && error.cause.message === "bad port";
}

/** Node's fetch says "fetch failed" and keeps the reason in `cause`, sometimes one for each address it tried. */
function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const { cause, code }: { cause?: unknown; code?: unknown } = error;
  return codeOf(cause) ?? (typeof code === "string" ? code : undefined);
}
