/** What the daemon answers, parsed from unknown: nothing else in this folder trusts its shape. */

import { isNodeKey, parseAddress } from "./address.ts";
import { fromBase64 } from "./base64.ts";

/** Who the daemon is. */
export interface NodeInfo {
  /** The node's key, 64 hex digits; absent before 0.7.8. */
  readonly publicKey?: string;
  /** The node's overlay address. */
  readonly address: string;
  /** UNIX seconds of the daemon's start; another value means its inbox is gone. Absent before 0.7.8. */
  readonly startedAt?: number;
}

/** A message or a reply as the daemon hands it out. The sender's key and address are not bound to each other yet. */
export interface OverlayMessage {
  /** 16 hex digits; a reply bears the id of what it answers. */
  readonly id: string;
  readonly srcIp: string;
  /** 64 hex digits. */
  readonly srcPk: string;
  readonly payload: Uint8Array;
}

/** The last second of JavaScript's time. */
const MAX_SECONDS = 8.64e12;
const MESSAGE_ID = /^[0-9a-f]{16}$/;

/** The members of a JSON object, or undefined where `text` is anything else. */
function parseObject(text: string): Partial<Record<string, unknown>> | undefined {
  const value = parseJson(text);
  return typeof value === "object" && value !== null ? { ...value } : undefined;
}

/** The value of a JSON text, or undefined where it is not one. */
export function parseJson(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch {
    // Not JSON: the caller says what that means.
    return undefined;
  }
}

/** Parses the answer of `GET /admin`. */
export function parseNodeInfo(text: string): NodeInfo | undefined {
  const found = parseObject(text);
  const address = found?.["nodeIp"];
  if (typeof address !== "string" || parseAddress(address) === undefined) {
    return undefined;
  }
  const publicKey = found?.["nodePubkey"];
  const startedAt = found?.["nodeStartTime"];
  return {
    address,
    ...(typeof publicKey === "string" && isNodeKey(publicKey) ? { publicKey } : {}),
    ...(isSeconds(startedAt) ? { startedAt } : {}),
  };
}

/** UNIX seconds that a date can be made of. */
function isSeconds(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) <= MAX_SECONDS;
}

/** Parses a message. Lets pass only ids, keys and addresses of the right form, so they are safe in paths and logs. */
export function parseMessage(text: string): OverlayMessage | undefined {
  const { id, srcIp, srcPk, payload } = parseObject(text) ?? {};
  if (typeof id !== "string" || typeof srcIp !== "string" || typeof srcPk !== "string") {
    return undefined;
  }
  const bytes = typeof payload === "string" ? fromBase64(payload) : undefined;
  const isWellFormed = MESSAGE_ID.test(id) && isNodeKey(srcPk) && parseAddress(srcIp) !== undefined;
  return isWellFormed && bytes !== undefined ? { id, srcIp, srcPk, payload: bytes } : undefined;
}

/** Parses `{id}`: what a push without a reply answers. */
export function parseMessageId(text: string): string | undefined {
  const id = parseObject(text)?.["id"];
  return typeof id === "string" && MESSAGE_ID.test(id) ? id : undefined;
}

/** What became of a message, as far as the sender's daemon knows: advisory. */
export type Delivery = "under way" | "arrived" | "unknown";

/** Parses the answer of `GET /messages/status/{id}`. `sending` is an object there, the other states are words. */
export function parseDelivery(text: string): Delivery | undefined {
  const state = parseObject(text)?.["state"];
  if (state === "received" || state === "read") {
    return "arrived";
  }
  if (state === "aborted") {
    return "unknown";
  }
  const isSending = typeof state === "object" && state !== null && "sending" in state;
  return state === "pending" || isSending ? "under way" : undefined;
}

/** Parses a JSON array of texts. */
export function parseTexts(text: string): readonly string[] | undefined {
  const value = parseJson(text);
  return Array.isArray(value) && value.every((entry) => typeof entry === "string") ? value : undefined;
}
