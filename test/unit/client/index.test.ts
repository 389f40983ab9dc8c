import { expect, test } from "vitest";

import * as client from "../../../src/client/index.ts";
import { EXAMPLE_KEYS } from "../../../src/rpc/examples.ts";
import { aDialer } from "../../support/stub-dialer.ts";

test("the public door has what a program needs, and nothing by accident", () => {
  expect(Object.keys(client).toSorted()).toEqual([
    "CarrierError",
    "ERRORS",
    "ReceiptError",
    "RpcError",
    "SupervisorClient",
    "buildJob",
    "coSignJob",
    "createSigner",
    "followEvents",
    "followLogs",
    "followStates",
    "generateSeed",
    "isPublicKey",
    "retryAfterMs",
    "signDocument",
    "signJob",
    "verifyReceipt",
    "waitForResult",
  ]);
});

test("a program submits a job with the public door alone", async () => {
  const signer = client.createSigner(client.generateSeed());
  const supervisor = EXAMPLE_KEYS.supervisor;
  const dialer = aDialer(({ params }) => {
    expect(params).toMatchObject({
      job: { runner: "demo", aud: supervisor },
      signatures: [{ public_key: signer.publicKey }],
    });
    return { error: { code: client.ERRORS.forbidden.code, message: client.ERRORS.forbidden.message } };
  });
  const job = client.buildJob({ supervisor, caller: signer.publicKey, runner: "demo", payload: "echo hello" });
  const supervisorClient = new client.SupervisorClient({ dialer, signer, supervisor });

  await expect(supervisorClient.submitJob(await client.signJob(signer, job))).rejects.toThrow(client.RpcError);
});
