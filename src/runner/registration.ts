/** A runner's entry: who it says it is, and what a refusal means in words. */
import { randomUUID } from "node:crypto";

import type { Attached, JobSource, RunnerHello } from "./source.ts";

/** The source does not take this runner; the message says why and what to do. */
export class RunnerError extends Error {
  override readonly name = "RunnerError";
  readonly outcome: Exclude<Attached["outcome"], "attached">;
  /** Where the name is taken: how long ago the other process was heard of, in ms. */
  readonly heartbeatAgeMs: number | undefined;

  constructor(message: string, refused: Exclude<Attached, { outcome: "attached" }>) {
    super(message);
    this.outcome = refused.outcome;
    this.heartbeatAgeMs = refused.outcome === "taken" ? refused.heartbeatAgeMs : undefined;
  }
}

/** What this process says of itself, with a random mark that no other process has. */
export function toHello(runner: {
  readonly name: string;
  readonly groups: readonly string[];
  readonly slots: number;
  readonly version: string;
  readonly signer: { readonly publicKey: string };
  readonly process?: string;
}): RunnerHello {
  const { name, groups, slots, version, signer, process = randomUUID() } = runner;
  return { name, groups, slots, version, key: signer.publicKey, process };
}

/** @throws RunnerError when it is refused; what the source throws when it does not answer. */
export async function attach(source: Pick<JobSource, "attach" | "leaseMs">, hello: RunnerHello): Promise<void> {
  const attached = await source.attach(hello);
  if (attached.outcome !== "attached") {
    throw new RunnerError(`Runner "${hello.name}" ${explain(attached, hello, source.leaseMs)}`, attached);
  }
}

function explain(attached: Exclude<Attached, { outcome: "attached" }>, hello: RunnerHello, leaseMs: number): string {
  switch (attached.outcome) {
    case "not_registered":
      return `is not registered. Register it first: supervisor runner register ${hello.name}`;
    case "mismatch":
      return `is registered otherwise: ${attached.reason}. Register it again, or start it as it is registered.`;
    case "taken":
      return (
        `is running already (last heartbeat ${attached.heartbeatAgeMs} ms ago). Stop that process, wait ` +
        `${Math.ceil(leaseMs / 1000)} s when it is gone, or choose another name.`
      );
  }
}
