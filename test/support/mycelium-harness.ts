/** Listeners and dialers over simulated daemons, with a stub instead of the dispatcher. */

import { EventEmitter, once } from "node:events";
import { Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

import { createLog, type Log } from "../../src/log.ts";
import type { Answer, Connection, OutgoingCall, RequestHandler } from "../../src/rpc/transport.ts";

/** A JSON-RPC request as the stub sees it. */
interface StubRequest {
  readonly id?: unknown;
  readonly method: string;
  readonly params?: unknown;
}

/** A handler that answers by a function a request, and remembers what it was given. */
export class StubHandler implements RequestHandler {
  /** Payloads handled, trailing spaces cut off. */
  readonly handled: string[] = [];
  readonly connections: Connection[] = [];
  /** The result of a request, or an error object under `error`. Default: the request's params. */
  respond: (request: StubRequest, connection: Connection) => unknown = ({ params }) => params ?? null;
  /** What the answers claim. Default: one verified principal, repeatable. */
  claims: Omit<Answer, "bytes"> = { principals: ["alice"], keys: ["ed25519:aa"], isRepeatable: true };
  readonly #revocations = new Set<(key: string) => void>();

  async handle(bytes: Uint8Array, connection: Connection): Promise<Answer> {
    const text = Buffer.from(bytes).toString("utf8").trimEnd();
    this.handled.push(text);
    this.connections.push(connection);
    const request: unknown = parse(text);
    const answers = Array.isArray(request)
      ? await Promise.all(request.map((entry: unknown) => this.#answer(entry, connection)))
      : await this.#answer(request, connection);
    const isSilent = Array.isArray(answers) ? answers.every((one) => one === undefined) : answers === undefined;
    return isSilent ? this.claims : { ...this.claims, bytes: new TextEncoder().encode(JSON.stringify(answers)) };
  }

  onRevoked(callback: (key: string) => void): () => void {
    this.#revocations.add(callback);
    return () => this.#revocations.delete(callback);
  }

  revoke(key: string): void {
    for (const callback of this.#revocations) {
      callback(key);
    }
  }

  async #answer(entry: unknown, connection: Connection): Promise<object | undefined> {
    if (!isRequest(entry)) {
      return { jsonrpc: "2.0", id: null, error: { code: -32700, message: "Parse error" } };
    }
    const outcome = await this.respond(entry, connection);
    const { id } = entry;
    if (id === undefined) {
      return undefined;
    }
    const isError = typeof outcome === "object" && outcome !== null && "error" in outcome;
    return isError ? { jsonrpc: "2.0", id, error: outcome.error } : { jsonrpc: "2.0", id, result: outcome };
  }
}

/** A log that keeps its lines. */
export function captureLog(): { readonly log: Log; readonly lines: string[] } {
  const lines: string[] = [];
  const sink = createLogSink(lines);
  return { log: sink, lines };
}

/** A call with an id of its own. */
export function aCall(id: string, params: unknown = {}, rest: Partial<OutgoingCall> = {}): OutgoingCall {
  const text = JSON.stringify({ jsonrpc: "2.0", id, method: "echo", params });
  return { id, text, waitMs: 0, deadlineMs: 60_000, ...rest };
}

/** A deadline that is over after so long. */
export function within(ms: number): AbortSignal {
  return AbortSignal.timeout(ms);
}

/** A gate: who waits for `opened` goes on when somebody opens it. */
export function aGate(): { readonly opened: Promise<void>; readonly open: () => void } {
  const gate = new EventEmitter();
  return { opened: once(gate, "open").then(() => undefined), open: () => void gate.emit("open") };
}

/** Reads from a daemon as another program does, one wait after the other. */
export async function longPoll(api: string, over: AbortSignal): Promise<void> {
  while (!over.aborted) await fetch(`${api}/messages?topic=eA==&timeout=1`);
}

/** Resolves when `condition` holds; fails when it does not within `timeoutMs`. */
export async function until(condition: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const giveUpAt = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) {
      throw new Error(`not within ${timeoutMs} ms: ${condition.toString()}`);
    }
    await sleep(5);
  }
}

function isRequest(value: unknown): value is StubRequest {
  return typeof value === "object" && value !== null && "method" in value && typeof value.method === "string";
}

function parse(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch {
    return undefined;
  }
}

function createLogSink(lines: string[]): Log {
  const destination = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk.toString("utf8"));
      done();
    },
  });
  return createLog({ level: "debug", pretty: false }, destination);
}
