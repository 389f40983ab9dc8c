import { describe, expect, test } from "vitest";

import { SupervisorError } from "../../../src/errors.ts";
import type { CallOutcome } from "../../../src/rpc/entry.ts";
import { SIGNED_JOB } from "../../../src/rpc/examples.ts";
import { aDispatcher, aRequest, send } from "../../support/dispatcher.ts";

/** The outcome of the one entry of a message. */
async function outcomeOf(message: unknown, wanted: Parameters<typeof aDispatcher>[0] = {}): Promise<CallOutcome> {
  const outcomes: CallOutcome[] = [];
  await send(aDispatcher({ ...wanted, onCall: (outcome) => void outcomes.push(outcome) }), message);
  const [first] = outcomes;
  if (first === undefined) throw new Error("No outcome");
  return first;
}

const { id, runner, caller_id: caller } = SIGNED_JOB.job;

describe("what a call was about", () => {
  test("is the job and the runner of checked params, the key that was claimed, and the digest once it is verified", async () => {
    const admitted = await outcomeOf({ jsonrpc: "2.0", id: 1, method: "create_job", params: SIGNED_JOB });
    const refused = await outcomeOf(aRequest("cancel_job", { id, auth: { key: caller } }), {
      authenticate: async () => Promise.reject(new SupervisorError("unauthenticated")),
    });

    expect(admitted).toMatchObject({ effect: "change", code: 0, subject: { job: id, runner, claimedKey: caller } });
    expect(refused).toMatchObject({
      effect: "change",
      code: -32_001,
      reason: "Unauthenticated",
      subject: { job: id, claimedKey: caller },
      verified: [],
    });
  });

  test.each([
    ["params the schema refuses", { id: "../../etc", auth: {} }],
    ["a key that is none", { id, auth: { key: "ed25519:\nforged" } }],
    ["a credential that is no object", { id, auth: "x" }],
  ])("holds no text of the caller's making: %s", async (_what, params) => {
    const outcome = await outcomeOf(aRequest("cancel_job", params), {
      authenticate: async () => Promise.reject(new SupervisorError("unauthenticated")),
    });

    expect(JSON.stringify(outcome.subject)).not.toMatch(/etc|forged|"x"/);
    expect(outcome.subject.claimedKey).toBeUndefined();
  });

  test("has no effect where a change came as a notification, which nobody carried out", async () => {
    const { id: _id, ...notification } = { jsonrpc: "2.0", id: 1, method: "create_job", params: SIGNED_JOB };

    expect(await outcomeOf(notification)).not.toHaveProperty("effect");
  });
});
