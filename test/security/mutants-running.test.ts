/**
 * Each check of admission, enrolment and the runner (spec: signing) × the attack that only it stops:
 * the program refuses it, and a copy of the source without that check lets it through.
 */
import type { Caller } from "../../src/auth/policy.ts";
import { signDocument, type Signer } from "../../src/auth/signature.ts";
import { RUNNER_DOCUMENT } from "../../src/rpc/examples.ts";
import type { Reach, Role } from "../../src/rpc/method.ts";
import type { JobDocument, RunnerDocument, TicketDocument } from "../../src/rpc/schema.ts";
import * as whole from "../support/build-under-test.ts";
import { aRequest, quietLog, send, stubHandlers } from "../support/dispatcher.ts";
import { type Build, describeMutants, isTaken, type MutantRow, withoutCheck as off } from "../support/mutants.ts";
import { aSignedJob, aSigner, VECTORS } from "../support/signing.ts";

const { caller, approver, supervisorA, supervisorB } = VECTORS.keys;
const NOW = 1_790_000_030;
const ZEROS = "0".repeat(64);
const OTHER_ID = "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5c";
const ALICE: Caller = { key: caller, name: "alice", principal: "alice", roles: ["submitter"], runners: ["build"] };

async function admitted(
  build: Build,
  wanted: Partial<JobDocument>,
  { by = {}, waitMs = 0 }: { readonly by?: Partial<Caller>; readonly waitMs?: number } = {},
): Promise<boolean> {
  const { job, signatures } = await aSignedJob(wanted);
  const { text, digest } = await signDocument(aSigner(), "job", job);
  const principals = ["alice"];
  const submit = build.createSubmit({
    identity: supervisorA,
    signer: aSigner("supervisorA"),
    jobs: { admit: async () => ({ outcome: "new", state: "pending" }) },
    runners: { isServed: async () => true },
    limits: {
      maxPayloadBytes: 1000,
      maxDocumentBytes: 2000,
      maxEnvValueBytes: 100,
      maxLifetimeSeconds: 86_400,
      maxQueueJobs: 10,
      maxQueueBytes: 10_000,
      maxPrincipalJobs: 10,
      maxPrincipalBytes: 10_000,
    },
    verifySignatures: async () => ({
      text,
      digest,
      caller: { ...ALICE, ...by },
      signers: [caller],
      principals,
      signatures,
    }),
    requirementsFor: (name) => (name === "gpu-1" ? [{ principals: ["boss"], atLeast: 1 }] : []),
    isFair: () => false,
    keyLimit: () => ({ waitMs, giveBack: () => undefined }),
    durability: () => "memory",
    now: () => NOW * 1000,
  });
  return isTaken(submit({ job, signatures, peer: { transport: "http" }, verified: () => undefined }));
}

async function enrolled(
  build: Build,
  wanted: Partial<RunnerDocument>,
  { reach = "all", isSigned = true, key = approver }: { reach?: Reach; isSigned?: boolean; key?: string } = {},
): Promise<boolean> {
  const enrol = build.createEnrol({
    identity: supervisorA,
    runners: { register: async () => ({ outcome: "new" }) },
    verifyRegistration: () => isSigned,
    requirementsFor: (name) => (name === "prod" ? [{ principals: ["boss"], atLeast: 1 }] : []),
    now: () => NOW * 1000,
  });
  const by = { ...ALICE, key, roles: ["runner"] as const, runners: ["build*"], reach };
  const registration = { ...RUNNER_DOCUMENT, ...wanted };
  return isTaken(enrol({ registration, signature: "0".repeat(128), caller: by, signedCall: "{}" }));
}

/** Calls through the dispatcher, whoever the caller is. */
async function answered(build: Build, roles: readonly Role[], waitMs = 0): Promise<boolean> {
  const handler = build.createDispatcher({
    handlers: stubHandlers(),
    authenticate: async () => ({ caller: { ...ALICE, roles }, signedText: "" }),
    sessions: { verify: async () => ({ ...ALICE, roles }), find: async () => undefined },
    onRevoked: () => () => undefined,
    limits: { maxBodyBytes: 10_000, maxBatch: 10, concurrency: 1, callMs: 1000 },
    addressLimit: () => 0,
    keyLimit: () => waitMs,
    log: quietLog,
    newRequestId: () => "r",
  });
  return (await send(handler, aRequest("list_jobs", { auth: "x" })))?.includes('"result"') === true;
}

interface Claimed {
  readonly job?: Partial<JobDocument>;
  readonly signers?: readonly Signer[];
  readonly ticket?: Partial<TicketDocument>;
  readonly ticketSigner?: Signer;
  /** Who the ticket says signed it. */
  readonly ticketKey?: string;
  readonly queue?: string;
  readonly lease?: string;
  /** Of the first signature. */
  readonly signature?: string;
  readonly isStranger?: boolean;
}

/** As it would lie in Redis, for the runner `build-1` in the group `build`. */
async function runs(build: Build, claimed: Claimed): Promise<boolean> {
  const { job, signatures } = await aSignedJob(claimed.job, claimed.signers);
  const { text, digest } = await signDocument(aSigner(), "job", job);
  const signer = claimed.ticketSigner ?? aSigner("supervisorA");
  const { id, expires_at: exp } = job;
  const base = { v: 1, aud: supervisorA, job: digest, id, queue: job.runner, iat: NOW, exp } as const;
  const body = { ...base, ...claimed.ticket };
  const { signature } = await signDocument(signer, "ticket", body);
  const [first, ...others] = signatures;
  const changed = claimed.signature === undefined ? first : { ...first, signature: claimed.signature };
  const verifier = build.createJobVerifier({
    supervisor: supervisorA,
    queues: ["build-1", "build"],
    verifier: build.createVerifier({ crypto: "native", maxInFlight: 16 }),
    allowList: new Map([claimed.isStranger === true ? [approver, "boss"] : [caller, "alice"]]),
    now: () => NOW * 1000,
  });
  const verdict = await verifier.verify({
    lease: { id: claimed.lease ?? id, attempt: 1, token: "t" },
    isCancelling: false,
    queue: claimed.queue ?? job.runner,
    document: text,
    signatures: JSON.stringify([changed, ...others]),
    ticket: JSON.stringify({ body, public_key: claimed.ticketKey ?? signer.publicKey, signature }),
  });
  return verdict.ok;
}

const SUBMIT = "jobs/submit.ts";
const ENROL = "runners/enrol.ts";
const VERIFIER = "runner/job-verifier.ts";
const ENTRY = "rpc/entry.ts";

const ADMISSION: readonly MutantRow[] = [
  [
    "a job is not made after it expires",
    off(SUBMIT, "if (job.created_at > job.expires_at) {"),
    async (build) => admitted(build, { created_at: NOW, expires_at: NOW - 1 }),
  ],
  [
    "a job does not start after it expires",
    { file: SUBMIT, from: "job.not_before > job.expires_at", to: "false" },
    async (build) => admitted(build, { not_before: 1_790_999_999 }),
  ],
  [
    "a job does not live too long",
    off(SUBMIT, "if (present > allowed) {"),
    async (build) => admitted(build, { created_at: NOW, expires_at: NOW + 86_401 }),
  ],
  [
    "a payload is not too large",
    { file: SUBMIT, from: '"max_payload_bytes", job.payload', to: '"max_payload_bytes", ""' },
    async (build) => admitted(build, { payload: "x".repeat(1001) }),
  ],
  [
    "a value of the environment is not too large",
    { file: SUBMIT, from: '"max_env_value_bytes", value', to: '"max_env_value_bytes", ""' },
    async (build) => admitted(build, { env_vars: { A: "x".repeat(101) } }),
  ],
  [
    "a document is not too large",
    { file: SUBMIT, from: '"max_document_bytes", text', to: '"max_document_bytes", ""' },
    async (build) =>
      admitted(build, {
        env_vars: Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`A${index}`, "x".repeat(100)])),
      }),
  ],
  [
    "creating takes the role",
    { file: SUBMIT, from: "reach === undefined || ", to: "" },
    async (build) => admitted(build, {}, { by: { roles: ["observer"] } }),
  ],
  [
    "creating takes the grant",
    { file: SUBMIT, from: " || !isGranted(caller.runners, runner)", to: "" },
    async (build) => admitted(build, {}, { by: { runners: ["other"] } }),
  ],
  [
    "approvals are asked for",
    { file: SUBMIT, from: "if (missing === 0) return;", to: "return;" },
    async (build) => admitted(build, { runner: "gpu-1" }, { by: { runners: ["*"] } }),
  ],
  [
    "creating keeps to the key's rate",
    off(SUBMIT, "if (waitMs > 0) throw"),
    async (build) => admitted(build, {}, { waitMs: 1 }),
  ],
  [
    "every other method takes a role",
    off(ENTRY, "if (reach === undefined) throw"),
    async (build) => answered(build, ["runner"]),
  ],
  [
    "every other method keeps to the key's rate",
    { file: ENTRY, from: "const waitMs = this.#options.keyLimit(caller);", to: "const waitMs = 0;" },
    async (build) => answered(build, ["submitter"], 1),
  ],
];

const ENROLMENT: readonly MutantRow[] = [
  [
    "a registration is for us",
    off(ENROL, "if (registration.aud !== options.identity) {"),
    async (build) => enrolled(build, { aud: supervisorB }),
  ],
  [
    "a registration is presented soon",
    { file: ENROL, from: " && exp - iat <= MAX_WINDOW_SECONDS", to: "" },
    async (build) => enrolled(build, { iat: NOW, exp: NOW + 601 }),
  ],
  [
    "a registration does not end before it begins",
    { file: ENROL, from: "exp >= iat && ", to: "" },
    async (build) => enrolled(build, { iat: NOW, exp: NOW - 1 }),
  ],
  [
    "a registration is signed by its key",
    { file: ENROL, from: "!options.verifyRegistration(registration, signature)", to: "false" },
    async (build) => enrolled(build, {}, { isSigned: false }),
  ],
  [
    "a runner registers itself alone",
    { file: ENROL, from: "!isItself || ", to: "" },
    async (build) => enrolled(build, { name: "build-1", groups: [] }, { reach: "own" }),
  ],
  [
    "a runner bears granted names alone",
    { file: ENROL, from: " || !isNamed", to: "" },
    async (build) => enrolled(build, { name: "prod", groups: [] }, { reach: "own", key: RUNNER_DOCUMENT.key }),
  ],
  [
    "no name of a runner goes round another's approvals",
    { file: ENROL, from: "if (open === undefined) return;", to: "return;" },
    async (build) => enrolled(build, { name: "prod", groups: ["misc"] }),
  ],
];

const RUNNING: readonly MutantRow[] = [
  ["the stored document is canonical", off(VERIFIER, "if (!isCanonicalText(document)) return"), spacedRuns],
  [
    "the document is the job that was claimed",
    off(VERIFIER, "if (job.id !== lease.id) return"),
    async (build) => runs(build, { lease: OTHER_ID }),
  ],
  [
    "the job is for the pinned supervisor",
    off(VERIFIER, "if (job.aud !== options.supervisor) return"),
    async (build) => runs(build, { job: { aud: supervisorB } }),
  ],
  [
    "the job lies in its own queue",
    off(VERIFIER, "if (queue !== job.runner) return"),
    async (build) => runs(build, { queue: "build-1" }),
  ],
  [
    "the queue is one of the runner's",
    off(VERIFIER, "if (!options.queues.includes(job.runner)) return"),
    async (build) => runs(build, { job: { runner: "gpu-1" } }),
  ],
  [
    "the caller is on the allow-list",
    { file: VERIFIER, from: "options.allowList !== undefined && ", to: "false && " },
    async (build) => runs(build, { isStranger: true }),
  ],
  [
    "no key signed twice",
    off(VERIFIER, "if (keys.size !== entries.length) return"),
    async (build) => runs(build, { signers: [aSigner(), aSigner()] }),
  ],
  [
    "the caller signed",
    off(VERIFIER, "if (!keys.has(job.caller_id)) return"),
    async (build) => runs(build, { signers: [aSigner("approver")] }),
  ],
  [
    "every signature is good",
    { file: VERIFIER, from: "if (!(await verifier.verify(key, signature, input))) return", to: "if (false) return" },
    async (build) => runs(build, { signature: "0".repeat(128) }),
  ],
  [
    "the ticket is by the pinned supervisor",
    off(VERIFIER, "if (key !== supervisor || body.aud !== supervisor) return"),
    async (build) => runs(build, { ticketSigner: aSigner("supervisorB") }),
  ],
  [
    "the ticket is for the pinned supervisor",
    { file: VERIFIER, from: "key !== supervisor || body.aud !== supervisor", to: "key !== supervisor" },
    async (build) => runs(build, { ticket: { aud: supervisorB } }),
  ],
  [
    "the ticket is signed",
    { file: VERIFIER, from: ' || !(await verifier.verify(key, signature, signingInput("ticket", text.text)))', to: "" },
    async (build) => runs(build, { ticketSigner: aSigner("supervisorB"), ticketKey: supervisorA }),
  ],
  [
    "the ticket is for this content",
    { file: VERIFIER, from: "body.job !== digest || ", to: "" },
    async (build) => runs(build, { ticket: { job: ZEROS } }),
  ],
  [
    "the ticket is for this id",
    { file: VERIFIER, from: " || body.id !== job.id", to: "" },
    async (build) => runs(build, { ticket: { id: OTHER_ID } }),
  ],
  [
    "the ticket ends with the job",
    { file: VERIFIER, from: " || body.exp !== job.expires_at", to: "" },
    async (build) => runs(build, { ticket: { exp: NOW + 1 } }),
  ],
  [
    "the ticket is for this queue",
    off(VERIFIER, "if (body.queue !== job.runner) return"),
    async (build) => runs(build, { ticket: { queue: "build-1" } }),
  ],
  [
    "the job has not expired",
    off(VERIFIER, "if (seconds > job.expires_at + SKEW_SECONDS) return"),
    async (build) => runs(build, { job: { created_at: NOW - 900, expires_at: NOW - 31 } }),
  ],
  [
    "the job's time has come",
    off(VERIFIER, "if (job.not_before !== undefined && seconds < job.not_before - SKEW_SECONDS) return"),
    async (build) => runs(build, { job: { not_before: NOW + 31 } }),
  ],
];

/** A document that is signed as it is spelled, with a space that canonical text has not. */
async function spacedRuns(build: Build): Promise<boolean> {
  const { job } = await aSignedJob();
  const { text } = await signDocument(aSigner(), "job", job);
  const spelled = text.replace(":", ": ");
  const type = "application/vnd.horus.job.v1+json";
  const input = Buffer.from(`DSSEv1 ${type.length} ${type} ${Buffer.byteLength(spelled)} ${spelled}`);
  const verifier = build.createJobVerifier({
    supervisor: supervisorA,
    queues: ["build"],
    // What was signed is not the question here.
    verifier: { verify: async () => input.length > 0 },
    now: () => NOW * 1000,
  });
  const digest = await digestOf(input);
  const body = { v: 1, aud: supervisorA, job: digest, id: job.id, queue: job.runner, iat: NOW, exp: job.expires_at };
  const verdict = await verifier.verify({
    lease: { id: job.id, attempt: 1, token: "t" },
    isCancelling: false,
    queue: job.runner,
    document: spelled,
    signatures: JSON.stringify([{ public_key: caller, signature: "0".repeat(128) }]),
    ticket: JSON.stringify({ body, public_key: supervisorA, signature: "0".repeat(128) }),
  });
  return verdict.ok;
}

async function digestOf(input: Uint8Array): Promise<string> {
  return Buffer.from(await crypto.subtle.digest("SHA-256", Uint8Array.from(input))).toString("hex");
}

const ROWS = [...ADMISSION, ...ENROLMENT, ...RUNNING];

describeMutants(ROWS, async () => [
  await admitted(whole, {}),
  await answered(whole, ["submitter"]),
  await enrolled(whole, {}),
  await runs(whole, {}),
]);
