/** Every payload size arrives, as request and as reply; with SOAK=1 each from 1 to 5,000 over the wire. */

import { afterEach, describe, expect, test } from "vitest";

import { Settings } from "../../../src/settings.ts";
import { MyceliumDaemon } from "../../../transports/mycelium/daemon.ts";
import { padPayload } from "../../../transports/mycelium/padding.ts";
import { isUndeliverable } from "../../support/mycelium-daemon.ts";
import { aCall } from "../../support/mycelium-harness.ts";
import { type Bench, Benches } from "../../support/mycelium-setup.ts";
import { isSoak } from "../../support/soak.ts";

const benches = new Benches();
afterEach(() => benches.close());

/** Sizes around each edge, and all of them with SOAK=1. */
function sizes(): number[] {
  const all = Array.from({ length: 5_000 }, (_, index) => index + 1);
  const edges = new Set([0, 1, 2, 125, 248, 249, 250, 251, 1_299]);
  return isSoak ? all : all.filter((size) => edges.has(size % 1_300) || size % 97 === 0);
}

function randomSizes(bench: Bench): number[] {
  const count = isSoak ? 200 : 10;
  return Array.from({ length: count }, () => 1 + Math.floor(bench.overlay.random() * (1024 * 1024 - 250)));
}

/** Sends payloads of these sizes, some at a time, each answered by one of the same size. */
async function echoAll(bench: Bench, wanted: readonly number[]): Promise<number[]> {
  bench.handler.handle = (bytes) => {
    const length = Buffer.from(bytes).toString("latin1").trimEnd().length;
    return Promise.resolve({ ...bench.handler.claims, isRepeatable: false, bytes: Buffer.alloc(length, "y") });
  };
  await bench.listen();
  const daemon = new MyceliumDaemon({ api: bench.near.api });
  const arrived: number[] = [];
  const left = [...wanted];
  const lane = async (): Promise<void> => {
    for (let size = left.pop(); size !== undefined; size = left.pop()) {
      const payload = padPayload(Buffer.alloc(size, "x"));
      const to = { pk: bench.far.publicKey };
      const reply = await daemon.push({ to, topic: "supervisor.rpc", payload, replyTimeoutSeconds: 20 });
      arrived.push(
        Buffer.from(reply?.payload ?? [])
          .toString("latin1")
          .trimEnd().length,
      );
    }
  };
  await Promise.all(Array.from({ length: 8 }, lane));
  return arrived;
}

describe("payloads", () => {
  test("of each size up to 5,000 arrive and come back", { timeout: isSoak ? 300_000 : 90_000 }, async () => {
    const bench = await benches.create();

    const arrived = await echoAll(bench, sizes());

    expect(arrived.toSorted((one, other) => one - other)).toEqual(sizes());
  });

  test("of random sizes up to a megabyte arrive and come back", { timeout: isSoak ? 300_000 : 90_000 }, async () => {
    const bench = await benches.create({ seed: 42 });
    const wanted = randomSizes(bench);

    const arrived = await echoAll(bench, wanted);

    expect(arrived.toSorted((one, other) => one - other)).toEqual(wanted.toSorted((one, other) => one - other));
  });

  test("that the overlay never delivers are made larger by the dialer", async () => {
    const bench = await benches.create();
    await bench.listen();
    const dialer = bench.dial();
    const overhead = aCall("0000", "").text.length;

    for (const wanted of [1_300, 1_301, 1_549, 1_550, 2_601]) {
      const call = aCall(String(wanted), "x".repeat(wanted - overhead));
      expect(call.text).toHaveLength(wanted);
      expect(await dialer.call(call)).toContain("xxx");
    }
    expect(isUndeliverable(1_301)).toBe(true);
  });

  // At 1,400 bytes what fits is made larger on its way; the other is the most that can be set.
  test.each([1_400, Number(Reflect.get(Settings.properties.mycelium.properties.max_message_bytes, "maximum"))])(
    "of the largest size that is permitted arrive and come back: %i bytes",
    async (maxMessageBytes) => {
      const bench = await benches.create();
      await bench.listen({ maxMessageBytes });
      const params = "x".repeat(maxMessageBytes - aCall("1", "").text.length);
      const call = aCall("1", params);
      bench.handler.respond = () => `${params}${"y".repeat(16)}`;
      expect(call.text).toHaveLength(maxMessageBytes);

      const answer = await bench.dial({ maxMessageBytes }).call(call);

      expect(answer).toHaveLength(maxMessageBytes);
    },
  );
});
