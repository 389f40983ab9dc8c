/** One malformed input: seed and number decide what it is, how it is carried, cut into pieces and ended. */
import { aPost } from "../support/http.ts";
import { anUpgrade } from "../support/websocket.ts";
import { damagedFrames, textFrame } from "./frames.ts";
import { aDamagedRequest } from "./heads.ts";
import type { Material } from "./material.ts";
import { aMessage, aStrangersJob, type Message } from "./messages.ts";
import { Random } from "./random.ts";

export type Carrier = "http" | "websocket";

export interface FuzzInput {
  readonly index: number;
  readonly carrier: Carrier;
  /** What was done. */
  readonly name: string;
  /** Written one after the other; a handshake stands before them on WebSocket. */
  readonly pieces: readonly Buffer[];
  /** The other side is told that nothing more comes, or has to find out. */
  readonly isHalfClosed: boolean;
  /** It holds nothing that must be answered, as far as can be told. */
  readonly mayBeSilent: boolean;
}

export interface InputOptions {
  readonly seed: number;
  readonly material: Material;
  readonly maxBodyBytes: number;
  readonly maxFragments: number;
}

/** Behind everything that is sent on a WebSocket: whose answer tells that the connection is still served. */
export const PROBE_ID = "probe";
const PROBE = Buffer.from(`{"jsonrpc":"2.0","id":"${PROBE_ID}","method":"get_info"}`);

export function anInput(index: number, options: InputOptions): FuzzInput {
  const random = new Random(options.seed, index);
  const carrier = random.pick(["http", "websocket"] as const);
  const { name, bytes, mayBeSilent } = carrier === "http" ? overHttp(random, options) : overWebSocket(random, options);
  return {
    index,
    carrier,
    name,
    pieces: cut(bytes, random),
    isHalfClosed: random.chance(0.2),
    mayBeSilent,
  };
}

type Carried = Message & Pick<FuzzInput, "mayBeSilent">;

function overHttp(random: Random, options: InputOptions): Carried {
  if (random.chance(0.4)) {
    const good = Buffer.from(aPost(aStrangersJob({ random, material: options.material }).toString()));
    const damaged = aDamagedRequest(good, random);
    // A byte of the body may be damaged too: without its "id" a call is a notification.
    return { ...damaged, mayBeSilent: holdsNothingToAnswer(bodyOf(damaged.bytes)) };
  }
  const { name, bytes } = aMessage({ random, ...options });
  const head = aPost("", { "Content-Length": String(bytes.length) });
  return { name, bytes: Buffer.concat([Buffer.from(head), bytes]), mayBeSilent: holdsNothingToAnswer(bytes) };
}

function overWebSocket(random: Random, options: InputOptions): Carried {
  const key = { "Sec-WebSocket-Key": random.bytes(16).toString("base64") };
  const handshake = Buffer.from(anUpgrade(key));
  const probe = textFrame(PROBE, random);
  if (random.chance(0.15)) {
    const { name, bytes } = aDamagedRequest(handshake, random);
    return { name: `handshake, ${name}`, bytes: Buffer.concat([bytes, probe]), mayBeSilent: true };
  }
  if (random.chance(0.45)) {
    const payload = aStrangersJob({ random, material: options.material });
    const { name, bytes } = damagedFrames({ random, payload, maxFragments: options.maxFragments });
    return { name, bytes: Buffer.concat([handshake, bytes, probe]), mayBeSilent: true };
  }
  const { name, bytes } = aMessage({ random, ...options });
  const frame = textFrame(bytes, random);
  return { name, bytes: Buffer.concat([handshake, frame, probe]), mayBeSilent: holdsNothingToAnswer(bytes) };
}

/** What follows the first empty line. */
function bodyOf(request: Buffer): Buffer {
  return request.subarray(request.indexOf("\r\n\r\n") + "\r\n\r\n".length);
}

/** Most come whole, some cut anywhere. */
function cut(bytes: Buffer, random: Random): readonly Buffer[] {
  if (random.chance(0.7)) return [bytes];
  const places = Array.from({ length: 1 + random.below(4) }, () => random.below(bytes.length + 1));
  const bounds = [0, ...places.toSorted((a, b) => a - b), bytes.length];
  return bounds.slice(1).map((end, index) => bytes.subarray(bounds[index], end));
}

/** Notifications alone (JSON-RPC 2.0 §4.1, §6). Whoever reads more strictly answers with an error, which is as good. */
export function holdsNothingToAnswer(bytes: Uint8Array): boolean {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return Array.isArray(value) ? value.length > 0 && value.every(isNotification) : isNotification(value);
  } catch {
    // No JSON: an error is the answer.
    return false;
  }
}

function isNotification(value: unknown): boolean {
  if (typeof value !== "object" || value === null || "id" in value) return false;
  const { jsonrpc, method, params }: { jsonrpc?: unknown; method?: unknown; params?: unknown } = value;
  return jsonrpc === "2.0" && typeof method === "string" && (params === undefined || typeof params === "object");
}
