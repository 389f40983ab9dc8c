import { setTimeout as sleep } from "node:timers/promises";

import { expect, test } from "vitest";

import { Flags } from "../../../bin/command.ts";
import type { CommandConnection } from "../../../bin/connection.ts";
import { waitForEnd } from "../../../bin/job-end.ts";
import { ERRORS, RpcError, SupervisorClient } from "../../../src/client/index.ts";
import { dataPaths } from "../../../src/data-directory.ts";
import { CarrierError } from "../../../src/errors.ts";
import { JOB_ID, JOB_SUMMARY, JOB_VIEW } from "../../../src/rpc/examples.ts";
import { aSigner, VECTORS } from "../../support/signing.ts";
import { RecordingTerminal } from "../../support/terminal.ts";

/** A connection whose every call is answered by `answer`. */
function aConnection(answer: (method: string) => Promise<unknown>): CommandConnection {
  const signer = aSigner();
  const supervisor = VECTORS.keys.supervisorA;
  const dialer = {
    url: "http://127.0.0.1:1",
    validitySeconds: 30,
    maxWaitMs: 0,
    defaultDeadlineMs: 1,
    call: async ({ id, text }: { readonly id: string; readonly text: string }) => {
      const [, method = ""] = /"method":"(\w+)"/u.exec(text) ?? [];
      return JSON.stringify({ jsonrpc: "2.0", id, result: await answer(method) });
    },
    close: async () => undefined,
  };
  return {
    client: new SupervisorClient({ dialer, signer, supervisor }),
    signer,
    supervisor,
    paths: dataPaths("/nowhere"),
  };
}

test("who waits for a job, and nobody answers any more, hears that the job goes on and how to look", async () => {
  const terminal = new RecordingTerminal();
  const connection = aConnection(async () => Promise.reject(new CarrierError("gone", "unknown")));

  const flags = new Flags({ wait: true, to: "http://127.0.0.1:9", "data-dir": "/srv/my data" });
  const end = waitForEnd({ positionals: [], flags, terminal }, connection, JOB_ID);

  await expect(end).rejects.toThrow("gone");
  const words = `${JOB_ID} --to http://127.0.0.1:9 --data-dir '/srv/my data'`;
  expect(terminal.stderr).toContain(
    `The job goes on without us. Look: supervisor job get ${words}; stop it: supervisor job cancel ${words}\n`,
  );
});

test("who waits, and whose supervisor has lost its Redis, hears which command goes on waiting at the same one", async () => {
  const terminal = new RecordingTerminal();
  const lost = new RpcError(ERRORS.unavailable.code, "Unavailable", { applied: "no" });
  const connection = aConnection(async (method) => (method === "wait_job" ? JOB_SUMMARY : Promise.reject(lost)));

  const flags = new Flags({ wait: true, to: "http://127.0.0.1:9", "data-dir": "/srv/my data" });
  const end = waitForEnd({ positionals: [], flags, terminal }, connection, JOB_ID);

  const words = `supervisor job wait ${JOB_ID} --to http://127.0.0.1:9 --data-dir '/srv/my data'`;
  await expect(end).rejects.toThrow(`The job was taken before and goes on: ${words}`);
});

test("the end of a job that is followed is shown behind its log, however late that comes", async () => {
  const terminal = new RecordingTerminal();
  const entry = { attempt: 1, seq: 1, stream: "stderr", text: "last line", time_ms: 1_790_000_031_100 };
  const connection = aConnection(async (method) => {
    if (method === "wait_job") return JOB_SUMMARY;
    if (method === "get_job") return JOB_VIEW;
    await sleep(50);
    return { entries: [entry], next: 1, done: true };
  });

  const flags = new Flags({ follow: true });
  const code = await waitForEnd({ positionals: [], flags, terminal }, connection, JOB_ID);

  expect(code).toBe(0);
  expect(terminal.stderr).toMatch(/^last line\n[0-9a-f-]{36} completed on build-1 exit code 0\nreceipt good/u);
  expect(terminal.stdout).toBe("ok\n");
});
