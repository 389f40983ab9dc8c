/** Registers a runner at a node in this process. */
import { signDocument } from "../../src/auth/signature.ts";
import type { RunnerDocument, RunnerView } from "../../src/rpc/schema.ts";
import type { Node } from "./node.ts";

/** Registered by the key `ops`; its own key is the one of its name. */
export async function registerRunner(
  node: Pick<Node, "identity" | "client" | "signer">,
  name: string,
  wanted: Partial<RunnerDocument> = {},
): Promise<RunnerView> {
  const now = Math.floor(Date.now() / 1000);
  const signer = node.signer(name);
  const registration: RunnerDocument = {
    v: 1,
    aud: node.identity,
    name,
    key: signer.publicKey,
    groups: [],
    executors: [],
    slots: 1,
    iat: now,
    exp: now + 300,
    ...wanted,
  };
  const { signature } = await signDocument(signer, "runner", registration);
  return node.client("ops").call("register_runner", { registration, signature });
}
