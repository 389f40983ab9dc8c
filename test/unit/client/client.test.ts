import { getEventListeners } from "node:events";

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { canonicalText } from "../../../src/auth/canonical-json.ts";
import { signingInput, verifySignature } from "../../../src/auth/signature.ts";
import { SupervisorClient } from "../../../src/client/client.ts";
import { RpcError } from "../../../src/client/rpc-error.ts";
import { CarrierError } from "../../../src/errors.ts";
import { METHODS } from "../../../src/rpc/methods.ts";
import type { Dialer } from "../../../src/rpc/transport.ts";
import { aSignedJob, aSigner, objectOf, VECTORS } from "../../support/signing.ts";
import { aDialer, type SeenRequest, type StubAnswer, type StubDialer } from "../../support/stub-dialer.ts";

const { caller, supervisorA } = VECTORS.keys;
const ID = "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b";
const NOW_MS = 1_790_000_030_000;

beforeEach(() => {
  vi.useFakeTimers({ now: NOW_MS });
});

afterEach(() => {
  vi.useRealTimers();
});

function aClient(dialer: Dialer): SupervisorClient {
  return new SupervisorClient({ dialer, signer: aSigner(), supervisor: supervisorA });
}

/** The example result of the method that was called. */
function example({ method }: SeenRequest): StubAnswer {
  return {
    result: new Map<unknown, { example: { result: unknown } }>(Object.entries(METHODS)).get(method)?.example.result,
  };
}

function authOf(request: SeenRequest | undefined): Readonly<Record<string, unknown>> {
  return objectOf(JSON.stringify(request?.params["auth"]));
}

/** The work's outcome, with all pauses in it passed over. */
async function settled<Value>(work: Promise<Value>): Promise<{ value?: Value; error?: unknown }> {
  const outcome = work.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  await vi.runAllTimersAsync();
  return outcome;
}

function stale(now: unknown): StubAnswer {
  return { error: { code: -32_002, message: "Outside the time window", data: { now } } };
}

function tooSoon(retryAfterMs: unknown): StubAnswer {
  return { error: { code: -32_029, message: "Too many", data: { limit: "rate", retry_after_ms: retryAfterMs } } };
}

function lost(applied: "no" | "unknown", mustSignAgain = false): CarrierError {
  return new CarrierError("cut", applied, undefined, { mustSignAgain });
}

/** Loses the first answers, then says what it should. */
function losing(errors: readonly CarrierError[]): StubDialer {
  return aDialer((request, count) => {
    const error = errors[count];
    if (error !== undefined) throw error;
    return example(request);
  });
}

describe("SupervisorClient", () => {
  test("gives the result of a call", async () => {
    const dialer = aDialer(example);

    await expect(aClient(dialer).call("get_job", { id: ID })).resolves.toEqual(METHODS.get_job.example.result);
    expect(dialer.seen[0]?.method).toBe("get_job");
  });

  test("signs a call for the pinned supervisor, with the carrier's validity", async () => {
    const dialer = aDialer(example, { validitySeconds: 420 });
    await aClient(dialer).call("get_job", { id: ID });
    const [request] = dialer.seen;
    const { sig, ...auth } = authOf(request);
    const canonical = canonicalText({ ...auth, method: "get_job", params: { id: ID } });

    expect(auth).toMatchObject({ v: 1, aud: supervisorA, key: caller, iat: 1_790_000_030, exp: 1_790_000_450 });
    expect(auth["nonce"]).toMatch(/^[0-9a-f]{32}$/);
    expect(canonical.ok && verifySignature(caller, String(sig), signingInput("call", canonical.text))).toBe(true);
  });

  test("sends each request with an id of its own and each signed call with a nonce of its own", async () => {
    const dialer = aDialer(example);
    await Promise.all([dialer, dialer].map(async (each) => aClient(each).call("whoami", {})));
    const client = aClient(dialer);
    for (let count = 0; count < 20; count += 1) await client.call("whoami", {});

    expect(new Set(dialer.seen.map(({ id }) => id)).size).toBe(22);
    expect(new Set(dialer.seen.map((request) => authOf(request)["nonce"])).size).toBe(22);
    for (const { id, call } of dialer.seen) expect(call.id).toBe(id);
  });

  test("sends methods without a credential unsigned, also without a signer", async () => {
    const dialer = aDialer(example);
    const client = new SupervisorClient({ dialer, supervisor: supervisorA });

    await expect(client.call("get_info", {})).resolves.toMatchObject({ name: "horus-supervisor" });
    expect(dialer.seen[0]?.params).toEqual({});
  });

  test("refuses to send a signed call without a signer, and one that can not be signed", async () => {
    const dialer = aDialer(example);

    await expect(new SupervisorClient({ dialer, supervisor: supervisorA }).call("whoami", {})).rejects.toThrow(
      "whoami is a signed call: give the client a signer.",
    );
    await expect(aClient(dialer).call("get_job", { id: "\ud800" })).rejects.toThrow(/params\.id: a lone surrogate/);
    expect(dialer.seen).toEqual([]);
  });

  test("throws the supervisor's refusal as it came, once", async () => {
    const error = { code: -32_010, message: "Wrong state for this operation", data: { state: "running" } };
    const dialer = aDialer(() => ({ error }));

    await expect(aClient(dialer).call("delete_job", { id: ID })).rejects.toMatchObject({ name: "RpcError", ...error });
    expect(dialer.seen).toHaveLength(1);
  });

  test("throws what is neither an answer nor a carrier's error as it is", async () => {
    const dialer = aDialer(() => {
      throw new RangeError("broken");
    });

    await expect(aClient(dialer).call("whoami", {})).rejects.toThrow(RangeError);
  });
});

describe("a call that came too soon", () => {
  test("is signed again after the time that the supervisor asks for, when it only reads", async () => {
    const times: number[] = [];
    const dialer = aDialer((request, count) => {
      times.push(Date.now() - NOW_MS);
      return count < 2 ? tooSoon(700) : example(request);
    });
    const { value } = await settled(aClient(dialer).call("get_job", { id: ID }));

    expect(value).toEqual(METHODS.get_job.example.result);
    expect(times).toEqual([0, 700, 1400]);
    expect(new Set(dialer.seen.map((request) => authOf(request)["nonce"])).size).toBe(3);
  });

  test.each([[-1], ["1"], [Number.NaN], [undefined]])("is refused where the time is none: %s", async (time) => {
    const dialer = aDialer(() => tooSoon(time));
    const { error } = await settled(aClient(dialer).call("whoami", {}));

    expect(error).toMatchObject({ name: "RpcError", code: -32_029 });
    expect(dialer.seen).toHaveLength(1);
  });

  test("is refused when it changes something, and where the time is beyond its deadline", async () => {
    const dialer = aDialer(() => tooSoon(700));
    const deleted = await settled(aClient(dialer).call("delete_job", { id: ID }));
    const late = await settled(aClient(dialer).call("whoami", {}, { deadlineMs: 2000 }));

    expect([deleted.error, late.error]).toMatchObject([{ code: -32_029 }, { code: -32_029 }]);
    expect(dialer.seen).toHaveLength(1 + 3);
  });

  test("is not asked in a loop by a supervisor that knows no time", async () => {
    const dialer = aDialer(() => tooSoon(0));
    await settled(aClient(dialer).call("whoami", {}, { deadlineMs: 1000 }));

    expect(dialer.seen.length).toBeLessThanOrEqual(10);
  });

  test("ends with the reason of its signal while it waits", async () => {
    const controller = new AbortController();
    const dialer = aDialer(() => tooSoon(20_000));
    setTimeout(() => controller.abort(new Error("enough")), 500);
    const { error } = await settled(aClient(dialer).call("whoami", {}, { signal: controller.signal }));

    expect(error).toEqual(new Error("enough"));
    expect(dialer.seen).toHaveLength(1);
  });
});

describe("a call whose answer got lost", () => {
  test.each(["no", "unknown"] as const)(
    "is signed again with a fresh nonce and repeated (applied: %s)",
    async (applied) => {
      const dialer = losing([lost(applied), lost(applied)]);
      const { value } = await settled(aClient(dialer).call("cancel_job", { id: ID }));

      expect(value).toEqual(METHODS.cancel_job.example.result);
      expect(dialer.seen).toHaveLength(3);
      expect(new Set(dialer.seen.map((request) => authOf(request)["nonce"])).size).toBe(3);
      expect(new Set(dialer.seen.map((request) => authOf(request)["sig"])).size).toBe(3);
    },
  );

  test("is repeated as the identical bytes when it is create_job", async () => {
    const dialer = losing([lost("unknown"), lost("unknown")]);
    const signed = await aSignedJob();
    const { value } = await settled(aClient(dialer).submitJob(signed));

    expect(value).toEqual(METHODS.create_job.example.result);
    expect(dialer.seen[0]?.params).toEqual(signed);
    expect(new Set(dialer.seen.map(({ call }) => call.text)).size).toBe(1);
  });

  test.each([
    [
      "with the limit as -32013 where its bytes are beyond one",
      { limit: "max_body_bytes" },
      { code: -32_013, data: { limit: "max_body_bytes" } },
    ],
    ["with the carrier's error where no repeat helps", { isFinal: true }, { name: "CarrierError", isFinal: true }],
  ])("ends at once, %s", async (_title, fate, expected) => {
    const dialer = losing([new CarrierError("refused", "no", undefined, fate)]);
    const { error } = await settled(aClient(dialer).submitJob(await aSignedJob()));

    expect(error).toMatchObject(expected);
    expect(dialer.seen).toHaveLength(1);
  });

  test("ends with the dialer, also in a pause", async () => {
    const closing = new AbortController();
    const dialer = aDialer(
      () => {
        throw closing.signal.aborted ? new CarrierError("closed", "no", undefined, { isFinal: true }) : lost("no");
      },
      { closed: closing.signal },
    );
    const calls = Array.from({ length: 12 }, async () =>
      aClient(dialer)
        .call("whoami", {})
        .catch((error: unknown) => error),
    );
    await vi.waitUntil(() => dialer.seen.length === 12);
    // The pauses after the first attempts: no clock goes on.
    closing.abort();

    for (const error of await Promise.all(calls)) expect(error).toMatchObject({ message: "closed" });
    expect(dialer.seen).toHaveLength(24);
  });

  test("pauses longer and longer, and gives up at the deadline with the carrier's error", async () => {
    const times: number[] = [];
    const dialer = aDialer(() => {
      times.push(Date.now() - NOW_MS);
      throw lost("unknown");
    });
    const { error } = await settled(aClient(dialer).call("whoami", {}));
    const pauses = times.slice(1).map((time, index) => time - (times[index] ?? 0));

    expect(error).toMatchObject({ name: "CarrierError", applied: "unknown" });
    expect(times.length).toBeGreaterThan(8);
    expect(times.at(-1)).toBeLessThan(30_000);
    expect(times.at(-1)).toBeGreaterThan(20_000);
    for (const [index, pauseMs] of pauses.entries()) {
      const backoffMs = Math.min(100 * 2 ** index, 5000);
      expect(pauseMs).toBeGreaterThanOrEqual(Math.floor(backoffMs / 2));
      expect(pauseMs).toBeLessThanOrEqual(backoffMs + 1);
    }
  });

  test.each([
    ["30 s for a call", {}, {}, 30_000],
    ["the carrier's own time", { defaultDeadlineMs: 120_000 }, {}, 120_000],
    ["what the caller says", { defaultDeadlineMs: 120_000 }, { deadlineMs: 700 }, 700],
    ["no more than a timer counts, which would end at once", {}, { deadlineMs: Infinity }, 2 ** 31 - 1],
  ])("gets %s", async (_title, carrier, options, deadlineMs) => {
    const dialer = aDialer(example, carrier);
    await aClient(dialer).call("whoami", {}, options);

    expect(dialer.seen[0]?.call).toMatchObject({ waitMs: 0, deadlineMs });
  });

  test.each([
    ["wait_job with its wait", "wait_job", { wait_ms: 9000 }, 9000],
    ["wait_job with more than the carrier holds", "wait_job", { wait_ms: 240_000 }, 25_000],
    ["wait_job untold", "wait_job", {}, 25_000],
    ["get_job_logs with a wait", "get_job_logs", { wait_ms: 5000 }, 5000],
    ["get_job_logs untold", "get_job_logs", {}, 0],
  ] as const)("gets its wait and 30 s: %s", async (_title, method, params, waitMs) => {
    const dialer = aDialer(example);
    await aClient(dialer).call(method, { id: ID, ...params });

    expect(dialer.seen[0]?.call).toMatchObject({ waitMs, deadlineMs: waitMs + 30_000 });
  });

  test("tells each repeat how much time is left", async () => {
    const dialer = losing([lost("no"), lost("no"), lost("no")]);
    await settled(aClient(dialer).call("whoami", {}));
    const left = dialer.seen.map(({ call }) => call.deadlineMs);

    expect(left[0]).toBe(30_000);
    expect(left.toSorted((a, b) => b - a)).toEqual(left);
    expect(left.at(-1)).toBeLessThan(30_000);
  });

  test("is signed once more at once when the carrier says so, and only once", async () => {
    const dialer = losing([lost("unknown", true)]);
    await expect(aClient(dialer).call("whoami", {})).resolves.toBeDefined();
    expect(new Set(dialer.seen.map((request) => authOf(request)["nonce"])).size).toBe(2);

    const always = losing([lost("unknown", true), lost("unknown", true)]);
    await expect(aClient(always).call("whoami", {})).rejects.toMatchObject({ mustSignAgain: true });
    expect(always.seen).toHaveLength(2);
  });

  test("whose nonce was used is signed once more where the carrier may have delivered it twice", async () => {
    const replay = { error: { code: -32_005, message: "Nonce already used" } };
    const once = aDialer((request, count) => (count === 0 ? replay : example(request)), { mayDeliverTwice: true });
    await expect(aClient(once).call("whoami", {})).resolves.toEqual(METHODS.whoami.example.result);
    expect(new Set(once.seen.map((request) => authOf(request)["nonce"])).size).toBe(2);

    const always = aDialer(() => replay, { mayDeliverTwice: true });
    await expect(aClient(always).call("whoami", {})).rejects.toMatchObject({ code: -32_005 });
    expect(always.seen).toHaveLength(2);
  });

  test("whose nonce was used is refused where the carrier delivers once, and after its deadline", async () => {
    const replay = { error: { code: -32_005, message: "Nonce already used" } };
    const sure = aDialer(() => replay);
    await expect(aClient(sure).call("whoami", {})).rejects.toMatchObject({ code: -32_005 });
    expect(sure.seen).toHaveLength(1);

    const late = aDialer(
      () => {
        vi.setSystemTime(NOW_MS + 30_001);
        return replay;
      },
      { mayDeliverTwice: true },
    );
    await expect(aClient(late).call("whoami", {})).rejects.toMatchObject({ code: -32_005 });
    expect(late.seen).toHaveLength(1);
  });

  test("that waits is repeated with what is left of its time", async () => {
    const dialer = aDialer(
      (request, count) => {
        if (count > 0) return example(request);
        vi.setSystemTime(NOW_MS + 255_000);
        return { error: { code: -32_005, message: "Nonce already used" } };
      },
      { defaultDeadlineMs: 120_000, waitMarginMs: 60_000, maxWaitMs: 240_000, mayDeliverTwice: true },
    );

    await aClient(dialer).call("wait_job", { id: ID, wait_ms: 240_000 });

    expect(dialer.seen.map(({ params }) => params["wait_ms"])).toEqual([240_000, 35_000]);
    expect(dialer.seen[1]?.call).toMatchObject({ waitMs: 35_000, deadlineMs: 45_000 });
  });

  test("has as long as the carrier wishes, beside its wait as well", async () => {
    const dialer = aDialer(example, { defaultDeadlineMs: 120_000, waitMarginMs: 60_000, maxWaitMs: 240_000 });
    await aClient(dialer).call("whoami", {});
    await aClient(dialer).call("wait_job", { id: ID, wait_ms: 200_000 });

    expect(dialer.seen.map(({ call }) => call.deadlineMs)).toEqual([120_000, 260_000]);
  });

  test("is not signed again after its deadline", async () => {
    const dialer = aDialer(() => {
      vi.setSystemTime(NOW_MS + 30_001);
      throw lost("unknown", true);
    });
    await expect(aClient(dialer).call("whoami", {})).rejects.toMatchObject({ mustSignAgain: true });
    expect(dialer.seen).toHaveLength(1);
  });
});

describe("a caller that gives up", () => {
  test("gets its own reason, before the call and during a pause", async () => {
    const reason = new Error("enough");
    const dialer = losing([lost("no"), lost("no")]);

    await expect(aClient(dialer).call("whoami", {}, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(dialer.seen).toHaveLength(0);

    const controller = new AbortController();
    const work = aClient(dialer).call("whoami", {}, { signal: controller.signal });
    await vi.advanceTimersByTimeAsync(10);
    controller.abort(reason);
    await expect(work).rejects.toBe(reason);
    expect(dialer.seen).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("reaches the carrier, and is not told of the carrier's own error", async () => {
    const controller = new AbortController();
    const dialer = aDialer(({ call }) => {
      controller.abort(new Error("enough"));
      throw lost(call.signal?.aborted === true ? "unknown" : "no");
    });

    await expect(aClient(dialer).call("whoami", {}, { signal: controller.signal })).rejects.toThrow("enough");
  });
});

describe("many calls that one signal ends", () => {
  test("hear of it by one listener, since Node warns of more than ten, and leave none behind", async () => {
    const controller = new AbortController();
    const dialer = aDialer(async ({ call }) => {
      await new Promise((resolve) => call.signal?.addEventListener("abort", resolve));
      throw lost("unknown");
    });
    const client = aClient(dialer);
    const listeners = (): number => getEventListeners(controller.signal, "abort").length;
    const calls = Array.from({ length: 20 }, async () => client.call("whoami", {}, { signal: controller.signal }));
    const ends = Promise.allSettled(calls);
    await vi.waitFor(() => expect(dialer.seen).toHaveLength(20));
    const present = listeners();

    controller.abort(new Error("enough"));

    expect((await ends).map((end) => "reason" in end && String(end.reason))).toEqual(calls.map(() => "Error: enough"));
    expect([present, listeners()]).toEqual([1, 0]);
  });
});

describe("a refusal for the clock", () => {
  test.each([3600, -86_400, 1])(
    "is met once with the supervisor's clock, %d s from ours, which is kept",
    async (offset) => {
      const dialer = aDialer((request, count) => (count === 0 ? stale(1_790_000_030 + offset) : example(request)));
      const client = aClient(dialer);
      await expect(client.call("whoami", {})).resolves.toBeDefined();
      await client.call("whoami", {});

      expect(dialer.seen.map((request) => authOf(request)["iat"])).toEqual(
        [0, offset, offset].map((difference) => 1_790_000_030 + difference),
      );
    },
  );

  test("is thrown when it comes again", async () => {
    const dialer = aDialer(() => stale(1_790_003_630));

    await expect(aClient(dialer).call("whoami", {})).rejects.toMatchObject({ code: -32_002 });
    expect(dialer.seen).toHaveLength(2);
  });

  test.each([
    ["further than a day", stale(1_790_000_030 + 86_401)],
    ["a fraction", stale(1_790_003_630.5)],
    ["no number", stale("1790003630")],
    ["absent", { error: { code: -32_002, message: "Outside the time window" } }],
    ["null", { error: { code: -32_002, message: "Outside the time window", data: null } }],
    ["another error's", { error: { code: -32_005, message: "Replay", data: { now: 1_790_003_630 } } }],
  ])("changes no clock when its time is %s", async (_title, answer) => {
    const dialer = aDialer(() => answer);

    await expect(aClient(dialer).call("whoami", {})).rejects.toThrow(RpcError);
    expect(dialer.seen).toHaveLength(1);
  });

  test("is the job's own when a job is out of its time: signing the call again would not help", async () => {
    const dialer = aDialer(() => stale(1_790_003_630));

    await expect(aClient(dialer).submitJob(await aSignedJob())).rejects.toMatchObject({ code: -32_002 });
    expect(dialer.seen).toHaveLength(1);
  });
});
