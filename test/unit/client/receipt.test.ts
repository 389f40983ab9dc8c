import { describe, expect, test } from "vitest";

import { createAuthenticator } from "../../../src/auth/authenticate.ts";
import { Keyring } from "../../../src/auth/keyring.ts";
import { createVerifier } from "../../../src/auth/native-verifier.ts";
import { type Kind, signDocument, type Signer } from "../../../src/auth/signature.ts";
import type { Enrolment } from "../../../src/client/enrolment.ts";
import { type ReceiptQuestion, type ReceiptVerdict, verifyReceipt } from "../../../src/client/receipt.ts";
import { JOB_VIEW, RUNNER_DOCUMENT, SIGNED_RUNNER } from "../../../src/rpc/examples.ts";
import type {
  JobView,
  LogEntry,
  ReceiptDocument,
  RunnerDocument,
  SignedReceipt,
  TicketDocument,
} from "../../../src/rpc/schema.ts";
import { aSignedCall, aSignedJob, aSigner, anEnrolledKey, objectOf, VECTORS } from "../../support/signing.ts";

const { caller, approver, runner, supervisorA, supervisorB } = VECTORS.keys;
const ENTRIES: readonly LogEntry[] = [
  { attempt: 1, seq: 1, time_ms: 1_790_000_031_100, stream: "stdout", text: "héllo" },
  { attempt: 1, seq: 2, time_ms: 1_790_000_031_150, stream: "stderr", base64: "/w==" },
  { attempt: 1, seq: 3, time_ms: 1_790_000_031_200, stream: "system", text: "exit code 0" },
];

function verdictOn(wanted: Partial<ReceiptQuestion> = {}): ReceiptVerdict {
  return verifyReceipt({ view: JOB_VIEW, supervisor: supervisorA, runnerKeys: [runner], ...wanted });
}

/** The checks that failed. */
function failed(wanted: Partial<ReceiptQuestion>): readonly string[] {
  const { ok, trust, findings } = verdictOn(wanted);
  const bad = findings.filter((finding) => !finding.ok);
  expect(ok).toBe(bad.length === 0);
  expect(trust === "verified" && !ok).toBe(false);
  return bad.map(({ check }) => check);
}

async function signed<Body extends object>(
  kind: Kind,
  body: Body,
  signer: Signer,
): Promise<{ body: Body; public_key: string; signature: string }> {
  const { signature } = await signDocument(signer, kind, body);
  return { body, public_key: signer.publicKey, signature };
}

/** The example's receipt with other members, signed by the runner all the same. */
async function aReceipt(wanted: Partial<ReceiptDocument>, signer = aSigner("runner")): Promise<SignedReceipt> {
  const { receipt } = JOB_VIEW;
  if (receipt === undefined) throw new Error("The example has a receipt.");
  return signed("receipt", { ...receipt.body, ...wanted }, signer);
}

async function aTicket(wanted: Partial<TicketDocument>, signer = aSigner("supervisorA")): Promise<JobView["ticket"]> {
  return signed("ticket", { ...JOB_VIEW.ticket.body, ...wanted }, signer);
}

describe("verifyReceipt", () => {
  test("verifies the vectors' job from the caller's signature to the last log entry", () => {
    const verdict = verdictOn({ entries: ENTRIES });

    expect(verdict).toMatchObject({ ok: true, trust: "verified" });
    expect(verdict.findings.map(({ check, ok }) => `${check} ${ok}`)).toEqual([
      "job true",
      "signatures true",
      "ticket true",
      "receipt true",
      "outcome true",
      "result true",
      "log true",
    ]);
    expect(verdict.findings.every(({ detail }) => detail.length > 0)).toBe(true);
  });

  test("says nothing of a log it was not given", () => {
    expect(verdictOn().findings.map(({ check }) => check)).not.toContain("log");
  });

  test.each([
    ["no key is pinned", []],
    ["another key is pinned", [caller]],
  ])("is only as good as the supervisor's word where %s", (_title, runnerKeys) => {
    expect(verdictOn({ runnerKeys })).toMatchObject({ ok: true, trust: "vouched for by the supervisor" });
  });

  test("finds every fault there is, not the first alone", () => {
    const view = { ...JOB_VIEW, digest: "0".repeat(64), result: { text: "forged" }, signatures: [] };

    expect(failed({ view, entries: [] })).toEqual(["job", "signatures", "ticket", "outcome", "result", "log"]);
  });
});

describe("the job", () => {
  const { env_vars: _env, payload: _payload, ...redacted } = JOB_VIEW.job;

  test.each<readonly [string, Partial<JobView>, readonly string[]]>([
    ["was redacted", { redacted: true, job: redacted }, ["job", "signatures"]],
    ["lost a member", { job: redacted }, ["job", "signatures"]],
    ["has another payload", { job: { ...JOB_VIEW.job, payload: "rm -rf /" } }, ["job", "signatures"]],
    ["has a member more", { job: Object.assign({ sudo: true }, JOB_VIEW.job) }, ["job", "signatures"]],
    ["has no canonical text", { job: { ...JOB_VIEW.job, payload: "\ud800" } }, ["job", "signatures"]],
    ["has another id", { id: "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5c" }, ["job", "ticket", "outcome"]],
    ["is not signed", { signatures: [] }, ["signatures"]],
    ["is signed twice by one key", { signatures: [...JOB_VIEW.signatures, ...JOB_VIEW.signatures] }, ["signatures"]],
    [
      "has a wrong signature",
      { signatures: JOB_VIEW.signatures.map((entry) => ({ ...entry, signature: "0".repeat(128) })) },
      ["signatures"],
    ],
    [
      "is signed by another key alone",
      { signatures: JOB_VIEW.signatures.map((entry) => ({ ...entry, public_key: approver })) },
      ["signatures"],
    ],
  ])("is refused when it %s", (_title, change, checks) => {
    expect(failed({ view: { ...JOB_VIEW, ...change } })).toEqual(checks);
  });

  test("may carry a co-signature, which counts", async () => {
    const { signatures } = await aSignedJob({}, [aSigner(), aSigner("approver")]);
    const [first] = signatures;

    expect(failed({ view: { ...JOB_VIEW, signatures } })).toEqual([]);
    const bad = signatures.map(({ public_key }) => ({ public_key, signature: first?.signature ?? "" }));
    expect(failed({ view: { ...JOB_VIEW, signatures: bad } })).toEqual(["signatures"]);
  });

  test("is refused when it, its ticket and its receipt are for another supervisor than the pinned one", () => {
    expect(failed({ supervisor: supervisorB })).toEqual(["job", "ticket", "receipt"]);
  });
});

describe("the ticket", () => {
  test.each<readonly [string, Partial<TicketDocument>]>([
    ["audience", { aud: supervisorB }],
    ["job", { job: "0".repeat(64) }],
    ["id", { id: "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5c" }],
    ["queue", { queue: "other" }],
    ["end", { exp: 1_790_003_601 }],
  ])("is refused with another %s, although the supervisor signed it", async (_title, change) => {
    expect(failed({ view: { ...JOB_VIEW, ticket: await aTicket(change) } })).toContain("ticket");
  });

  test("is refused when another key signed it, or nobody, or it has a member more", async () => {
    const { ticket } = JOB_VIEW;
    const tickets = [
      await aTicket({}, aSigner("supervisorB")),
      { ...ticket, signature: "0".repeat(128) },
      { ...ticket, public_key: supervisorB },
      { ...ticket, body: { ...ticket.body, iat: ticket.body.iat + 1 } },
      { ...ticket, body: Object.assign({ priority: 9 }, ticket.body) },
    ];
    for (const each of tickets) expect(failed({ view: { ...JOB_VIEW, ticket: each } })).toEqual(["ticket"]);
  });
});

describe("the receipt", () => {
  test.each<readonly [string, Partial<ReceiptDocument>, string]>([
    ["audience", { aud: supervisorB }, "receipt"],
    ["runner", { runner: approver }, "receipt"],
    ["job", { job: "0".repeat(64) }, "outcome"],
    ["id", { id: "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5c" }, "outcome"],
    ["caller", { caller_id: approver }, "outcome"],
    ["queue", { queue: "other" }, "outcome"],
    ["attempt", { attempt: 2 }, "outcome"],
    ["status", { status: "failed" }, "outcome"],
    ["code", { code: 1 }, "outcome"],
    ["result", { result: "0".repeat(64) }, "result"],
    ["result length", { result_len: 4 }, "result"],
    ["log head", { logs: "0".repeat(64) }, "log"],
    ["log length", { logs_count: 2 }, "log"],
  ])("is refused with another %s, although the runner signed it", async (_title, change, check) => {
    expect(failed({ view: { ...JOB_VIEW, receipt: await aReceipt(change) }, entries: ENTRIES })[0]).toBe(check);
  });

  test("is refused when nobody signed it, or it has a member more", async () => {
    const receipt = await aReceipt({});
    const receipts = [
      { ...receipt, signature: "0".repeat(128) },
      { ...receipt, public_key: approver },
      { ...receipt, body: Object.assign({ bonus: 1 }, receipt.body) },
    ];
    for (const each of receipts) expect(failed({ view: { ...JOB_VIEW, receipt: each } })).toEqual(["receipt"]);
  });

  test("is missed where there is none", () => {
    const { receipt: _receipt, ...view } = JOB_VIEW;

    expect(verdictOn({ view })).toMatchObject({ ok: false, trust: "vouched for by the supervisor" });
    expect(failed({ view })).toEqual(["receipt"]);
  });

  test("of an attempt that failed says nothing of a job that was cancelled afterwards", async () => {
    const receipt = await aReceipt({ status: "failed", code: 1 });

    expect(failed({ view: { ...JOB_VIEW, receipt, state: "cancelled", code: 1 } })).toEqual(["outcome"]);
  });
});

describe("the result", () => {
  test("counts as empty where there is none", async () => {
    const { result: _result, ...view } = JOB_VIEW;
    const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const receipt = await aReceipt({ result: empty, result_len: 0 });

    expect(failed({ view: { ...view, receipt } })).toEqual([]);
    expect(failed({ view })).toEqual(["result"]);
  });

  test("is read as base64 where it is no text", () => {
    expect(failed({ view: { ...JOB_VIEW, result: { base64: btoa("ok\n") } } })).toEqual([]);
    expect(failed({ view: { ...JOB_VIEW, result: { base64: "?" } } })).toEqual(["result"]);
  });

  test("is refused when it is told twice: one would be checked, and another shown", () => {
    const result = { text: "forged", base64: btoa("ok\n") };

    expect(failed({ view: { ...JOB_VIEW, result } })).toEqual(["result"]);
  });
});

describe("the log", () => {
  const [first, second, third] = ENTRIES;

  test("leaves out the entries of other attempts", () => {
    const other: LogEntry = { attempt: 2, seq: 1, time_ms: 0, stream: "stdout", text: "again" };

    expect(failed({ entries: [...ENTRIES, other] })).toEqual([]);
  });

  test("names the first entry that is missing", () => {
    const { findings } = verdictOn({ entries: ENTRIES.filter(({ seq }) => seq !== 2) });

    expect(findings.find(({ check }) => check === "log")?.detail).toBe("entry 2 is missing, 3 stands in its place");
  });

  test.each<readonly [string, readonly (LogEntry | undefined)[]]>([
    ["the first entry is missing", [second, third]],
    ["the last entry is missing", [first, second]],
    ["one in the middle is missing", [first, third]],
    ["two changed places", [second, first, third]],
    ["one was added", [...ENTRIES, { attempt: 1, seq: 4, time_ms: 0, stream: "stdout", text: "x" }]],
    ["one was changed", [first, second, { attempt: 1, seq: 3, time_ms: 0, stream: "system", text: "exit code 0" }]],
    ["one has no text", [first, second, { attempt: 1, seq: 3, time_ms: 0, stream: "system" }]],
    ["one is told twice", [first && { ...first, base64: "Zm9yZ2Vk" }, second, third]],
    ["there is none", []],
  ])("is refused when %s", (_title, entries) => {
    expect(failed({ entries: entries.filter((entry) => entry !== undefined) })).toEqual(["log"]);
  });
});

interface EnrolmentWishes {
  readonly document?: RunnerDocument;
  readonly method?: string;
  /** Other parameters than the registration's own. */
  readonly params?: object;
}

/** A registration, and its call as the supervisor stores it, which its own authenticator makes. */
async function anEnrolment({
  document = RUNNER_DOCUMENT,
  method = "register_runner",
  params,
}: EnrolmentWishes = {}): Promise<Enrolment> {
  const registration = await signed("runner", document, aSigner("runner"));
  const authenticator = createAuthenticator({
    identity: supervisorA,
    keyring: new Keyring([anEnrolledKey({ key: approver })], () => 0),
    verifier: createVerifier({ crypto: "noble", maxInFlight: 1 }),
    replay: { claimNonce: async () => ({ outcome: "fresh" }) },
  });
  const call = await aSignedCall({
    signer: aSigner("approver"),
    method,
    params: params ?? { registration: registration.body, signature: registration.signature },
  });
  const { signedText } = await authenticator.authenticateCall({ ...call, peer: { transport: "http" } });
  return { registration, call: signedText };
}

function trustIn(enrolment: Enrolment, wanted: Partial<ReceiptQuestion> = {}): string {
  return verdictOn({ runnerKeys: [], registrarKeys: [approver], enrolment, ...wanted }).trust;
}

describe("a runner that a pinned registrar enrolled", () => {
  test("is verified", async () => {
    expect(trustIn(await anEnrolment())).toBe("verified");
  });

  test("is vouched for only, where the registrar is not pinned", async () => {
    const enrolment = await anEnrolment();

    expect(trustIn(enrolment, { registrarKeys: [caller] })).toBe("vouched for by the supervisor");
    expect(verdictOn({ runnerKeys: [], enrolment }).trust).toBe("vouched for by the supervisor");
  });

  test.each<readonly [string, (enrolment: Enrolment) => Enrolment | Promise<Enrolment>]>([
    ["the call is no JSON", (enrolment) => ({ ...enrolment, call: "register" })],
    ["the call is null", (enrolment) => ({ ...enrolment, call: "null" })],
    [
      "the call has no signature",
      ({ call, registration }) => {
        const { sig: _sig, ...unsigned } = objectOf(call);
        return { registration, call: JSON.stringify(unsigned) };
      },
    ],
    [
      "the call's signature is wrong",
      ({ call, registration }) => ({
        registration,
        call: JSON.stringify({ ...objectOf(call), sig: "0".repeat(128) }),
      }),
    ],
    [
      "the call was made to another supervisor",
      ({ call, registration }) => ({
        registration,
        call: JSON.stringify({ ...objectOf(call), aud: supervisorB }),
      }),
    ],
    ["the call is another method's", async () => anEnrolment({ method: "remove_runner" })],
    [
      "the call registers something else",
      async () => anEnrolment({ params: { registration: RUNNER_DOCUMENT, signature: "0".repeat(128) } }),
    ],
    ["the call has no parameters", async () => anEnrolment({ params: {} })],
    [
      "the registration is not signed by the runner",
      (enrolment) => ({
        ...enrolment,
        registration: { ...SIGNED_RUNNER, signature: "0".repeat(128) },
      }),
    ],
    [
      "the registration names another key",
      (enrolment) => ({
        ...enrolment,
        registration: { ...SIGNED_RUNNER, public_key: approver },
      }),
    ],
    [
      "the registration bears other names than the queue's",
      async () => anEnrolment({ document: { ...RUNNER_DOCUMENT, groups: ["test"] } }),
    ],
    [
      "the registration is for another supervisor",
      async () => anEnrolment({ document: { ...RUNNER_DOCUMENT, aud: supervisorB } }),
    ],
    [
      "the registration is of another key",
      async () => anEnrolment({ document: { ...RUNNER_DOCUMENT, key: approver } }),
    ],
    [
      "the registration has a member more",
      (enrolment) => ({
        ...enrolment,
        registration: { ...SIGNED_RUNNER, body: Object.assign({ root: true }, RUNNER_DOCUMENT) },
      }),
    ],
  ])("is vouched for only, when %s", async (_title, change) => {
    expect(trustIn(await change(await anEnrolment()))).toBe("vouched for by the supervisor");
  });

  test("does not make a bad receipt good", async () => {
    expect(trustIn(await anEnrolment(), { view: { ...JOB_VIEW, result: { text: "forged" } } })).toBe(
      "vouched for by the supervisor",
    );
  });
});
