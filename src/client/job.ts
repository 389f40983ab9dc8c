/** Building and signing jobs. */
import { type Signer, signDocument } from "../auth/signature.ts";
import type { JobDocument, SignatureEntry } from "../rpc/schema.ts";

/** A job with the signatures that carry it: the parameters of `create_job`. Any relay may send it. */
export interface SignedJob {
  readonly job: JobDocument;
  readonly signatures: SignatureEntry[];
}

/** The members of a job document; those without a default are needed. Times are UNIX seconds. */
export interface JobOptions extends Partial<Omit<JobDocument, "v" | "aud" | "caller_id">> {
  /** The supervisor's pinned identity: `aud`. */
  readonly supervisor: string;
  /** The owner's public key: `caller_id`. */
  readonly caller: string;
  readonly runner: string;
  readonly payload: string;
  /** UNIX ms; the system's clock unless told. */
  readonly now?: () => number;
}

const DEFAULT_TIMEOUT_SECONDS = 600;
const DEFAULT_LIFETIME_SECONDS = 3600;

/**
 * Completes a job document: a fresh id (UUID version 7), created now, a timeout of 600 s, and one hour from its creation
 * or `not_before` in which attempts may start.
 */
export function buildJob({ supervisor, caller, now = Date.now, ...members }: JobOptions): JobDocument {
  const createdAt = members.created_at ?? Math.floor(now() / 1000);
  const startsAt = Math.max(createdAt, members.not_before ?? 0);
  return {
    timeout: DEFAULT_TIMEOUT_SECONDS,
    expires_at: startsAt + DEFAULT_LIFETIME_SECONDS,
    ...members,
    v: 1,
    aud: supervisor,
    caller_id: caller,
    id: members.id ?? newJobId(now()),
    created_at: createdAt,
  };
}

/**
 * Signs a job.
 * @throws TypeError when it has no canonical text (a lone surrogate in the payload), naming the member.
 */
export async function signJob(signer: Signer, job: JobDocument): Promise<SignedJob> {
  return coSignJob(signer, { job, signatures: [] });
}

/** Adds one more signature, for supervisors that ask for several. All signers must be enrolled, up to 16. */
export async function coSignJob(signer: Signer, { job, signatures }: SignedJob): Promise<SignedJob> {
  const { signature } = await signDocument(signer, "job", job);
  return { job, signatures: [...signatures, { public_key: signer.publicKey, signature }] };
}

/** UUID version 7 (RFC 9562 §5.7). `crypto.randomUUID` exists in secure contexts only, `getRandomValues` everywhere. */
export function newJobId(nowMs: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(nowMs / 0x1_0000));
  view.setUint16(4, nowMs % 0x1_0000);
  view.setUint8(6, 0x70 | (view.getUint8(6) & 0x0f));
  view.setUint8(8, 0x80 | (view.getUint8(8) & 0x3f));
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
