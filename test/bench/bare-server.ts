/**
 * The bare pipeline, a process of its own: the least that parses a call, verifies one signature on the thread pool and
 * enqueues a job with one script. It checks nothing else: no schema, keys, grants, limits, nonces or shards.
 */
import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { createServer, type ServerResponse } from "node:http";

import { Redis } from "ioredis";
import { type Static, Type } from "typebox";
import { Check } from "typebox/schema";

import { answerQuestions } from "./part.ts";

export const BareSettings = Type.Object({
  redisSocket: Type.String(),
  /** The caller's public key, 64 hex. */
  key: Type.String(),
  /** Bytes a record has beside document and signatures. */
  restBytes: Type.Integer(),
});
export type BareSettings = Static<typeof BareSettings>;

export const BareReady = Type.Object({ port: Type.Integer() });

/** The idempotency key, the record, the queue: what any honest enqueueing writes. */
const SCRIPT = `
if not redis.call('SET', KEYS[1], '1', 'NX') then return 0 end
redis.call('HSET', KEYS[2], 'document', ARGV[2], 'signatures', ARGV[3], 'rest', ARGV[4])
redis.call('ZADD', KEYS[3], ARGV[5], ARGV[1])
return 1
`;
const TYPE = "application/vnd.horus.job.v1+json";
/** DER of SubjectPublicKeyInfo up to the 32 key bytes (RFC 8410 §4). */
const SPKI_PREFIX = "302a300506032b6570032100";

/** As much of a call as it looks at; believed, not checked. */
interface BareCall {
  readonly id: string;
  readonly params: {
    readonly job: { readonly id: string };
    readonly signatures: readonly [{ readonly signature: string }];
  };
}

/** Only so much that a mistake of the bench would show. */
function isCall(value: unknown): value is BareCall {
  return typeof value === "object" && value !== null && "params" in value;
}

/** The role `bare` of run.ts. */
export async function runBareServer(settings: unknown): Promise<void> {
  if (!Check(BareSettings, settings)) throw new TypeError("not the settings of a bare server");
  const der = Buffer.from(SPKI_PREFIX + settings.key, "hex");
  const redis = new Redis({ path: settings.redisSocket });
  const server = new BareServer(redis, {
    key: createPublicKey({ key: der, format: "der", type: "spki" }),
    sha: String(await redis.script("LOAD", SCRIPT)),
    rest: "x".repeat(settings.restBytes),
  });
  const ready: Static<typeof BareReady> = { port: await server.listen() };
  answerQuestions(ready, async () => ({}));
}

interface BareParts {
  readonly key: KeyObject;
  readonly sha: string;
  readonly rest: string;
}

class BareServer {
  readonly #redis: Redis;
  readonly #parts: BareParts;

  constructor(redis: Redis, parts: BareParts) {
    this.#redis = redis;
    this.#parts = parts;
  }

  /** Resolves with the port. */
  async listen(): Promise<number> {
    const server = createServer((request, response) => {
      const pieces: Buffer[] = [];
      request.on("data", (piece: Buffer) => pieces.push(piece));
      request.on("end", () => this.#verify(Buffer.concat(pieces), response));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  #verify(body: Buffer, response: ServerResponse): void {
    const call: unknown = JSON.parse(body.toString("utf8"));
    if (!isCall(call)) return this.#answer(response, 400, "{}");
    const { job, signatures } = call.params;
    const text = JSON.stringify(job);
    const input = Buffer.from(`DSSEv1 ${TYPE.length} ${TYPE} ${Buffer.byteLength(text)} ${text}`);
    verify(null, input, this.#parts.key, Buffer.from(signatures[0].signature, "hex"), (error, isGood) => {
      if (error !== null || !isGood) this.#answer(response, 401, "{}");
      else void this.#enqueue(call, text, response);
    });
  }

  async #enqueue({ id, params }: BareCall, text: string, response: ServerResponse): Promise<void> {
    const { sha, rest } = this.#parts;
    const jobId = params.job.id;
    const signatures = JSON.stringify(params.signatures);
    const keys = [`bare:id:${jobId}`, `bare:job:${jobId}`, "bare:queue"];
    const isNew = await this.#redis.evalsha(sha, keys.length, ...keys, jobId, text, signatures, rest, Date.now());
    const result = { id: jobId, state: "pending", duplicate: isNew !== 1 };
    this.#answer(response, 200, JSON.stringify({ jsonrpc: "2.0", result, id }));
  }

  #answer(response: ServerResponse, status: number, text: string): void {
    response.writeHead(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text) });
    response.end(text);
  }
}
