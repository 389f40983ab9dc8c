import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { impatientDialer } from "../../../bin/impatient-dialer.ts";
import { Silence } from "../../../bin/silence.ts";
import { CarrierError } from "../../../src/errors.ts";
import type { Dialer, OutgoingCall } from "../../../src/rpc/transport.ts";

const URL_OF_IT = "http://127.0.0.1:8080";
const NEVER = new AbortController().signal;

let told: string[] = [];
let silence: Silence;

beforeEach(() => {
  vi.useFakeTimers();
  told = [];
  silence = new Silence(URL_OF_IT, (text) => told.push(text));
});

afterEach(() => {
  silence.end();
  vi.useRealTimers();
});

/** A carrier that does with each call what the test says. */
function aDialer(call: (outgoing: OutgoingCall) => Promise<string>): Dialer {
  const carrier = { url: URL_OF_IT, validitySeconds: 30, maxWaitMs: 25_000, call, close: async () => undefined };
  return impatientDialer(carrier, NEVER, silence);
}

const lasting = async (ms: number): Promise<string> => new Promise((resolve) => setTimeout(() => resolve("{}"), ms));
const aCall = (waitMs = 0): OutgoingCall => ({ id: "1", text: "{}", waitMs, deadlineMs: 60_000 });

describe("a person who waits for a call", () => {
  test("hears nothing where the answer takes as long as it may", async () => {
    const dialer = aDialer(async ({ waitMs }) => lasting(waitMs + 2900));

    for (const waitMs of [0, 25_000, 0]) {
      const answer = dialer.call(aCall(waitMs));
      await vi.advanceTimersByTimeAsync(waitMs + 2900);
      await answer;
    }
    await vi.advanceTimersByTimeAsync(60_000);

    expect(told).toEqual([]);
  });

  test("hears once that nobody answers, and that somebody does again", async () => {
    const dialer = aDialer(async () => lasting(20_000));
    const answer = dialer.call(aCall());
    await vi.advanceTimersByTimeAsync(3000);
    expect(told).toEqual([expect.stringMatching(/^no answer from http:\S+ since \d\d:\d\d:\d\d; trying on$/u)]);

    await vi.advanceTimersByTimeAsync(17_000);
    await answer;

    expect(told.slice(1)).toEqual([`${URL_OF_IT} answers again`]);
  });

  test("hears of it soon after a call came back without an answer, however long the next one may take", async () => {
    let isAway = true;
    const dialer = aDialer(async () => (isAway ? Promise.reject(new CarrierError("cut", "unknown")) : lasting(10)));
    for (let again = 0; again < 4; again += 1) {
      await expect(dialer.call(aCall(25_000))).rejects.toThrow("cut");
      await vi.advanceTimersByTimeAsync(900);
    }
    expect(told).toHaveLength(1);

    isAway = false;
    const answer = dialer.call(aCall(25_000));
    await vi.advanceTimersByTimeAsync(10);
    await answer;

    expect(told).toHaveLength(2);
  });
});
