import { describe, expect, test, vi } from "vitest";

import type { Approvals, Caller } from "../../../src/auth/policy.ts";
import { createSigner } from "../../../src/auth/signature.ts";
import { ERRORS, SupervisorError } from "../../../src/errors.ts";
import { createSubmit, type SubmitOptions } from "../../../src/jobs/submit.ts";
import { EXAMPLE_KEYS, SIGNED_JOB } from "../../../src/rpc/examples.ts";
import type { JobDocument } from "../../../src/rpc/schema.ts";
import type { Admission, Admitted } from "../../../src/store/store.ts";
import { aJob } from "../../support/builders.ts";
import { JSON_TICKET } from "../../support/tickets.ts";

const alice: Caller = {
  key: EXAMPLE_KEYS.caller,
  name: "laptop",
  principal: "alice",
  roles: ["submitter"],
  runners: ["build"],
};
const A_SIGNATURE: unknown = expect.stringMatching(/^[0-9a-f]{128}$/u);
const signer = createSigner("22".repeat(32));

interface Wishes {
  readonly caller?: Caller;
  readonly admitted?: Admitted;
  readonly limits?: Partial<SubmitOptions["limits"]>;
  readonly waitMs?: number;
  /** Who signed; the caller's principal alone unless told. */
  readonly principals?: readonly string[];
  readonly requirements?: Readonly<Record<string, readonly Approvals[]>>;
  readonly isServed?: () => Promise<boolean>;
}

function aSubmit({
  caller = alice,
  admitted = { outcome: "new", state: "pending" },
  limits,
  waitMs = 0,
  principals = [caller.principal],
  requirements = {},
  isServed = async () => true,
}: Wishes = {}) {
  const admissions: Admission[] = [];
  const verified: string[] = [];
  const givenBack: string[] = [];
  const submit = createSubmit({
    identity: signer.publicKey,
    signer,
    jobs: {
      admit: async (admission) => {
        admissions.push(admission);
        return admitted;
      },
    },
    runners: { isServed },
    limits: {
      maxPayloadBytes: 1000,
      maxDocumentBytes: 2000,
      maxEnvValueBytes: 10,
      maxLifetimeSeconds: 3600,
      maxQueueJobs: 5,
      maxQueueBytes: 50,
      maxPrincipalJobs: 5,
      maxPrincipalBytes: 50,
      ...limits,
    },
    verifySignatures: async ({ job }) => ({
      text: JSON.stringify(job),
      digest: "d".repeat(64),
      caller,
      signers: [caller.key],
      principals,
      signatures: SIGNED_JOB.signatures,
    }),
    requirementsFor: (runner) => requirements[runner] ?? [],
    isFair: (queue) => queue === "build",
    keyLimit: ({ key }) => ({ waitMs, giveBack: () => void givenBack.push(key) }),
    durability: () => "everysec",
    now: () => 1_790_000_030_000,
  });
  return {
    admissions,
    verified,
    givenBack,
    send: async (job: JobDocument = aJob()) =>
      submit({
        job,
        signatures: SIGNED_JOB.signatures,
        peer: { transport: "in-process" },
        verified: (principal, key) => verified.push(principal, key),
      }),
  };
}

async function refusal(sent: Promise<unknown>): Promise<{ name: string; data: unknown }> {
  const error: unknown = await sent.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SupervisorError)) throw new Error("It was not refused.", { cause: error });
  return { name: error.name, data: error.data };
}

describe("createSubmit()", () => {
  test("admits a job with its ticket and says what the acknowledgement stands for", async () => {
    const { send, admissions, verified } = aSubmit();

    const created = await send();

    expect(created).toEqual({
      id: SIGNED_JOB.job.id,
      state: "pending",
      duplicate: false,
      digest: "d".repeat(64),
      queue: "build",
      runner_online: true,
      durability: "everysec",
    });
    expect(verified).toEqual(["alice", EXAMPLE_KEYS.caller]);
    expect(admissions[0]).toMatchObject({
      principal: "alice",
      queue: "build",
      priority: 5,
      maxAttempts: 1,
      onLoss: "retry",
      contextId: "demo",
      isFair: true,
    });
  });

  test("never answers an admitted job as refused because nobody could say whether a runner is there", async () => {
    const unavailable = new SupervisorError("unavailable", { data: { applied: "no" } });
    const { send, admissions } = aSubmit({ isServed: async () => Promise.reject(unavailable) });

    await expect(send()).resolves.toMatchObject({ state: "pending", runner_online: false });
    expect(admissions).toHaveLength(1);
  });

  test("signs the ticket over digest, id, queue and the job's end, as in the vectors", async () => {
    const { send, admissions } = aSubmit();

    await send();

    const ticket: unknown = JSON.parse(admissions[0]?.ticket ?? "");
    expect(ticket).toEqual({
      ...JSON_TICKET,
      body: { ...JSON_TICKET.body, job: "d".repeat(64) },
      signature: A_SIGNATURE,
    });
  });

  test("carries the optional members on, and their defaults where they are absent", async () => {
    const { send, admissions } = aSubmit();
    const { context_id: _context, ...bare } = aJob();

    await send({ ...aJob(), priority: 9, not_before: 1_790_000_060, max_attempts: 3, on_loss: "fail" });
    await send(bare);

    expect(admissions[0]).toMatchObject({ priority: 9, notBefore: 1_790_000_060, maxAttempts: 3, onLoss: "fail" });
    expect(admissions[1]).not.toHaveProperty("contextId");
    expect(admissions[1]).not.toHaveProperty("notBefore");
  });

  test.each([
    [
      "a payload over the limit, counted in bytes",
      { payload: "é".repeat(501) },
      "tooLarge",
      { limit: "max_payload_bytes", allowed: 1000, present: 1002 },
    ],
    [
      "an environment value over the limit",
      { env_vars: { A: "x".repeat(11) } },
      "tooLarge",
      { limit: "max_env_value_bytes", allowed: 10, present: 11 },
    ],
    [
      "an end before the beginning",
      { expires_at: 1_789_999_999 },
      "invalidParams",
      { path: "params.job.expires_at", expected: "at or after created_at" },
    ],
    [
      "a start after the end",
      { not_before: 1_790_003_601 },
      "invalidParams",
      { path: "params.job.not_before", expected: "at or before expires_at" },
    ],
    [
      "a life longer than allowed",
      { expires_at: 1_790_003_601 },
      "stale",
      { now: 1_790_000_030, limit: "max_lifetime_seconds", allowed: 3600, present: 3601 },
    ],
    ["a runner that is not granted", { runner: "prod" }, "forbidden", undefined],
  ] as const)("refuses %s before anything is stored", async (_what, wanted, name, data) => {
    const { send, admissions } = aSubmit();

    await expect(refusal(send(aJob(wanted)))).resolves.toEqual({ name, data });
    expect(admissions).toEqual([]);
  });

  test("refuses a document over its limit", async () => {
    const { send } = aSubmit({ limits: { maxDocumentBytes: 100 } });

    await expect(refusal(send())).resolves.toMatchObject({
      name: "tooLarge",
      data: { limit: "max_document_bytes", allowed: 100 },
    });
  });

  test("refuses a key without the submitter role like a runner that is not granted", async () => {
    const { send } = aSubmit({
      caller: { ...alice, roles: ["observer", "admin", "registrar", "runner"], runners: ["*"] },
    });

    await expect(refusal(send())).resolves.toEqual({ name: "forbidden", data: undefined });
  });

  test("refuses a key beyond its rate, with the time to wait", async () => {
    const { send, admissions } = aSubmit({ waitMs: 250 });

    await expect(refusal(send())).resolves.toEqual({ name: "tooMany", data: { limit: "rate", retry_after_ms: 250 } });
    expect(admissions).toEqual([]);
  });

  test.each([
    { outcome: "duplicate", state: "running" },
    { outcome: "conflict" },
    { outcome: "stale", now: 1 },
    { outcome: "unknown_runner" },
    { outcome: "revoked" },
  ] satisfies Admitted[])("gives the key back what a copy of its job took: $outcome", async (admitted) => {
    const { send, givenBack } = aSubmit({ admitted });

    await send().catch(() => undefined);

    expect(givenBack).toEqual([EXAMPLE_KEYS.caller]);
  });

  test.each([
    { outcome: "new", state: "pending" },
    { outcome: "queue_full", limit: "max_queue_jobs", allowed: 5, present: 5 },
  ] satisfies Admitted[])("counts what is no copy against the key's rate: $outcome", async (admitted) => {
    const { send, givenBack } = aSubmit({ admitted });

    await send().catch(() => undefined);

    expect(givenBack).toEqual([]);
  });

  const twoOfThree: Approvals = { principals: ["ops", "security", "alice"], atLeast: 2 };

  test("admits where enough of the required principals signed, the caller's own signature counting like another", async () => {
    const { send, admissions } = aSubmit({
      principals: ["alice", "bob", "ops"],
      requirements: { build: [twoOfThree, { principals: ["bob"], atLeast: 1 }] },
    });

    await expect(send()).resolves.toMatchObject({ state: "pending" });
    expect(admissions).toHaveLength(1);
  });

  test.each([
    [["alice"], [twoOfThree], 1],
    [["bob"], [twoOfThree], 2],
    [["alice", "ops"], [twoOfThree, { principals: ["root"], atLeast: 1 }], 1],
    [["alice", "ops"], [{ principals: ["a", "b", "c"], atLeast: 3 }, twoOfThree], 3],
  ])(
    "by %j stores nothing where %j is required, and says how many are missing",
    async (principals, required, missing) => {
      const { send, admissions } = aSubmit({ principals, requirements: { build: required } });

      await expect(refusal(send())).resolves.toEqual({ name: "forbidden", data: { approvals_missing: missing } });
      expect(admissions).toEqual([]);
    },
  );

  test("tells a caller without the grant nothing of approvals", async () => {
    const { send } = aSubmit({ caller: { ...alice, runners: [] }, requirements: { build: [twoOfThree] } });

    await expect(refusal(send())).resolves.toEqual({ name: "forbidden", data: undefined });
  });

  test.each([
    [
      { outcome: "duplicate", state: "running" },
      { state: "running", duplicate: true },
    ],
    [
      { outcome: "duplicate", state: "deleted" },
      { state: "deleted", duplicate: true },
    ],
  ] as const)("answers a known job with its present state: %o", async (admitted, expected) => {
    await expect(aSubmit({ admitted }).send()).resolves.toMatchObject(expected);
  });

  test.each([
    [{ outcome: "conflict" }, "conflict", undefined],
    [{ outcome: "revoked" }, "unauthenticated", ERRORS.unauthenticated.data],
    [{ outcome: "unknown_runner" }, "forbidden", undefined],
    [{ outcome: "stale", now: 7 }, "stale", { now: 7 }],
    [
      { outcome: "queue_full", limit: "max_queue_jobs", allowed: 5, present: 5 },
      "tooMany",
      { limit: "max_queue_jobs", allowed: 5, present: 5 },
    ],
  ] as const)("turns the script's %o into its refusal", async (admitted, name, data) => {
    await expect(refusal(aSubmit({ admitted }).send())).resolves.toEqual({ name, data });
  });

  test("stores nothing when the signatures are refused", async () => {
    const admit = vi.fn<() => Promise<Admitted>>();
    const submit = createSubmit({
      identity: signer.publicKey,
      signer,
      jobs: { admit },
      runners: { isServed: async () => true },
      limits: {
        maxPayloadBytes: 1000,
        maxDocumentBytes: 2000,
        maxEnvValueBytes: 10,
        maxLifetimeSeconds: 3600,
        maxQueueJobs: 5,
        maxQueueBytes: 50,
        maxPrincipalJobs: 5,
        maxPrincipalBytes: 50,
      },
      verifySignatures: async () => Promise.reject(new SupervisorError("unauthenticated")),
      requirementsFor: () => [],
      isFair: () => false,
      keyLimit: () => ({ waitMs: 0, giveBack: () => undefined }),
      durability: () => "everysec",
      now: () => 0,
    });

    const sent = submit({ job: aJob(), signatures: [], peer: { transport: "in-process" }, verified: () => undefined });

    await expect(refusal(sent)).resolves.toMatchObject({ name: "unauthenticated" });
    expect(admit).not.toHaveBeenCalled();
  });
});
