/** Admission of a job: size → audience, keys, signatures → role, grant, approvals, rate → ticket → one script of the store. */
import type { VerifiedJob } from "../auth/authenticate.ts";
import { type Approvals, type Caller, isGranted, missingApprovals, reachOf } from "../auth/policy.ts";
import type { Charge } from "../auth/rate-limit.ts";
import { signDocument, type Signer } from "../auth/signature.ts";
import { SupervisorError } from "../errors.ts";
import { METHODS, type Result } from "../rpc/methods.ts";
import type { JobDocument, TicketDocument } from "../rpc/schema.ts";
import type { Peer } from "../rpc/transport.ts";
import type { Admission, Admitted, JobStore, RunnerStore } from "../store/store.ts";

/** Limits of one job, all of them settings under `[jobs]`. */
export interface JobLimits {
  readonly maxPayloadBytes: number;
  readonly maxDocumentBytes: number;
  readonly maxEnvValueBytes: number;
  readonly maxLifetimeSeconds: number;
  readonly maxQueueJobs: number;
  readonly maxQueueBytes: number;
  readonly maxPrincipalJobs: number;
  readonly maxPrincipalBytes: number;
}

export interface SubmitOptions {
  readonly identity: string;
  /** The supervisor's own key: signs tickets. */
  readonly signer: Signer;
  readonly jobs: Pick<JobStore, "admit">;
  readonly runners: Pick<RunnerStore, "isServed">;
  readonly limits: JobLimits;
  /** Checks audience, keys and every signature; throws the typed refusal. */
  verifySignatures(job: { job: JobDocument; signatures: unknown; peer: Peer }): Promise<VerifiedJob>;
  /** Approvals that jobs sent to this runner or group need: each of these. */
  requirementsFor(runner: string): readonly Approvals[];
  /** Are the callers of this runner's or group's jobs served in turn? */
  isFair(queue: string): boolean;
  /** Takes a call from the key's allowance. */
  keyLimit(caller: Caller): Charge;
  /** The durability class in force. */
  durability(): string;
  readonly now: () => number;
}

export interface Submission {
  readonly job: JobDocument;
  readonly signatures: unknown;
  readonly peer: Peer;
  readonly verified: (principal: string, key: string, digest: string) => void;
}

/** Admits signed jobs. */
export type Submit = (submission: Submission) => Promise<Result<"create_job">>;

export function createSubmit(options: SubmitOptions): Submit {
  return async ({ job, signatures, peer, verified }) => {
    checkSize(job, options.limits);
    checkOrder(job);
    const proof = await options.verifySignatures({ job, signatures, peer });
    verified(proof.caller.principal, proof.caller.key, proof.digest);
    checkLifetime(job, options);
    checkDocumentSize(proof.text, options.limits);
    checkGrant(proof.caller, job.runner);
    checkApprovals(proof, options.requirementsFor(job.runner));
    const charge = options.keyLimit(proof.caller);
    checkRate(charge.waitMs);
    const ticket = await signTicket(job, proof.digest, options);
    const admitted = await options.jobs.admit(
      toAdmission(job, proof, { ticket, isFair: options.isFair(job.runner), limits: options.limits }),
    );
    if (!isWork(admitted)) charge.giveBack();
    return {
      id: job.id,
      ...outcomeOf(admitted),
      digest: proof.digest,
      queue: job.runner,
      runner_online: await isServed(job.runner, options),
      durability: options.durability(),
    };
  };
}

/** The job is admitted by now: whatever happens to this look must not read as a refusal. */
async function isServed(runner: string, { runners }: SubmitOptions): Promise<boolean> {
  try {
    return await runners.isServed(runner);
  } catch {
    // Nobody can say whether a runner is there; the job waits for one either way.
    return false;
  }
}

function checkSize(job: JobDocument, limits: JobLimits): void {
  assertWithin("max_payload_bytes", job.payload, limits.maxPayloadBytes);
  for (const value of Object.values(job.env_vars ?? {})) {
    assertWithin("max_env_value_bytes", value, limits.maxEnvValueBytes);
  }
}

function checkDocumentSize(text: string, limits: JobLimits): void {
  assertWithin("max_document_bytes", text, limits.maxDocumentBytes);
}

/** Counts only where it may matter: a UTF-16 unit takes at most three bytes. */
function assertWithin(limit: string, text: string, allowed: number): void {
  if (text.length * 3 <= allowed) return;
  const present = Buffer.byteLength(text);
  if (present > allowed) throw new SupervisorError("tooLarge", { data: { limit, allowed, present } });
}

/** The order of the members is the document's own fault: -32602; the clock's verdict comes from the store. */
function checkOrder(job: JobDocument): void {
  if (job.created_at > job.expires_at) {
    throw new SupervisorError("invalidParams", {
      data: { path: "params.job.expires_at", expected: "at or after created_at" },
    });
  }
  if (job.not_before !== undefined && job.not_before > job.expires_at) {
    throw new SupervisorError("invalidParams", {
      data: { path: "params.job.not_before", expected: "at or before expires_at" },
    });
  }
}

function checkLifetime(job: JobDocument, { limits, now }: SubmitOptions): void {
  const present = job.expires_at - job.created_at;
  const allowed = limits.maxLifetimeSeconds;
  if (present > allowed) {
    const data = { now: Math.floor(now() / 1000), limit: "max_lifetime_seconds", allowed, present };
    throw new SupervisorError("stale", { data });
  }
}

/** One answer for a missing role and a runner not granted; the store gives the same for a runner unknown. */
function checkGrant(caller: Caller, runner: string): void {
  const reach = reachOf(caller.roles, METHODS.create_job.access);
  if (reach === undefined || !isGranted(caller.runners, runner)) throw new SupervisorError("forbidden");
}

/**
 * After the grant, which is the caller's alone: who may not send there learns nothing of what it would need. How many
 * approvals are missing is said, since the caller must go and get them; whose they could be is the operator's to tell.
 */
function checkApprovals({ principals }: VerifiedJob, requirements: readonly Approvals[]): void {
  const missing = Math.max(0, ...requirements.map((requirement) => missingApprovals(requirement, principals)));
  if (missing === 0) return;
  throw new SupervisorError("forbidden", { message: "Approvals are missing", data: { approvals_missing: missing } });
}

function checkRate(waitMs: number): void {
  if (waitMs > 0) throw new SupervisorError("tooMany", { data: { limit: "rate", retry_after_ms: waitMs } });
}

async function signTicket(job: JobDocument, digest: string, { identity, signer, now }: SubmitOptions): Promise<string> {
  const body: TicketDocument = {
    v: 1,
    aud: identity,
    job: digest,
    id: job.id,
    queue: job.runner,
    iat: Math.floor(now() / 1000),
    exp: job.expires_at,
  };
  const { text, signature } = await signDocument(signer, "ticket", body);
  // A SignedTicket; its body has a text already.
  return `{"body":${text},"public_key":"${signer.publicKey}","signature":"${signature}"}`;
}

function toAdmission(
  job: JobDocument,
  proof: VerifiedJob,
  { ticket, isFair, limits }: { readonly ticket: string; readonly isFair: boolean; readonly limits: JobLimits },
): Admission {
  return {
    id: job.id,
    document: proof.text,
    signatures: JSON.stringify(proof.signatures),
    ticket,
    digest: proof.digest,
    principal: proof.caller.principal,
    callerId: job.caller_id,
    signers: proof.signers,
    queue: job.runner,
    ...(job.context_id === undefined ? {} : { contextId: job.context_id }),
    priority: job.priority ?? 5,
    createdAt: job.created_at,
    expiresAt: job.expires_at,
    ...(job.not_before === undefined ? {} : { notBefore: job.not_before }),
    maxAttempts: job.max_attempts ?? 1,
    onLoss: job.on_loss ?? "retry",
    timeoutSeconds: job.timeout,
    isFair,
    limits,
  };
}

/**
 * Does this count against the signer's rate? What it signed once can be sent by anybody who saw it, again and again: such a
 * copy must not use up what the signer may do. The limit by address holds for whoever sends it.
 */
function isWork({ outcome }: Admitted): boolean {
  return outcome === "new" || outcome === "queue_full";
}

/** What the script answered, as a result or as the typed refusal. */
function outcomeOf(admitted: Admitted): Pick<Result<"create_job">, "state" | "duplicate"> {
  switch (admitted.outcome) {
    case "new":
      return { state: admitted.state, duplicate: false };
    case "duplicate":
      return { state: admitted.state, duplicate: true };
    case "conflict":
      throw new SupervisorError("conflict");
    case "revoked":
      throw new SupervisorError("unauthenticated");
    case "unknown_runner":
      throw new SupervisorError("forbidden");
    case "stale":
      throw new SupervisorError("stale", { data: { now: admitted.now } });
    case "queue_full":
      throw new SupervisorError("tooMany", {
        data: { limit: admitted.limit, allowed: admitted.allowed, present: admitted.present },
      });
  }
}
