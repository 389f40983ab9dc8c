/**
 * The runner's own look at a claimed job. Whoever can write to Redis could have put anything there, so everything is
 * checked again against what the runner itself was given: the supervisor's key, its names, its allow-list.
 */
import { Type } from "typebox";
import { Compile } from "typebox/compile";

import { canonicalText, isCanonicalText } from "../auth/canonical-json.ts";
import { nativeDigest, type Verifier } from "../auth/native-verifier.ts";
import { signingInput } from "../auth/signature.ts";
import { JobDocument, Name, ReceiptDocument, SignatureEntry, SignedTicket } from "../rpc/schema.ts";
import type { AllowList } from "./allow-list.ts";
import type { ClaimedJob } from "./source.ts";

/** How far the runner's clock may be from the supervisor's, in seconds: as for calls (spec: signing). */
const SKEW_SECONDS = 30;

const LATE = "it has expired by this machine's clock and not by that of Redis. Set the clock, if it is this one";
const EARLY = "its time has come by Redis' clock and not by this machine's. Set the clock, if it is this one";

/** Beyond any sensible setting of a supervisor: parsing more would stop the renewals of everything that runs. */
const MAX_DOCUMENT_CHARS = 16 * 1024 * 1024;

/** 16 signatures, or a ticket, take less than half of it, however they are spaced by us. */
const MAX_PROOF_CHARS = 16 * 1024;

/** What of a claim goes into receipts and onto the disk. */
const CheckedClaim = Compile(Type.Object({ queue: Name, attempt: ReceiptDocument.properties.attempt }));
const CheckedJob = Compile(JobDocument);
const CheckedSignatures = Compile(Type.Array(SignatureEntry, { minItems: 1, maxItems: 16 }));
const CheckedTicket = Compile(SignedTicket);

export interface JobVerifierOptions {
  /** Pinned identity of the supervisor, `ed25519:…`. */
  readonly supervisor: string;
  /** The runner's own name and groups. */
  readonly queues: readonly string[];
  readonly verifier: Pick<Verifier, "verify">;
  /** Absent: whoever the supervisor admits. */
  readonly allowList?: AllowList;
  readonly now: () => number;
}

/** A document that says what it is, good or not: a receipt can be signed about it. */
export interface ReadJob {
  readonly job: JobDocument;
  readonly digest: string;
}

export type Verdict =
  | ({ readonly ok: true } & ReadJob)
  /** `read` is absent where the document could not even be parsed, or is not the job that was claimed. */
  | { readonly ok: false; readonly reason: string; readonly read?: ReadJob }
  /**
   * Good but for its time: by Redis' clock, which gave it out, this is the time. Either clock may be wrong, so the job is
   * neither run nor ended by this runner.
   */
  | { readonly ok: false; readonly reason: string; readonly isUntimely: true };

export interface JobVerifier {
  /** Never throws for anything that stands in the job. @throws SupervisorError `tooMany` from an overloaded verifier. */
  verify(claimed: ClaimedJob): Promise<Verdict>;
}

export function createJobVerifier(options: JobVerifierOptions): JobVerifier {
  return {
    verify: async (claimed) => {
      const parsed = parseJob(claimed);
      if (typeof parsed === "string") return { ok: false, reason: parsed };
      const reason =
        findFault(parsed, claimed, options) ??
        (await findForgery(parsed, claimed, options)) ??
        (await findTicketFault(parsed, claimed, options));
      const { job, digest } = parsed;
      if (reason !== undefined) return { ok: false, reason, read: { job, digest } };
      const untimely = findUntimeliness(job, options);
      if (untimely !== undefined) return { ok: false, reason: untimely, isUntimely: true };
      return { ok: true, job, digest };
    },
  };
}

interface ParsedJob extends ReadJob {
  readonly input: Uint8Array;
}

function parseJob({ document, lease, queue }: ClaimedJob): ParsedJob | string {
  if (!CheckedClaim.Check({ queue, attempt: lease.attempt })) return "its queue or its attempt is malformed";
  if (document.length > MAX_DOCUMENT_CHARS) return "the document is too large";
  if (!isCanonicalText(document)) return "the document is not canonical text";
  const job: unknown = JSON.parse(document);
  if (!CheckedJob.Check(job)) return "the document is not a job";
  if (job.id !== lease.id) return "the document is another job's";
  const input = signingInput("job", document);
  return { job, input, digest: nativeDigest(input) };
}

/** What can be seen without any signature work. */
function findFault({ job }: ParsedJob, { queue }: ClaimedJob, options: JobVerifierOptions): string | undefined {
  if (job.aud !== options.supervisor) return "it is for another supervisor";
  if (queue !== job.runner) return `it was found in queue "${queue}" and belongs to "${job.runner}"`;
  if (!options.queues.includes(job.runner)) return `queue "${job.runner}" is not one of this runner's`;
  if (options.allowList !== undefined && !options.allowList.has(job.caller_id)) {
    return "its caller is not on this runner's allow-list";
  }
  return undefined;
}

/** What was signed of the job's time: no start after `expires_at`, none before `not_before`. */
function findUntimeliness(job: JobDocument, { now }: JobVerifierOptions): string | undefined {
  const seconds = Math.floor(now() / 1000);
  if (seconds > job.expires_at + SKEW_SECONDS) return LATE;
  if (job.not_before !== undefined && seconds < job.not_before - SKEW_SECONDS) return EARLY;
  return undefined;
}

/** Every signature, not only the caller's: one bad one refuses the job (spec: signing, "Jobs on the wire"). */
async function findForgery(
  { job, input }: ParsedJob,
  { signatures }: ClaimedJob,
  { verifier }: JobVerifierOptions,
): Promise<string | undefined> {
  const entries = parseText(signatures);
  if (!CheckedSignatures.Check(entries)) return "its signatures are malformed";
  const keys = new Set(entries.map((entry) => entry.public_key));
  if (keys.size !== entries.length) return "a key signed it twice";
  if (!keys.has(job.caller_id)) return "its caller did not sign it";
  for (const { public_key: key, signature } of entries) {
    if (!(await verifier.verify(key, signature, input))) return `the signature by ${key} is not good`;
  }
  return undefined;
}

/** The ticket must say, under the pinned key, that exactly this job was admitted to exactly this queue. */
async function findTicketFault(
  { job, digest }: ParsedJob,
  { ticket }: ClaimedJob,
  { supervisor, verifier }: JobVerifierOptions,
): Promise<string | undefined> {
  const signed = parseText(ticket);
  if (!CheckedTicket.Check(signed)) return "its ticket is malformed";
  const { body, public_key: key, signature } = signed;
  const text = canonicalText(body);
  if (key !== supervisor || body.aud !== supervisor) return "its ticket is by another supervisor";
  if (!text.ok || !(await verifier.verify(key, signature, signingInput("ticket", text.text)))) {
    return "the signature of its ticket is not good";
  }
  if (body.job !== digest || body.id !== job.id || body.exp !== job.expires_at) return "its ticket is another job's";
  if (body.queue !== job.runner) return "its ticket is for another queue";
  return undefined;
}

function parseText(text: string): unknown {
  if (text.length > MAX_PROOF_CHARS) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON, or no proof of ours: no schema takes undefined, and that is the answer.
    return undefined;
  }
}
