/** The shapes of credentials on the wire: parsed strictly, and a fault in them has no details. Pure. */
import type { CallAuth, LoginAuth, SignatureEntry } from "../rpc/schema.ts";
import { isPublicKey, isSignature } from "./signature.ts";

/** `params.auth` of the right shape; nothing in it is verified. */
export type CallProof = CallAuth;

const NONCE = /^[0-9a-f]{32}$/;
const CHALLENGE = /^[0-9a-f]{64}$/;
/** Most signatures of one job (spec: signing, "Jobs on the wire"). */
export const MAX_SIGNATURES = 16;

/** `{v, aud, key, iat, exp, nonce, sig}`, exactly; undefined for anything else. */
export function parseCallAuth(value: unknown): CallProof | undefined {
  if (!isObject(value) || Object.keys(value).length !== 7) return undefined;
  const { v, aud, key, iat, exp, nonce, sig } = value;
  if (v !== 1 || !isPublicKey(aud) || !isPublicKey(key) || !isSeconds(iat) || !isSeconds(exp)) return undefined;
  if (typeof nonce !== "string" || !NONCE.test(nonce) || !isSignature(sig)) return undefined;
  return { v, aud, key, iat, exp, nonce, sig };
}

/** `{v, aud, key, challenge, iat, exp, sig}`, exactly; undefined for anything else. */
export function parseLoginAuth(value: unknown): LoginAuth | undefined {
  if (!isObject(value) || Object.keys(value).length !== 7) return undefined;
  const { v, aud, key, challenge, iat, exp, sig } = value;
  if (v !== 1 || !isPublicKey(aud) || !isPublicKey(key) || !isSeconds(iat) || !isSeconds(exp)) return undefined;
  if (typeof challenge !== "string" || !CHALLENGE.test(challenge) || !isSignature(sig)) return undefined;
  return { v, aud, key, challenge, iat, exp, sig };
}

/** 1 to 16 of `{public_key, signature}`, exactly, by distinct keys; undefined for anything else. */
export function parseSignatures(value: unknown): readonly SignatureEntry[] | undefined {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_SIGNATURES) return undefined;
  const entries: SignatureEntry[] = [];
  const keys = new Set<string>();
  for (const item of value) {
    const entry = parseSignature(item);
    if (entry === undefined || keys.has(entry.public_key)) return undefined;
    keys.add(entry.public_key);
    entries.push(entry);
  }
  return entries;
}

function parseSignature(value: unknown): SignatureEntry | undefined {
  if (!isObject(value) || Object.keys(value).length !== 2) return undefined;
  const { public_key, signature } = value;
  return isPublicKey(public_key) && isSignature(signature) ? { public_key, signature } : undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** -0 is an integer to JavaScript, and has no canonical text: it would be a fault of the parameters instead. */
function isSeconds(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0);
}
