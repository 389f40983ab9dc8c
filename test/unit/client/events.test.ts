import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { SupervisorClient } from "../../../src/client/client.ts";
import { followEvents, type FollowEventsOptions, type SeenEvent } from "../../../src/client/events.ts";
import { followLogs, followStates } from "../../../src/client/follow.ts";
import { CarrierError } from "../../../src/errors.ts";
import { JOB_SUMMARY } from "../../../src/rpc/examples.ts";
import type { Dialer } from "../../../src/rpc/transport.ts";
import { aSigner, VECTORS } from "../../support/signing.ts";
import { aDialer, type SeenRequest, type StubAnswer } from "../../support/stub-dialer.ts";

const ID = JOB_SUMMARY.id;

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** A carrier that pushes what the test says, and a client over it. */
class Stage {
  readonly asked: string[] = [];
  readonly params: unknown[] = [];
  readonly client: SupervisorClient;
  /** Answers in place of the usual ones, by method. */
  readonly answers: Record<string, (request: SeenRequest) => StubAnswer | Promise<StubAnswer>> = {};
  listeners = 0;
  #push: ((text: string | undefined) => void) | undefined;
  #subscriptions = 0;

  constructor() {
    const stub = aDialer(async (request) => this.#answer(request));
    const dialer: Dialer = {
      ...stub,
      onNotification: (callback) => {
        this.#push = callback;
        this.listeners += 1;
        return () => {
          this.listeners -= 1;
        };
      },
    };
    this.client = new SupervisorClient({ dialer, signer: aSigner(), supervisor: VECTORS.keys.supervisorA });
  }

  /** The id of the present subscription. */
  get subscription(): string {
    return this.#subscriptions.toString(16).padStart(16, "0");
  }

  push(seq: number, event: unknown, subscription = this.subscription): void {
    this.pushText(JSON.stringify({ jsonrpc: "2.0", method: "job_event", params: { subscription, seq, event } }));
  }

  pushText(text: string | undefined): void {
    this.#push?.(text);
  }

  follow(options: FollowEventsOptions = {}): { readonly seen: SeenEvent[]; readonly done: Promise<void> } {
    const seen: SeenEvent[] = [];
    const work = async (): Promise<void> => {
      for await (const event of followEvents(this.client, ID, options)) seen.push(event);
    };
    return { seen, done: work() };
  }

  async #answer(request: SeenRequest): Promise<StubAnswer> {
    const method = String(request.method);
    const { auth: _auth, ...params } = request.params;
    this.asked.push(method);
    this.params.push(params);
    const answer = this.answers[method];
    if (answer !== undefined) return answer(request);
    if (method !== "subscribe_job") return { result: { subscription: this.subscription, ended: true } };
    this.#subscriptions += 1;
    return { result: { subscription: this.subscription, logs: true } };
  }
}

function state(name: string, revision = 1): object {
  return { type: "state", job: { ...JOB_SUMMARY, state: name, revision } };
}

function log(seq: number): object {
  return { type: "log", entry: { attempt: 1, seq, time_ms: 0, stream: "stdout", text: `line ${seq}` } };
}

const END = { type: "end", reason: "terminal" };

async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

describe("followEvents()", () => {
  test("gives its own events up to the end, and asks for nothing else", async () => {
    const stage = new Stage();
    const { seen, done } = stage.follow({ logs: true, after: 7 });
    await settle();

    stage.push(8, state("running"));
    stage.push(9, log(1), "00000000000000ff");
    stage.push(9, log(1));
    stage.push(9, END);
    await done;

    expect(seen.map(({ seq, event }) => [seq, event.type])).toStrictEqual([
      [8, "state"],
      [9, "log"],
      [9, "end"],
    ]);
    expect(stage.asked).toStrictEqual(["subscribe_job"]);
    expect(stage.params).toStrictEqual([{ id: ID, after: 7, logs: true }]);
    expect(stage.listeners).toBe(0);
  });

  test("takes events that come with the answer, before it is known whose they are", async () => {
    const stage = new Stage();
    stage.answers["subscribe_job"] = async () => {
      stage.push(1, log(1), "00000000000000aa");
      stage.pushText(undefined);
      stage.push(1, state("running"), "00000000000000bb");
      return { result: { subscription: "00000000000000bb", logs: true } };
    };
    const { seen, done } = stage.follow();
    await settle();
    stage.push(1, END, "00000000000000bb");
    await done;

    expect(seen.map(({ event }) => event.type)).toStrictEqual(["state", "end"]);
  });

  test("subscribes again behind the last event when the connection is lost", async () => {
    const stage = new Stage();
    const { seen, done } = stage.follow();
    await settle();
    stage.push(5, log(1));
    stage.push(6, log(2));
    stage.pushText(undefined);
    await settle();
    stage.push(7, END);
    await done;

    expect(stage.params).toStrictEqual([{ id: ID }, { id: ID, after: 6 }]);
    expect(seen.map(({ seq }) => seq)).toStrictEqual([5, 6, 7]);
  });

  test("knows no kinds of events but its own, and takes members it does not know", async () => {
    const stage = new Stage();
    const { seen, done } = stage.follow();
    await settle();
    for (const text of ["no json", "null", "[]", '{"method":"job_event"}', '{"method":"other","params":{}}']) {
      stage.pushText(text);
    }
    stage.push(1, { type: "progress", percent: 5 });
    stage.push(1, null);
    stage.push(2, { ...log(1), more: true });
    stage.push(3, END);
    await done;

    expect(seen.map(({ seq }) => seq)).toStrictEqual([2, 3]);
  });

  test("asks for a sign of life after a long silence, and goes on", async () => {
    const stage = new Stage();
    const { done } = stage.follow();
    stage.answers["get_info"] = () => ({ error: { code: -32_603, message: "Internal error" } });
    await vi.advanceTimersByTimeAsync(29_000);
    expect(stage.asked).toStrictEqual(["subscribe_job"]);

    await Promise.all([expect(done).rejects.toMatchObject({ code: -32_603 }), vi.advanceTimersByTimeAsync(2000)]);

    expect(stage.asked).toStrictEqual(["subscribe_job", "get_info", "unsubscribe_job"]);
  });

  test.each([
    ["by an abort", (controller: AbortController) => controller.abort()],
    ["by an abort with a reason", (controller: AbortController) => controller.abort(new Error("enough"))],
  ])("ends quietly %s, while it waits and before it begins, and unsubscribes", async (_how, abort) => {
    const stage = new Stage();
    const controller = new AbortController();
    const { seen, done } = stage.follow({ signal: controller.signal });
    await settle();
    abort(controller);
    await done;
    await stage.follow({ signal: controller.signal }).done;

    expect(seen).toStrictEqual([]);
    expect(stage.asked).toStrictEqual(["subscribe_job", "unsubscribe_job"]);
    expect(stage.params.at(-1)).toStrictEqual({ subscription: stage.subscription });
    expect(stage.listeners).toBe(0);
  });

  test("sees an abort that comes between two events", async () => {
    const stage = new Stage();
    const controller = new AbortController();
    const events = followEvents(stage.client, ID, { signal: controller.signal });
    const first = events.next();
    await settle();
    stage.push(1, log(1));
    await first;

    controller.abort();

    expect(await events.next()).toMatchObject({ done: true });
  });

  test("unsubscribes when the loop is left, and does not mind when that fails", async () => {
    const stage = new Stage();
    stage.answers["unsubscribe_job"] = () => {
      throw new CarrierError("cut", "unknown");
    };
    const events = followEvents(stage.client, ID);
    const first = events.next();
    await settle();
    stage.push(1, state("running"));
    await first;

    const left = events.return(undefined);
    await vi.advanceTimersByTimeAsync(5000);
    await left;

    expect(stage.asked).toContain("unsubscribe_job");
  });

  test.each([
    ["is not known", -32_601],
    ["does not push on this carrier", -32_010],
    ["has no room", -32_029],
  ])("gives nothing where the method %s", async (_why, code) => {
    const stage = new Stage();
    stage.answers["subscribe_job"] = () => ({ error: { code, message: "no" } });
    const { seen, done } = stage.follow();
    await done;

    expect(seen).toStrictEqual([]);
  });

  test("gives nothing, and asks nothing, where the carrier does not push", async () => {
    const dialer = aDialer(() => ({ error: { code: -32_601, message: "no" } }));
    const client = new SupervisorClient({ dialer, signer: aSigner(), supervisor: VECTORS.keys.supervisorA });

    expect(client.onNotification).toBeUndefined();
    expect(await followEvents(client, ID).next()).toMatchObject({ done: true });
    expect(dialer.seen).toStrictEqual([]);
  });

  test("throws the supervisor's refusal", async () => {
    const stage = new Stage();
    stage.answers["subscribe_job"] = () => ({ error: { code: -32_004, message: "Not found" } });

    await expect(stage.follow().done).rejects.toMatchObject({ code: -32_004 });
    expect(stage.listeners).toBe(0);
  });
});

describe("followLogs() and followStates() where the carrier pushes", () => {
  test("go on with polls from where the pushing ended", async () => {
    const stage = new Stage();
    const entry = { attempt: 1, seq: 9, time_ms: 0, stream: "stdout", text: "polled" };
    stage.answers["get_job_logs"] = () => ({ result: { entries: [entry], next: 7, done: true } });
    stage.answers["wait_job"] = () => ({ result: { ...JOB_SUMMARY, revision: 3 } });
    const lines: unknown[] = [];
    const states: unknown[] = [];

    const logs = (async () => {
      for await (const { text } of followLogs(stage.client, ID, { from: 4 })) lines.push(text);
    })();
    await settle();
    stage.push(5, log(1));
    stage.push(6, log(2));
    stage.push(6, { type: "end", reason: "rights" });
    await logs;
    const changes = (async () => {
      for await (const { state: name } of followStates(stage.client, ID)) states.push(name);
    })();
    await settle();
    stage.push(1, state("running", 2));
    stage.push(1, { type: "end", reason: "failed" });
    await changes;

    expect(lines).toStrictEqual(["line 1", "line 2", "polled"]);
    expect(states).toStrictEqual(["running", "completed"]);
    expect(stage.params).toMatchObject([
      { after: 4, logs: true },
      { from: 6, wait_ms: 25_000 },
      { id: ID, logs: false },
      { since: 2, wait_ms: 25_000 },
    ]);
  });

  test("do not subscribe for what is there now", async () => {
    const stage = new Stage();
    stage.answers["get_job_logs"] = () => ({ result: { entries: [], next: 0, done: false } });

    expect(await followLogs(stage.client, ID, { follow: false }).next()).toMatchObject({ done: true });
    expect(stage.asked).toStrictEqual(["get_job_logs"]);
  });
});
