/** curl, as somebody at a terminal uses it. */
import { describe, expect } from "vitest";

import { CURL, isHere } from "../support/machine.ts";
import { runProcess } from "../support/process.ts";
import { objectOf } from "../support/signing.ts";
import { describeForeign, type ForeignCall, refusedBy } from "./foreign-client.ts";

async function post(url: string, message: unknown): Promise<string> {
  const args = ["--silent", "--show-error", "--fail-with-body", "--json", JSON.stringify(message), url];
  const ran = await runProcess(["curl", ...args], { env: { PATH: process.env["PATH"] } });
  expect(ran).toMatchObject({ code: 0, stderr: "" });
  return ran.stdout;
}

function toMessage(call: ForeignCall, id: number): object {
  return { jsonrpc: "2.0", id, ...call };
}

function outcomeOf(response: unknown): unknown {
  const { result, error } = objectOf(JSON.stringify(response));
  return error === undefined ? result : refusedBy(error);
}

describe.skipIf(!isHere(CURL))("curl", () => {
  describeForeign("over HTTP", ({ httpUrl }) => ({
    call: async (call) => outcomeOf(JSON.parse(await post(httpUrl, toMessage(call, 1)))),
    batch: async (calls) => {
      const answers: unknown = JSON.parse(await post(httpUrl, calls.map(toMessage)));
      return Array.isArray(answers) ? answers.map(outcomeOf) : [];
    },
  }));
});
