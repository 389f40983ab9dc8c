import { describe, expect, test } from "vitest";

import { EXAMPLE_KEYS, JOB_VIEW } from "../../../src/rpc/examples.ts";
import { signReceipt } from "../../../src/runner/receipt.ts";
import { aJob } from "../../support/builders.ts";
import { aSigner, VECTORS } from "../../support/signing.ts";

describe("signReceipt", () => {
  test("gives the receipt of the shared vectors, byte for byte", async () => {
    const receipt = await signReceipt(aSigner("runner"), {
      supervisor: EXAMPLE_KEYS.supervisor,
      job: aJob(),
      digest: JOB_VIEW.digest,
      queue: "build",
      attempt: 1,
      status: "completed",
      code: 0,
      startedMs: 1_790_000_031_000,
      finishedMs: 1_790_000_031_250,
      result: Buffer.from(VECTORS.result.bytes_utf8),
      logs: { head: VECTORS.log_chain.heads.at(-1) ?? "", count: VECTORS.log_chain.heads.length },
    });

    expect(receipt).toEqual(JOB_VIEW.receipt);
  });
});
