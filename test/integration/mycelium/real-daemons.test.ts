/** Listener and dialer over two real daemons, where MYCELIUM_BIN names the binary; with SOAK=1 every size as well. */

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { MyceliumDaemon } from "../../../transports/mycelium/daemon.ts";
import { MyceliumDialer } from "../../../transports/mycelium/dialer.ts";
import { MyceliumListener } from "../../../transports/mycelium/listener.ts";
import { padPayload } from "../../../transports/mycelium/padding.ts";
import { StubHandler, aCall, captureLog, until, within } from "../../support/mycelium-harness.ts";
import { type Pair, realPair } from "../../support/mycelium-pair.ts";
import { unlimited } from "../../support/mycelium-setup.ts";
import { isSoak } from "../../support/soak.ts";

const binary = process.env["MYCELIUM_BIN"] ?? "";

describe.skipIf(binary === "")("over real daemons", () => {
  const handler = new StubHandler();
  let pair: Pair;
  let listener: MyceliumListener;
  let dialer: MyceliumDialer;
  /** One message and its reply without listener and dialer, in ms. */
  let bare: number;

  beforeAll(async () => {
    pair = await realPair(binary);
    bare = await median(() => pingPong(pair));
    const { log } = captureLog();
    listener = new MyceliumListener({ api: pair.far.api }, { handler, log, governor: unlimited() });
    await listener.start();
    const url = `mycelium://${pair.far.publicKey}`;
    dialer = new MyceliumDialer({ api: pair.near.api, url, governor: unlimited(), repeatAfterMs: 5_000 });
  }, 60_000);

  afterAll(async () => {
    await dialer.close();
    await listener.stop(within(5_000));
    await pair.close();
  });

  test("a call is answered in hardly more time than the bare daemons need", async () => {
    let count = 0;
    const whole = await median(() => dialer.call(aCall(`m${(count += 1)}`)));

    process.stdout.write(`one call ${whole.toFixed(1)} ms, bare daemons ${bare.toFixed(1)} ms\n`);
    // Twice is no promise, only far beyond noise: a read that holds the lock would cost up to ten times as much.
    expect(whole).toBeLessThan(2 * bare);
  }, 60_000);

  test("two thousand calls are answered, a hundred to a message", async () => {
    const before = handler.handled.length;

    const texts = await Promise.all(
      Array.from({ length: 2_000 }, (_, index) => dialer.call(aCall(`b${index}`, index))),
    );

    expect(new Set(texts).size).toBe(2_000);
    expect(handler.handled.length - before).toBeLessThan(40);
  }, 60_000);

  test("sizes around the edges arrive and come back", { timeout: 600_000 }, async () => {
    const edges = [0, 1, 249, 250, 1_299, 1_300, 1_301, 1_400, 1_549, 1_550, 2_601, 5_000, 62_000, 500_000, 1_048_000];
    const left = isSoak ? [...edges, ...Array.from({ length: 5_000 }, (_, index) => index + 1)] : [...edges];
    const echo = handler.handle.bind(handler);
    handler.handle = (bytes) => {
      const length = Buffer.from(bytes).toString("latin1").trimEnd().length;
      return Promise.resolve({ ...handler.claims, isRepeatable: false, bytes: Buffer.alloc(length, "y") });
    };
    const near = new MyceliumDaemon({ api: pair.near.api });
    const wrong: number[] = [];
    const lane = async (): Promise<void> => {
      for (let size = left.pop(); size !== undefined; size = left.pop()) {
        const payload = padPayload(Buffer.alloc(size, "x"));
        const to = { pk: pair.far.publicKey };
        const reply = await near.push({ to, topic: "supervisor.rpc", payload, replyTimeoutSeconds: 60 });
        if (
          Buffer.from(reply?.payload ?? [])
            .toString("latin1")
            .trimEnd().length !== size ||
          reply === undefined
        ) {
          wrong.push(size);
        }
      }
    };
    await Promise.all(Array.from({ length: 8 }, lane));
    handler.handle = echo;

    expect(wrong).toEqual([]);
  });

  test("the peer's daemon may be killed: it is found again, and calls are answered", async () => {
    await pair.far.stop();
    await until(() => !listener.status().isUp);
    const call = dialer.call(aCall("after", "the kill"));
    await pair.far.start();

    expect(await call).toContain("the kill");
    expect(listener.status().isUp).toBe(true);
  }, 120_000);
});

async function pingPong({ near, far }: Pair): Promise<void> {
  const [caller, server] = [new MyceliumDaemon({ api: near.api }), new MyceliumDaemon({ api: far.api })];
  const to = { pk: far.publicKey };
  const answer = caller.push({ to, topic: "bare", payload: Buffer.from("?"), replyTimeoutSeconds: 10 });
  const message = await server.peek("bare", 5);
  await server.take("bare");
  await server.reply(message?.id ?? "", message?.srcPk ?? "", Buffer.from("!"));
  await answer;
}

async function median(run: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let count = 0; count < 11; count += 1) {
    const startedAt = performance.now();
    await run();
    times.push(performance.now() - startedAt);
  }
  return times.toSorted((one, other) => one - other)[5] ?? 0;
}
