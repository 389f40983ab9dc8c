/** Signed calls and jobs as raw messages, with one thing wrong where a test says so. */
import { randomBytes } from "node:crypto";

import { type Signer, signDocument } from "../../src/auth/signature.ts";
import { buildJob } from "../../src/client/index.ts";
import type { JobDocument } from "../../src/rpc/schema.ts";

export interface CallWishes {
  readonly aud: string;
  readonly signer: Signer;
  readonly iat?: number;
  readonly exp?: number;
  readonly nonce?: string;
  /** Claims another key than the one that signs. */
  readonly key?: string;
}

export interface SignedCall {
  readonly jsonrpc: "2.0";
  readonly id: number;
  readonly method: string;
  readonly params: { readonly auth: Readonly<Record<string, unknown>> & { readonly sig: string } };
}

/** A request with `params.auth`; everything good unless wished otherwise. */
export async function aCall(method: string, params: object, wishes: CallWishes): Promise<SignedCall> {
  const now = Math.floor(Date.now() / 1000);
  const auth = {
    v: 1,
    aud: wishes.aud,
    key: wishes.key ?? wishes.signer.publicKey,
    iat: wishes.iat ?? now,
    exp: wishes.exp ?? now + 120,
    nonce: wishes.nonce ?? randomBytes(16).toString("hex"),
  };
  const { signature } = await signDocument(wishes.signer, "call", { ...auth, method, params });
  return { jsonrpc: "2.0", id: 1, method, params: { ...params, auth: { ...auth, sig: signature } } };
}

/** `params` of a login over this challenge; `times` in place of its own. */
export async function loginParams(
  challenge: string,
  { aud, signer }: Pick<CallWishes, "aud" | "signer">,
  times: object = {},
): Promise<object> {
  const now = Math.floor(Date.now() / 1000);
  const body = { v: 1, aud, key: signer.publicKey, challenge, iat: now, exp: now + 120, ...times };
  const { signature } = await signDocument(signer, "login", body);
  return { auth: { ...body, sig: signature } };
}

/** A `create_job` request for runner `build`, signed by its caller. */
export async function aCreateJob(
  signer: Signer,
  { supervisor, ...wanted }: Partial<JobDocument> & { supervisor: string },
): Promise<{ jsonrpc: "2.0"; id: number; method: string; params: { job: JobDocument; signatures: unknown[] } }> {
  const built = buildJob({ supervisor, caller: signer.publicKey, runner: "build", payload: "true" });
  const job = { ...built, ...wanted };
  const { signature } = await signDocument(signer, "job", job);
  const signatures = [{ public_key: signer.publicKey, signature }];
  return { jsonrpc: "2.0", id: 1, method: "create_job", params: { job, signatures } };
}
