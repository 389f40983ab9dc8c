/** Keys, signed calls, signed jobs and the shared vectors, for tests of whoever signs or verifies. */
import { readFileSync } from "node:fs";

import { Type } from "typebox";
import { Compile } from "typebox/compile";

import type { EnrolledKey } from "../../src/auth/keyring.ts";
import { createSigner, type Signer, signDocument } from "../../src/auth/signature.ts";
import { errorText, SupervisorError } from "../../src/errors.ts";
import type { CallAuth, JobDocument, SignatureEntry } from "../../src/rpc/schema.ts";
import { aJob } from "./builders.ts";

const Text = Type.String();
const Vectors = Type.Object({
  keys: Type.Object({ caller: Text, supervisorA: Text, approver: Text, runner: Text, supervisorB: Text }),
  valid: Type.Array(
    Type.Object({
      name: Text,
      type: Text,
      signer: Type.Enum(["caller", "supervisorA", "approver", "runner", "supervisorB"]),
      key: Text,
      body: Text,
      pae_hex: Text,
      digest: Text,
      sig: Text,
    }),
  ),
  canonical_ok: Type.Array(Text),
  wire_same_document: Type.Array(Type.Object({ name: Text, text: Text, canonical: Text })),
  wire_refused: Type.Array(Type.Object({ name: Text, text: Text })),
  log_chain: Type.Object({ entries: Type.Array(Text), heads: Type.Array(Text) }),
  result: Type.Object({ bytes_utf8: Text }),
  invalid: Type.Array(
    Type.Object({
      name: Text,
      why: Text,
      key: Type.Optional(Text),
      pae_hex: Type.Optional(Text),
      sig: Type.Optional(Text),
      text: Type.Optional(Text),
    }),
  ),
});

/** test/vectors/signing.json; an implementation is right when it agrees with every one of them. */
export const VECTORS = Compile(Vectors).Parse(
  JSON.parse(readFileSync(new URL("../vectors/signing.json", import.meta.url), "utf8")),
);

/** Seeds of the vectors' keys: hex bytes repeated. */
export const SEEDS = {
  caller: "11".repeat(32),
  supervisorA: "22".repeat(32),
  approver: "33".repeat(32),
  runner: "44".repeat(32),
  supervisorB: "55".repeat(32),
} as const;

export function aSigner(name: keyof typeof SEEDS = "caller"): Signer {
  return createSigner(SEEDS[name]);
}

/** An entry of the keyring: the caller's, with the submitter's role, unless told. */
export function anEnrolledKey(wanted: Partial<EnrolledKey> = {}): EnrolledKey {
  return {
    name: "alice-laptop",
    principal: "alice",
    key: VECTORS.keys.caller,
    roles: ["submitter"],
    runners: ["build", "gpu-*"],
    cancelRunning: false,
    ...wanted,
  };
}

export interface CallWishes {
  readonly signer?: Signer;
  readonly method?: string;
  readonly params?: object;
  /** Members of `auth` that are signed as they are told here. */
  readonly auth?: Partial<Omit<CallAuth, "sig">>;
}

/** A signed call as the authenticator takes it, by the caller's key for supervisor A at 1790000030. */
export async function aSignedCall({ signer = aSigner(), method = "get_job", params, auth }: CallWishes = {}): Promise<{
  method: string;
  params: object;
  auth: CallAuth;
}> {
  const called = params ?? { id: aJob().id };
  const signed = {
    v: 1 as const,
    aud: VECTORS.keys.supervisorA,
    key: signer.publicKey,
    iat: 1_790_000_030,
    exp: 1_790_000_150,
    nonce: "00112233445566778899aabbccddeeff",
    ...auth,
  };
  const { signature } = await signDocument(signer, "call", { ...signed, method, params: called });
  return { method, params: called, auth: { ...signed, sig: signature } };
}

/** A job with one signature for each of the signers, by the caller alone unless told. */
export async function aSignedJob(
  wanted: Partial<JobDocument> = {},
  signers: readonly Signer[] = [aSigner()],
): Promise<{ job: JobDocument; signatures: SignatureEntry[] }> {
  const job = aJob(wanted);
  const signatures = await Promise.all(
    signers.map(async (signer) => ({
      public_key: signer.publicKey,
      signature: (await signDocument(signer, "job", job)).signature,
    })),
  );
  return { job, signatures };
}

/** JSON text of an object, read without promises about its members. */
export function objectOf(text: string): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error(`Not an object: ${text}`);
  return { ...value };
}

/** How work was refused, and only a refusal meant for callers. */
export async function refusalOf(
  work: Promise<unknown>,
): Promise<{ readonly name: string; readonly message: string; readonly data: unknown }> {
  const error: unknown = await work.then(
    () => undefined,
    (failure: unknown) => failure,
  );
  if (!(error instanceof SupervisorError)) throw new Error(`Not refused, but: ${errorText(error)}`);
  return { name: error.name, message: error.message, data: error.data };
}

/** The name of the refusal, or undefined where there was none. */
export async function outcomeOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (error instanceof SupervisorError) return error.name;
    throw error;
  }
}

/** Small and fast random numbers from a seed (mulberry32): a failing run can be repeated. */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
