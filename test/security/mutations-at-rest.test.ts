/** Mutations of what is read at rest: tickets and documents by a runner, receipts by whoever checks them offline. */
import { Check } from "typebox/schema";
import { describe, expect, test } from "vitest";

import { canonicalText } from "../../src/auth/canonical-json.ts";
import { createVerifier } from "../../src/auth/native-verifier.ts";
import { signDocument } from "../../src/auth/signature.ts";
import { verifyReceipt } from "../../src/client/receipt.ts";
import { JOB_VIEW } from "../../src/rpc/examples.ts";
import { SignedReceipt } from "../../src/rpc/schema.ts";
import { createJobVerifier } from "../../src/runner/job-verifier.ts";
import type { ClaimedJob } from "../../src/runner/source.ts";
import { aJob } from "../support/builders.ts";
import { isSame, type Mutation, someMutations } from "../support/mutations.ts";
import { aSigner, VECTORS } from "../support/signing.ts";
import { isSampled, SAMPLE } from "./sample.ts";

const SEED = 20_261_124;
const COUNTS = { ticket: 2800, document: 2000, receipt: 200 } as const;
const { supervisorA, runner } = VECTORS.keys;

async function aTicket(wanted: object): Promise<object> {
  const body = { ...JOB_VIEW.ticket.body, ...wanted };
  const { signature } = await signDocument(aSigner("supervisorA"), "ticket", body);
  return { ...JOB_VIEW.ticket, body, signature };
}

function canonicalOf(value: unknown): string {
  const canonical = canonicalText(value);
  if (!canonical.ok) throw new TypeError(canonical.reason);
  return canonical.text;
}

/** The example's job as a runner of its queue claims it. */
const claimed: ClaimedJob = {
  document: canonicalOf(JOB_VIEW.job),
  signatures: JSON.stringify(JOB_VIEW.signatures),
  ticket: JSON.stringify(JOB_VIEW.ticket),
  lease: { id: JOB_VIEW.id, attempt: 1, token: "0".repeat(32) },
  queue: JOB_VIEW.ticket.body.queue,
  isCancelling: false,
};

const verifier = createJobVerifier({
  supervisor: supervisorA,
  queues: [JOB_VIEW.ticket.body.queue],
  verifier: createVerifier({ crypto: "native", maxInFlight: 16 }),
  now: () => JOB_VIEW.ticket.body.iat * 1000,
});

function sampled(count: number, document: object, donors: readonly object[]): readonly Mutation[] {
  return someMutations(count, document, donors, SEED).filter((_, index) => isSampled(index));
}

describe(`mutations (seed ${SEED}, ${SAMPLE})`, () => {
  test(`of a ticket, as the runner reads it: ${COUNTS.ticket}`, async () => {
    const donors = [await aTicket({ queue: "other" }), await aTicket({ exp: 1 }), JOB_VIEW.receipt ?? {}];
    expect(await verifier.verify(claimed)).toMatchObject({ ok: true });

    const wrong: unknown[] = [];
    let same = 0;
    let all = 0;
    for (const { name, bytes } of sampled(COUNTS.ticket, JOB_VIEW.ticket, donors)) {
      const ticket = bytes.toString();
      const isGood = isSame(Buffer.from(ticket), JOB_VIEW.ticket);
      const { ok } = await verifier.verify({ ...claimed, ticket });
      if (ok !== isGood) wrong.push({ name, ticket });
      if (isGood) same += 1;
      all += 1;
    }

    expect(wrong.slice(0, 3)).toEqual([]);
    expect(same).toBeGreaterThan(all / 20);
    expect(same).toBeLessThan(all / 2);
  });

  test(`of a document in the queue, which is its canonical text or nothing: ${COUNTS.document}`, async () => {
    const wrong: unknown[] = [];
    for (const { name, bytes } of sampled(COUNTS.document, JOB_VIEW.job, [
      aJob({ payload: "other", runner: "other" }),
    ])) {
      const document = bytes.toString();
      const { ok } = await verifier.verify({ ...claimed, document });
      if (ok !== (document === claimed.document)) wrong.push({ name, document });
    }

    expect(wrong.slice(0, 3)).toEqual([]);
  });

  test(`of a receipt, as its reader checks it: ${COUNTS.receipt}`, async () => {
    const { receipt } = JOB_VIEW;
    if (receipt === undefined) throw new Error("The example has no receipt.");
    const pinned = { supervisor: supervisorA, runnerKeys: [runner] };
    expect(verifyReceipt({ view: JOB_VIEW, ...pinned }).trust).toBe("verified");

    const wrong: unknown[] = [];
    for (const { name, bytes } of sampled(COUNTS.receipt, receipt, [JOB_VIEW.ticket])) {
      let read: unknown;
      try {
        read = JSON.parse(bytes.toString());
      } catch {
        // Nobody reads it at all.
        continue;
      }
      // What has not its shape no client takes from an answer.
      if (!Check(SignedReceipt, read)) continue;
      const { trust } = verifyReceipt({ view: Object.assign({}, JOB_VIEW, { receipt: read }), ...pinned });
      const isGood = isSame(Buffer.from(JSON.stringify(read)), receipt);
      if ((trust === "verified") !== isGood) wrong.push({ name, text: bytes.toString() });
    }

    expect(wrong.slice(0, 3)).toEqual([]);
  });
});
