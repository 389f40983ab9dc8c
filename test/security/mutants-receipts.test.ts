/**
 * Each check of a receipt (spec: signing, "Ticket, registration, receipt") × the lie that only it stops: the client does
 * not believe it, and a copy of the source without that check does.
 */
import { type Kind, signDocument, type Signer } from "../../src/auth/signature.ts";
import { JOB_VIEW } from "../../src/rpc/examples.ts";
import type { JobView, LogEntry, ReceiptDocument, TicketDocument } from "../../src/rpc/schema.ts";
import * as whole from "../support/build-under-test.ts";
import { type Build, describeMutants, type MutantRow, withoutCheck as off } from "../support/mutants.ts";
import { aSigner, VECTORS } from "../support/signing.ts";
import type { Change } from "../support/source-modules.ts";

const { approver, supervisorA, supervisorB, runner } = VECTORS.keys;
const ZEROS = "0".repeat(64);
const OTHER_ID = "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5c";
const RECEIPT = "client/receipt.ts";

const ENTRIES: readonly LogEntry[] = [
  { attempt: 1, seq: 1, time_ms: 1, stream: "stdout", text: "first" },
  { attempt: 1, seq: 2, time_ms: 2, stream: "stdout", text: "second" },
];

async function signed<Body extends object>(kind: Kind, body: Body, by: Signer) {
  return { body, public_key: by.publicKey, signature: (await signDocument(by, kind, body)).signature };
}

/** The example with another receipt or ticket, signed by whom it should be: does the client find it good? */
async function believed(
  build: Build,
  {
    receipt,
    ticket,
    view,
    signer = aSigner("runner"),
    ticketSigner = aSigner("supervisorA"),
    runnerKeys = [runner],
    entries,
  }: {
    readonly receipt?: Partial<ReceiptDocument>;
    readonly ticket?: Partial<TicketDocument>;
    readonly view?: Partial<JobView>;
    readonly signer?: Signer;
    readonly ticketSigner?: Signer;
    readonly runnerKeys?: readonly string[];
    readonly entries?: readonly LogEntry[];
  },
): Promise<boolean> {
  const present = JOB_VIEW.receipt;
  if (present === undefined) throw new Error("The example has a receipt.");
  const verdict = build.verifyReceipt({
    view: {
      ...JOB_VIEW,
      receipt: await signed("receipt", { ...present.body, ...receipt }, signer),
      ticket: await signed("ticket", { ...JOB_VIEW.ticket.body, ...ticket }, ticketSigner),
      ...view,
    },
    supervisor: supervisorA,
    runnerKeys,
    ...(entries === undefined ? {} : { entries }),
  });
  return verdict.ok && verdict.trust === "verified";
}

/** A log with this change, checked against a receipt over the one without. */
async function believedLog(build: Build, entries: readonly LogEntry[]): Promise<boolean> {
  const chain = new build.LogChain();
  for (const entry of ENTRIES) chain.append(build.logEntryText(entry));
  return believed(build, { receipt: { logs: chain.head, logs_count: chain.count }, entries });
}

/** A member that must be what the view says, taken out of the comparison. */
const member = (from: string): Change => ({ file: RECEIPT, from, to: "" });

const RECEIPTS: readonly MutantRow[] = [
  [
    "nothing was left out",
    off(RECEIPT, "if (view.redacted) return"),
    async (build) => believed(build, { view: { redacted: true } }),
  ],
  [
    "the job is for the pinned supervisor, ticket and receipt too",
    { file: RECEIPT, from: "{ aud: supervisor, job: digest, id, queue", to: "{ job: digest, id, queue" },
    async (build) => believed(build, { ticket: { aud: supervisorB } }),
  ],
  [
    "the ticket is signed by the pinned supervisor",
    {
      file: RECEIPT,
      from: '(isSigned("ticket", body, { key: supervisor, signature }) ? undefined : "the ticket\'s signature is wrong")',
      to: "undefined",
    },
    async (build) => believed(build, { view: { ticket: { ...JOB_VIEW.ticket, signature: "0".repeat(128) } } }),
  ],
  [
    "the receipt is signed by the runner",
    {
      file: RECEIPT,
      from: '(isSigned("receipt", body, { key: public_key, signature }) ? undefined : "the receipt\'s signature is wrong")',
      to: "undefined",
    },
    async (build) =>
      believed(build, {
        view: JOB_VIEW.receipt === undefined ? {} : { receipt: { ...JOB_VIEW.receipt, signature: "0".repeat(128) } },
      }),
  ],
  [
    "the ticket is for this content",
    { file: RECEIPT, from: "aud: supervisor, job: digest, id,", to: "aud: supervisor, id," },
    async (build) => believed(build, { ticket: { job: ZEROS } }),
  ],
  [
    "the ticket is for this id",
    { file: RECEIPT, from: "job: digest, id, queue: job.runner", to: "job: digest, queue: job.runner" },
    async (build) => believed(build, { ticket: { id: OTHER_ID } }),
  ],
  [
    "the ticket ends with the job",
    { file: RECEIPT, from: ", exp: job.expires_at }", to: " }" },
    async (build) => believed(build, { ticket: { exp: 1 } }),
  ],
  [
    "the receipt is for the pinned supervisor",
    { file: RECEIPT, from: "{ aud: supervisor, runner: public_key }", to: "{ runner: public_key }" },
    async (build) => believed(build, { receipt: { aud: supervisorB } }),
  ],
  [
    "the receipt names the key that signed it",
    { file: RECEIPT, from: "{ aud: supervisor, runner: public_key }", to: "{ aud: supervisor }" },
    async (build) => believed(build, { signer: aSigner("approver") }),
  ],
  [
    "the receipt is for this content",
    member("    job: digest,\n"),
    async (build) => believed(build, { receipt: { job: ZEROS } }),
  ],
  ["the receipt is for this id", member("    id,\n"), async (build) => believed(build, { receipt: { id: OTHER_ID } })],
  [
    "the receipt is for this caller",
    member("    caller_id: job.caller_id,\n"),
    async (build) => believed(build, { receipt: { caller_id: approver } }),
  ],
  [
    "the receipt is for this queue",
    member("    queue: ticket.body.queue,\n"),
    async (build) => believed(build, { receipt: { queue: "other" } }),
  ],
  [
    "the receipt is of this attempt",
    member("    attempt,\n"),
    async (build) => believed(build, { receipt: { attempt: 7 } }),
  ],
  [
    "the receipt says this state",
    member("    status: state,\n"),
    async (build) => believed(build, { receipt: { status: "failed" } }),
  ],
  [
    "the receipt says this code",
    { file: RECEIPT, from: "    code,\n  };", to: "  };" },
    async (build) => believed(build, { receipt: { code: 9 } }),
  ],
  [
    "the result is the one that was hashed",
    { file: RECEIPT, from: ", result: digestOf(bytes) }", to: " }" },
    async (build) => believed(build, { receipt: { result: ZEROS } }),
  ],
  [
    "the result is as long as was said",
    { file: RECEIPT, from: "{ result_len: bytes.length, result", to: "{ result" },
    async (build) => believed(build, { receipt: { result_len: 99 } }),
  ],
  [
    "the result is told once",
    off(RECEIPT, "if (text !== undefined && base64 !== undefined) return"),
    async (build) =>
      believed(build, { view: { result: { text: "forged", base64: btoa(JOB_VIEW.result?.text ?? "") } } }),
  ],
  [
    "the log has as many entries as was said",
    { file: RECEIPT, from: "{ logs_count: chain.count, logs: chain.head }", to: "{ logs: chain.head }" },
    async (build) => believed(build, { receipt: { logs: ZEROS, logs_count: 3 }, entries: [] }),
  ],
  [
    "the log is the one that was hashed",
    { file: RECEIPT, from: "{ logs_count: chain.count, logs: chain.head }", to: "{ logs_count: chain.count }" },
    async (build) => believed(build, { receipt: { logs: ZEROS, logs_count: 2 }, entries: ENTRIES }),
  ],
  [
    "each entry of the log stands in its place",
    off(RECEIPT, "if (entry.seq !== chain.count + 1) return"),
    async (build) => {
      const renumbered = ENTRIES.map((entry) => ({ ...entry, seq: entry.seq + 5 }));
      const chain = new build.LogChain();
      for (const entry of renumbered) chain.append(build.logEntryText(entry));
      return believed(build, { receipt: { logs: chain.head, logs_count: 2 }, entries: renumbered });
    },
  ],
  [
    "each entry hangs on those before it",
    { file: "auth/log-chain.ts", from: "this.#head, new Uint8Array(index.buffer)", to: "new Uint8Array(index.buffer)" },
    async (build) =>
      believedLog(
        build,
        ENTRIES.map((entry) => (entry.seq === 1 ? { ...entry, text: "forged" } : entry)),
      ),
  ],
  [
    "each entry's own text is hashed",
    { file: "auth/log-chain.ts", from: ", sha256(encoder.encode(entryText))", to: "" },
    async (build) =>
      believedLog(
        build,
        ENTRIES.map((entry) => ({ ...entry, text: "forged" })),
      ),
  ],
  [
    "the runner's key is pinned",
    { file: RECEIPT, from: "if (runnerKeys.includes(receipt.runner)) return true;", to: "return true;" },
    async (build) => believed(build, { runnerKeys: [approver] }),
  ],
];

describeMutants(RECEIPTS, async () => [await believed(whole, {}), await believedLog(whole, ENTRIES)]);
