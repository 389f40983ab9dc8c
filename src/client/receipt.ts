/** Checks what a job's runner signed, without trusting supervisor or Redis (spec: signing, "Ticket, registration, receipt"). */
import { Check } from "typebox/schema";

import { canonicalText } from "../auth/canonical-json.ts";
import { LogChain, logEntryText } from "../auth/log-chain.ts";
import { digestOf, type Kind, signingInput, verifySignature } from "../auth/signature.ts";
import { counted } from "../counted.ts";
import { errorText } from "../errors.ts";
import {
  JobDocument,
  type JobView,
  type LogEntry,
  type ReceiptDocument,
  SignedReceipt,
  SignedTicket,
} from "../rpc/schema.ts";
import { type Enrolment, isEnrolledBy } from "./enrolment.ts";

export interface ReceiptQuestion {
  /** A job as `get_job` gives it, whole: a redacted one can not be checked. */
  readonly view: JobView;
  /** The job's log, all of it (other attempts' entries are left out); absent: the log is not checked. */
  readonly entries?: readonly LogEntry[];
  /** The supervisor's pinned identity. */
  readonly supervisor: string;
  /** Keys of runners that the asker pinned. */
  readonly runnerKeys?: readonly string[];
  /** Keys of registrars that the asker pinned; they count together with `enrolment`. */
  readonly registrarKeys?: readonly string[];
  /** The runner's registration and the call that brought it. */
  readonly enrolment?: Enrolment;
}

/** One check and how it went. */
export interface ReceiptFinding {
  readonly check: "job" | "signatures" | "ticket" | "receipt" | "outcome" | "result" | "log";
  readonly ok: boolean;
  /** In words. */
  readonly detail: string;
}

export interface ReceiptVerdict {
  /** Every check was good. */
  readonly ok: boolean;
  /** `verified` only where all is good and the runner's key is pinned, itself or by its registrar. */
  readonly trust: "verified" | "vouched for by the supervisor";
  readonly findings: readonly ReceiptFinding[];
}

/** What a check says when it fails; undefined: all well. */
type Fault = string | undefined;

/**
 * Checks the job's signatures, its ticket, and the runner's receipt with every member of it. Never throws: what can not be
 * checked is a finding that is not ok.
 */
export function verifyReceipt(question: ReceiptQuestion): ReceiptVerdict {
  const { view, entries, supervisor } = question;
  const signed = view.receipt;
  const findings = [
    finding("job", jobFault(view, supervisor), `the document is the one with digest ${view.digest}`),
    finding(
      "signatures",
      signaturesFault(view),
      `signed by ${view.signatures.map((entry) => entry.public_key).join(", ")}`,
    ),
    finding("ticket", ticketFault(view, supervisor), `admitted to queue ${view.ticket.body.queue}`),
    finding("receipt", receiptFault(signed, supervisor), `signed by runner key ${signed?.public_key}`),
  ];
  if (signed !== undefined) {
    findings.push(
      finding("outcome", outcomeFault(view, signed.body), `attempt ${signed.body.attempt} ${signed.body.status}`),
      finding(
        "result",
        resultFault(view, signed.body),
        `${counted(signed.body.result_len, "byte")} as the runner hashed them`,
      ),
    );
  }
  if (signed !== undefined && entries !== undefined) {
    findings.push(
      finding(
        "log",
        logFault(entries, signed.body),
        `${counted(signed.body.logs_count, "entry", "entries")}, none missing`,
      ),
    );
  }
  const ok = findings.every((each) => each.ok);
  const isVerified = ok && signed !== undefined && isPinned(signed.body, question);
  return { ok, trust: isVerified ? "verified" : "vouched for by the supervisor", findings };
}

function finding(check: ReceiptFinding["check"], fault: Fault, detail: string): ReceiptFinding {
  return { check, ok: fault === undefined, detail: fault ?? detail };
}

function jobFault(view: JobView, supervisor: string): Fault {
  if (view.redacted) return "parts of the job were left out: ask with the owner's key";
  if (!Check(JobDocument, view.job)) return "the document is not a job";
  if (view.job.aud !== supervisor) return `the job is for ${view.job.aud}, the pinned supervisor is ${supervisor}`;
  if (view.job.id !== view.id) return `the document's id is ${view.job.id}, asked was ${view.id}`;
  const digest = documentDigest("job", view.job);
  return digest === view.digest ? undefined : `the document's digest is ${digest}, the supervisor says ${view.digest}`;
}

function signaturesFault({ job, signatures }: JobView): Fault {
  const input = documentInput("job", job);
  if (input === undefined) return "the document has no canonical text";
  const signers = new Set(signatures.map((entry) => entry.public_key));
  if (signers.size !== signatures.length) return "one key signed twice";
  if (job.caller_id === undefined || !signers.has(job.caller_id)) return "the caller's own signature is missing";
  const bad = signatures.find((entry) => !verifySignature(entry.public_key, entry.signature, input));
  return bad === undefined ? undefined : `the signature of ${bad.public_key} is wrong`;
}

function ticketFault({ ticket, id, digest, job }: JobView, supervisor: string): Fault {
  if (!Check(SignedTicket, ticket)) return "the ticket has not the shape of one";
  if (ticket.public_key !== supervisor) return `the ticket is by ${ticket.public_key}, not by the pinned supervisor`;
  const { body, signature } = ticket;
  return (
    differing(body, { aud: supervisor, job: digest, id, queue: job.runner, exp: job.expires_at }, "ticket") ??
    (isSigned("ticket", body, { key: supervisor, signature }) ? undefined : "the ticket's signature is wrong")
  );
}

function receiptFault(signed: SignedReceipt | undefined, supervisor: string): Fault {
  if (signed === undefined) return "there is none: no attempt has come to its end";
  if (!Check(SignedReceipt, signed)) return "the receipt has not the shape of one";
  const { body, public_key, signature } = signed;
  return (
    differing(body, { aud: supervisor, runner: public_key }, "receipt") ??
    (isSigned("receipt", body, { key: public_key, signature }) ? undefined : "the receipt's signature is wrong")
  );
}

/** Is it the receipt of this job's end? One of an earlier attempt says nothing about a job that was cancelled later. */
function outcomeFault(view: JobView, receipt: ReceiptDocument): Fault {
  const { digest, id, job, ticket, attempt, state, code } = view;
  const expected = {
    job: digest,
    id,
    caller_id: job.caller_id,
    queue: ticket.body.queue,
    attempt,
    status: state,
    code,
  };
  return differing(receipt, expected, "receipt");
}

function resultFault({ result }: JobView, receipt: ReceiptDocument): Fault {
  let bytes: Uint8Array;
  try {
    const { text, base64 } = result ?? {};
    // Only one of them would be checked, and a reader may be shown the other.
    if (text !== undefined && base64 !== undefined) return "the result is told twice, as text and as base64";
    bytes = base64 === undefined ? new TextEncoder().encode(text ?? "") : fromBase64(base64);
  } catch (error) {
    return `the result is not base64: ${errorText(error)}`;
  }
  return differing(receipt, { result_len: bytes.length, result: digestOf(bytes) }, "receipt");
}

function logFault(entries: readonly LogEntry[], receipt: ReceiptDocument): Fault {
  const chain = new LogChain();
  for (const entry of entries.filter(({ attempt }) => attempt === receipt.attempt)) {
    if (entry.text !== undefined && entry.base64 !== undefined) return `entry ${entry.seq} is told twice`;
    if (entry.seq !== chain.count + 1) return `entry ${chain.count + 1} is missing, ${entry.seq} stands in its place`;
    try {
      chain.append(logEntryText(entry));
    } catch (error) {
      return errorText(error);
    }
  }
  return differing(receipt, { logs_count: chain.count, logs: chain.head }, "receipt");
}

function isPinned(receipt: ReceiptDocument, question: ReceiptQuestion): boolean {
  const { supervisor, runnerKeys = [], registrarKeys = [], enrolment } = question;
  if (runnerKeys.includes(receipt.runner)) return true;
  return enrolment !== undefined && isEnrolledBy({ ...enrolment, registrarKeys, supervisor, receipt });
}

/** The first member of a document that is not what it must be, in words. */
function differing(body: object, expected: Readonly<Record<string, unknown>>, title: string): Fault {
  const members = new Map<string, unknown>(Object.entries(body));
  for (const [name, value] of Object.entries(expected)) {
    const present = members.get(name);
    if (present !== value) return `the ${title}'s ${name} is ${String(present)}, it should be ${String(value)}`;
  }
  return undefined;
}

function documentInput(kind: Kind, body: object): Uint8Array | undefined {
  const canonical = canonicalText(body);
  return canonical.ok ? signingInput(kind, canonical.text) : undefined;
}

function documentDigest(kind: Kind, body: object): string | undefined {
  const input = documentInput(kind, body);
  return input === undefined ? undefined : digestOf(input);
}

function isSigned(kind: Kind, body: object, by: { readonly key: string; readonly signature: string }): boolean {
  const input = documentInput(kind, body);
  return input !== undefined && verifySignature(by.key, by.signature, input);
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}
