/** A client repeats a submission whose answer was lost: the same signed bytes, one job, whatever the repeat is told. */
import { afterEach, expect, test } from "vitest";

import { buildJob, CarrierError, RpcError, signJob, SupervisorClient } from "../../../src/client/index.ts";
import type { Dialer } from "../../../src/rpc/transport.ts";
import { inProcessDialer, type Node, startNode, testSigner } from "../../support/node.ts";
import { registerRunner } from "../../support/registration.ts";

let node: Node | undefined;

afterEach(async () => {
  await node?.[Symbol.asyncDispose]();
  node = undefined;
});

/** Delivers every call, and loses the answer to the first. */
function aLossyDialer(made: Node, beforeRepeat: () => void = () => undefined): Dialer & { readonly sent: string[] } {
  const inner = inProcessDialer(made.handler);
  const sent: string[] = [];
  return {
    ...inner,
    sent,
    call: async (call) => {
      sent.push(call.text);
      const answer = await inner.call(call);
      if (sent.length > 1) return answer;
      beforeRepeat();
      throw new CarrierError("the answer was lost", "unknown");
    },
  };
}

async function aNode(): Promise<Node> {
  node = await startNode({ keys: { alice: { roles: ["submitter"] }, ops: { roles: ["registrar"] } } });
  await registerRunner(node, "build");
  return node;
}

async function submitted(made: Node, dialer: Dialer): Promise<unknown> {
  const signer = testSigner("alice");
  const supervisor = made.identity;
  const client = new SupervisorClient({ dialer, signer, supervisor });
  const job = buildJob({ supervisor, caller: signer.publicKey, runner: "build", payload: "echo hi" });
  return client.submitJob(await signJob(signer, job));
}

async function jobsOf(made: Node): Promise<number> {
  const { jobs } = await made.store.jobs.list({ limit: 10 });
  return jobs.length;
}

test("A submission whose answer was lost is repeated as the same bytes, and is one job", async () => {
  const made = await aNode();
  const dialer = aLossyDialer(made);

  expect(await submitted(made, dialer)).toMatchObject({ state: "pending", duplicate: true });

  expect(dialer.sent).toHaveLength(2);
  expect(new Set(dialer.sent).size).toBe(1);
  expect(await jobsOf(made)).toBe(1);
});

test("A repeat that is refused is told as such, and is no second job", async () => {
  const made = await aNode();
  // The key is removed between the two.
  const others = made.keyring.all().filter(({ name }) => name !== "alice");
  const dialer = aLossyDialer(made, () => void made.keyring.replace(others));

  await expect(submitted(made, dialer)).rejects.toThrow(RpcError);

  expect(new Set(dialer.sent).size).toBe(1);
  expect(await jobsOf(made)).toBe(1);
});
