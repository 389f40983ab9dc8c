/** The other root of a receipt's trust: a pinned registrar that enrolled the runner's key. */
import { Check } from "typebox/schema";

import { canonicalText } from "../auth/canonical-json.ts";
import { type Kind, signingInput, verifySignature } from "../auth/signature.ts";
import { CallAuth, type ReceiptDocument, SignedRunner } from "../rpc/schema.ts";

/** A stored registration with its proof. */
export interface Enrolment {
  /** As `get_runner_status` gives it. */
  readonly registration: SignedRunner;
  /** JSON text of the signed `register_runner` call: its members beside `sig`. */
  readonly call: string;
}

export interface EnrolmentQuestion extends Enrolment {
  readonly registrarKeys: readonly string[];
  readonly supervisor: string;
  readonly receipt: ReceiptDocument;
}

/**
 * Did a pinned registrar enrol the receipt's runner key, with this supervisor, for the queue the receipt names? Checks the
 * runner's own signature and the registrar's call over the very same registration. The windows of both have passed long
 * ago and count for nothing: they bounded the presentation.
 */
export function isEnrolledBy(question: EnrolmentQuestion): boolean {
  const { registration, supervisor, receipt } = question;
  if (!Check(SignedRunner, registration)) return false;
  const { body, public_key, signature } = registration;
  return (
    body.aud === supervisor &&
    body.key === receipt.runner &&
    public_key === receipt.runner &&
    [body.name, ...body.groups].includes(receipt.queue) &&
    isSigned("runner", body, { key: public_key, signature }) &&
    isRegistrarsCall(question)
  );
}

function isRegistrarsCall({ call, registration, registrarKeys, supervisor }: EnrolmentQuestion): boolean {
  const body = parse(call);
  if (body === undefined) return false;
  const { method, params, ...auth } = body;
  if (!Check(CallAuth, auth) || method !== "register_runner") return false;
  const { sig, ...signedAuth } = auth;
  const expected = canonicalText({ registration: registration.body, signature: registration.signature });
  const present = canonicalText(params);
  return (
    auth.aud === supervisor &&
    registrarKeys.includes(auth.key) &&
    expected.ok &&
    present.ok &&
    expected.text === present.text &&
    isSigned("call", { ...signedAuth, method, params }, { key: auth.key, signature: sig })
  );
}

function isSigned(kind: Kind, body: object, by: { readonly key: string; readonly signature: string }): boolean {
  const canonical = canonicalText(body);
  return canonical.ok && verifySignature(by.key, by.signature, signingInput(kind, canonical.text));
}

function parse(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch {
    // Not JSON, so no proof: the answer is "not enrolled".
    return undefined;
  }
}
