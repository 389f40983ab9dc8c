import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { SupervisorClient } from "../../../src/client/client.ts";
import { followLogs, followStates } from "../../../src/client/follow.ts";
import { JOB_SUMMARY } from "../../../src/rpc/examples.ts";
import type { JobState, JobSummary, LogEntry } from "../../../src/rpc/schema.ts";
import { aSigner, VECTORS } from "../../support/signing.ts";
import { aDialer, type SeenRequest, type StubAnswer, type StubDialer } from "../../support/stub-dialer.ts";

const ID = JOB_SUMMARY.id;

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

function aClient(dialer: StubDialer): SupervisorClient {
  return new SupervisorClient({ dialer, signer: aSigner(), supervisor: VECTORS.keys.supervisorA });
}

function line(seq: number): LogEntry {
  return { attempt: 1, seq, time_ms: 0, stream: "stdout", text: `line ${seq}` };
}

function page(seqs: readonly number[], next: number, done: boolean): StubAnswer {
  return { result: { entries: seqs.map(line), next, done } };
}

function state(name: JobState, revision: number): StubAnswer {
  return { result: { ...JOB_SUMMARY, state: name, revision } };
}

/** Answers in turn, and with the last one for ever. */
function answering(...answers: readonly StubAnswer[]): StubDialer {
  return aDialer((_request, count) => answers[Math.min(count, answers.length - 1)] ?? { error: {} });
}

async function collect<Value>(iterable: AsyncGenerator<Value>): Promise<readonly Value[]> {
  const all = (async () => {
    const values: Value[] = [];
    for await (const value of iterable) values.push(value);
    return values;
  })();
  const work = { isSettled: false };
  const settle = (): void => {
    work.isSettled = true;
  };
  // Pauses pass at once; a failure belongs to whoever awaits it.
  void all.then(settle, settle);
  while (!work.isSettled) await vi.advanceTimersByTimeAsync(1000);
  return all;
}

function paramsOf({ params: { auth: _auth, ...params } }: SeenRequest): object {
  return params;
}

describe("followLogs", () => {
  test("gives all entries from page to page, waiting as long as the carrier holds, until the log is done", async () => {
    const dialer = answering(page([1, 2], 2, false), page([], 2, false), page([3], 3, true));

    await expect(collect(followLogs(aClient(dialer), ID))).resolves.toEqual([line(1), line(2), line(3)]);
    expect(dialer.seen.map(paramsOf)).toEqual([
      { id: ID, from: 0, wait_ms: 0 },
      { id: ID, from: 2, wait_ms: 25_000 },
      { id: ID, from: 2, wait_ms: 25_000 },
    ]);
  });

  test("goes on where it was told", async () => {
    const dialer = answering(page([], 7, true));

    await expect(collect(followLogs(aClient(dialer), ID, { from: 7 }))).resolves.toEqual([]);
    expect(dialer.seen.map(paramsOf)).toEqual([{ id: ID, from: 7, wait_ms: 0 }]);
  });

  test("reads what is there and no more, without waiting, when it shall not follow", async () => {
    const dialer = answering(page([1, 2], 2, false), page([3], 3, false), page([], 3, false));

    await expect(collect(followLogs(aClient(dialer), ID, { follow: false }))).resolves.toHaveLength(3);
    expect(dialer.seen.map(paramsOf)).toMatchObject([{ wait_ms: 0 }, { wait_ms: 0 }, { wait_ms: 0 }]);
  });

  test("asks no supervisor in a loop that does not hold the wait", async () => {
    const dialer = answering(page([], 0, false));
    const controller = new AbortController();
    const reading = followLogs(aClient(dialer), ID, { signal: controller.signal }).next();
    await vi.advanceTimersByTimeAsync(10_000);

    expect(dialer.seen.length).toBeGreaterThan(5);
    expect(dialer.seen.length).toBeLessThan(60);
    controller.abort();
    await expect(reading).resolves.toEqual({ done: true, value: undefined });
  });

  test("outlasts a store that is away once it has begun, and goes on where it was", async () => {
    const away = { error: { code: -32_053, message: "Unavailable" } };
    const dialer = answering(page([1, 2], 2, false), away, away, page([3], 3, true));

    await expect(collect(followLogs(aClient(dialer), ID))).resolves.toEqual([line(1), line(2), line(3)]);
    expect(dialer.seen.map(paramsOf)).toMatchObject([{ from: 0 }, { from: 2 }, { from: 2 }, { from: 2 }]);
  });

  test("outlasts it from the first wait on, and from the first question on where the job is known to be there", async () => {
    const away = { error: { code: -32_053, message: "Unavailable" } };
    const waited = answering(page([], 0, false), away, page([1], 1, true));
    const known = answering(away, away, page([1], 1, true));

    await expect(collect(followLogs(aClient(waited), ID))).resolves.toEqual([line(1)]);
    await expect(collect(followLogs(aClient(known), ID, { isKnown: true }))).resolves.toEqual([line(1)]);
  });

  test("goes on after the time that the supervisor asks for, longer than any call may take", async () => {
    const tooSoon = { error: { code: -32_029, message: "Too many", data: { limit: "rate", retry_after_ms: 3e12 } } };
    const dialer = answering(page([1, 2], 2, false), tooSoon, tooSoon, page([3], 3, true));

    await expect(collect(followLogs(aClient(dialer), ID))).resolves.toEqual([line(1), line(2), line(3)]);
    expect(dialer.seen).toHaveLength(4);
  });

  test("is told at once of a store that is away at the first question, or where it does not follow", async () => {
    const away = { error: { code: -32_053, message: "Unavailable" } };
    const begun = answering(page([1], 1, false), away);

    await expect(collect(followLogs(aClient(answering(away)), ID))).rejects.toMatchObject({ code: -32_053 });
    await expect(collect(followLogs(aClient(begun), ID, { follow: false }))).rejects.toMatchObject({ code: -32_053 });
  });

  test("ends quietly while the store is away", async () => {
    const away = { error: { code: -32_053, message: "Unavailable" } };
    const controller = new AbortController();
    const reading = collect(
      followLogs(aClient(answering(page([1], 1, false), away)), ID, { signal: controller.signal }),
    );
    setTimeout(() => controller.abort(), 2500);

    await expect(reading).resolves.toEqual([line(1)]);
  });

  test("passes a refusal on", async () => {
    const dialer = aDialer(() => ({ error: { code: -32_004, message: "Not found" } }));

    await expect(collect(followLogs(aClient(dialer), ID))).rejects.toMatchObject({ code: -32_004 });
  });
});

describe("followStates", () => {
  test("gives the present state, then each change, and ends with the terminal one", async () => {
    const dialer = answering(state("pending", 1), state("pending", 1), state("running", 2), state("completed", 3));
    const states = await collect(followStates(aClient(dialer), ID));

    expect(states.map((job: JobSummary) => job.state)).toEqual(["pending", "running", "completed"]);
    expect(dialer.seen.map(paramsOf)).toEqual([
      { id: ID, wait_ms: 0 },
      { id: ID, since: 1, wait_ms: 25_000 },
      { id: ID, since: 1, wait_ms: 25_000 },
      { id: ID, since: 2, wait_ms: 25_000 },
    ]);
  });

  test("outlasts a store that is away once it has begun", async () => {
    const away = { error: { code: -32_053, message: "Unavailable" } };
    const dialer = answering(state("running", 2), away, state("completed", 3));

    const states = await collect(followStates(aClient(dialer), ID));

    expect(states.map((job: JobSummary) => job.state)).toEqual(["running", "completed"]);
  });

  test("gives one state of a job that has ended", async () => {
    await expect(collect(followStates(aClient(answering(state("cancelled", 5))), ID))).resolves.toHaveLength(1);
  });

  test("ends quietly when nobody listens any more, before a call, during one and between two", async () => {
    const before = answering(state("pending", 1));
    await expect(collect(followStates(aClient(before), ID, { signal: AbortSignal.abort() }))).resolves.toEqual([]);
    expect(before.seen).toEqual([]);

    const controller = new AbortController();
    const during = aDialer(({ call }) => {
      controller.abort();
      throw call.signal?.reason;
    });
    await expect(collect(followStates(aClient(during), ID, { signal: controller.signal }))).resolves.toEqual([]);

    const between = new AbortController();
    const states = followStates(aClient(answering(state("pending", 1))), ID, { signal: between.signal });
    await expect(states.next()).resolves.toMatchObject({ value: { state: "pending" } });
    between.abort();
    await expect(states.next()).resolves.toEqual({ done: true, value: undefined });
  });

  test("passes a refusal on, also to who could have given up", async () => {
    const dialer = aDialer(() => ({ error: { code: -32_004, message: "Not found" } }));
    const { signal } = new AbortController();

    await expect(collect(followStates(aClient(dialer), ID, { signal }))).rejects.toMatchObject({ code: -32_004 });
  });
});
