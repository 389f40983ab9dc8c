/** One message until it is answered: how often it is sent where the daemon answers oddly, or not at all. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { addressOf, formatAddress } from "../../../transports/mycelium/address.ts";
import { toBase64 } from "../../../transports/mycelium/base64.ts";
import { MyceliumDaemon } from "../../../transports/mycelium/daemon.ts";
import { exchange } from "../../../transports/mycelium/exchange.ts";
import { Governor } from "../../../transports/mycelium/governor.ts";

const KEY = "ab".repeat(32);
const ID = "0".repeat(16);

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** A daemon whose API answers as told, by when it is asked. */
function aDaemon(answer: () => Response): { readonly daemon: MyceliumDaemon; readonly asked: string[] } {
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (url: string) => {
    asked.push(url);
    return Promise.resolve(answer());
  });
  return { daemon: new MyceliumDaemon(), asked };
}

async function send(
  daemon: MyceliumDaemon,
  { governor = new Governor(), repeatAfterMs = 15_000, forMs = 30_000 },
): Promise<string> {
  const stop = new AbortController();
  setTimeout(() => stop.abort(), forMs);
  const outcome = exchange(
    { daemon, governor, to: { pk: KEY }, topic: "t" },
    {
      payload: new TextEncoder().encode("{}"),
      repeatAfterMs,
      signal: stop.signal,
      onSent: () => undefined,
      onTrouble: () => undefined,
    },
  ).then(
    (payload) => new TextDecoder().decode(payload),
    (error: unknown) => (error instanceof Error ? error.message : ""),
  );
  await vi.advanceTimersByTimeAsync(forMs);
  return outcome;
}

function aReply(srcPk: string): Response {
  const srcIp = formatAddress(addressOf(srcPk));
  return Response.json({ id: ID, srcIp, srcPk, payload: toBase64(new TextEncoder().encode("hello")) });
}

test.each([
  ["ends its wait at once", () => Response.json({ id: ID }, { status: 408 })],
  ["does not wait", () => Response.json({ id: ID }, { status: 201 })],
  ["hands out replies of other nodes", () => aReply("cd".repeat(32))],
])("a daemon that %s is not given the message as fast as it goes", async (_what, answer) => {
  const { daemon, asked } = aDaemon(answer);

  await send(daemon, {});

  expect(asked.length).toBeLessThan(25);
  expect(new Set(asked)).toEqual(new Set([expect.stringContaining("reply_timeout=15")]));
});

test("an absent daemon is waited for as long after a long wait for the governor", async () => {
  const governor = new Governor({ perSecond: 0.1, burst: 1 });
  expect(governor.tryAcquire()).toBe(true);
  let isThere = false;
  const { daemon } = aDaemon(() => {
    if (!isThere) {
      throw new TypeError("fetch failed", { cause: Object.assign(new Error("refused"), { code: "ECONNREFUSED" }) });
    }
    return aReply(KEY);
  });
  setTimeout(() => {
    isThere = true;
  }, 11_000);

  expect(await send(daemon, { governor, forMs: 60_000 })).toBe("hello");
});
