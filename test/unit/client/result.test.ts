import { describe, expect, test } from "vitest";

import { SupervisorClient } from "../../../src/client/client.ts";
import { pause } from "../../../src/client/pause.ts";
import { ReceiptError, type ResultOptions, waitForResult } from "../../../src/client/result.ts";
import { JOB_VIEW } from "../../../src/rpc/examples.ts";
import type { JobView } from "../../../src/rpc/schema.ts";
import { aSigner, VECTORS } from "../../support/signing.ts";
import { aDialer, type StubAnswer, type StubDialer } from "../../support/stub-dialer.ts";

const { runner, approver, supervisorA, supervisorB } = VECTORS.keys;
const { receipt: RECEIPT, ...WITHOUT_RECEIPT } = JOB_VIEW;
const ENTRIES = [
  { attempt: 1, seq: 1, time_ms: 1_790_000_031_100, stream: "stdout", text: "héllo" },
  { attempt: 1, seq: 2, time_ms: 1_790_000_031_150, stream: "stderr", base64: "/w==" },
  { attempt: 1, seq: 3, time_ms: 1_790_000_031_200, stream: "system", text: "exit code 0" },
] as const;

/** Shows the job as this, at the second look; its log in two pages. */
function aSupervisor(view: object, entries: readonly object[] = ENTRIES): StubDialer {
  return aDialer(({ method, params }): StubAnswer => {
    if (method === "get_job") return { result: view };
    if (method === "wait_job") {
      return { result: params["since"] === undefined ? { ...view, state: "running", revision: 1 } : view };
    }
    return params["from"] === 0
      ? { result: { entries: entries.slice(0, 1), next: 1, done: false } }
      : { result: { entries: entries.slice(1), next: entries.length, done: true } };
  });
}

interface Wishes extends ResultOptions {
  readonly view?: object;
  readonly entries?: readonly object[];
  readonly runnerKeys?: readonly string[];
  readonly supervisor?: string;
}

async function resultOf({
  view = JOB_VIEW,
  entries,
  runnerKeys = [],
  supervisor = supervisorA,
  ...options
}: Wishes = {}) {
  const dialer = aSupervisor(view, entries);
  const client = new SupervisorClient({ dialer, signer: aSigner(), supervisor, pins: { runnerKeys } });
  return waitForResult(client, JOB_VIEW.id, options);
}

/** The error, which has to be one about the receipt. */
async function faultOf(wishes: Wishes): Promise<ReceiptError> {
  const error: unknown = await resultOf(wishes).catch((thrown: unknown) => thrown);
  if (!(error instanceof ReceiptError)) throw new TypeError(`no ReceiptError: ${String(error)}`);
  return error;
}

/** Ends that come without a runner's signature on them. */
function ownWord(members: Partial<JobView>): object {
  return { ...WITHOUT_RECEIPT, ...members };
}

describe("waitForResult()", () => {
  test("waits for the end, and believes a runner that is pinned or that the supervisor vouches for", async () => {
    const { state, view, trust } = await resultOf({ runnerKeys: [runner] });

    expect([state, trust]).toEqual(["completed", "verified"]);
    expect(view).toEqual(JOB_VIEW);
    expect((await resultOf()).trust).toBe("vouched for by the supervisor");
  });

  test.each<readonly [string, Wishes, RegExp]>([
    ["another result", { view: { ...JOB_VIEW, result: { text: "forged" } } }, /result/u],
    ["no receipt", { view: WITHOUT_RECEIPT }, /there is none/u],
    ["a good receipt under another end", { view: { ...JOB_VIEW, state: "failed" } }, /status/u],
    ["an end that a completed job can not have", { view: { ...JOB_VIEW, state: "cancelled" } }, /status/u],
    ["a runner that is none of those pinned", { runnerKeys: [approver] }, /none of those pinned/u],
    ["another supervisor than the pinned one", { supervisor: supervisorB }, /pinned supervisor/u],
    ["another job that expired", { view: ownWord({ state: "expired", digest: "0".repeat(64) }) }, /digest/u],
    ["a log with a gap", { logs: true, entries: ENTRIES.slice(1) }, /missing/u],
  ])("throws a ReceiptError with what was told for %s", async (_what, wishes, words) => {
    const error = await faultOf(wishes);

    expect(error.message).toMatch(words);
    expect(error.name).toBe("ReceiptError");
    expect(error.view.id).toBe(JOB_VIEW.id);
    expect(error.verdict.trust).toBe("vouched for by the supervisor");
  });

  test.each<readonly [string, object]>([
    ["expired before it ran", ownWord({ state: "expired", attempt: 0 })],
    ["lost with its runner", ownWord({ state: "failed", attempt: 2 })],
    ["lost after an attempt that was signed for", { ...JOB_VIEW, state: "failed", attempt: 2 }],
    [
      "cancelled while it waited for its next attempt",
      { ...JOB_VIEW, state: "cancelled", receipt: { ...RECEIPT, body: { ...RECEIPT?.body, status: "failed" } } },
    ],
  ])("takes the supervisor's word, and says so, for a job %s", async (_what, view) => {
    expect(await resultOf({ view, runnerKeys: [runner] })).toMatchObject({ trust: "vouched for by the supervisor" });
  });

  test("checks the log where it is asked for, and gives it", async () => {
    expect(await resultOf({ logs: true, runnerKeys: [runner] })).toMatchObject({ entries: ENTRIES, trust: "verified" });
  });

  test("checks nothing where it is told so", async () => {
    expect(await resultOf({ view: WITHOUT_RECEIPT, verify: false })).toMatchObject({ trust: "not checked" });
  });

  test("ends with the signal's reason or at its deadline, and leaves the job alone", async () => {
    const pending = { ...WITHOUT_RECEIPT, state: "pending" };

    await expect(resultOf({ view: pending, deadlineMs: 20 })).rejects.toMatchObject({ name: "TimeoutError" });
    await expect(resultOf({ signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
    const controller = new AbortController();
    const waiting = resultOf({ view: pending, signal: controller.signal });
    controller.abort(new Error("enough now"));
    await expect(waiting).rejects.toThrow("enough now");
  });

  test("waits on where its deadline is beyond what a timer counts", async () => {
    const dialer = aDialer(async ({ call: { signal } }): Promise<StubAnswer> => {
      await pause(50, signal);
      signal?.throwIfAborted();
      return { result: JOB_VIEW };
    });
    const client = new SupervisorClient({ dialer, signer: aSigner(), supervisor: supervisorA });

    const result = await waitForResult(client, JOB_VIEW.id, { deadlineMs: 2 ** 31, verify: false });

    expect(result).toMatchObject({ trust: "not checked" });
  });

  test.each([
    ["job", { logs: false }, "get_job"],
    ["log", { logs: true }, "get_job_logs"],
  ])("ends at its deadline while it reads the %s too", async (_what, options, slow) => {
    const dialer = aDialer(async ({ method, call: { signal } }): Promise<StubAnswer> => {
      if (method === slow) await pause(1000, signal);
      signal?.throwIfAborted();
      return { result: method === "get_job_logs" ? { entries: [], next: 0, done: true } : JOB_VIEW };
    });
    const client = new SupervisorClient({ dialer, signer: aSigner(), supervisor: supervisorA });

    const result = waitForResult(client, JOB_VIEW.id, { ...options, deadlineMs: 50, verify: false });

    await expect(result).rejects.toMatchObject({ name: "TimeoutError" });
  });
});
