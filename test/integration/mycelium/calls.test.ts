/** Calls over two simulated daemons: dialer, listener and what lies between. */

import { setTimeout as sleep } from "node:timers/promises";

import { afterEach, describe, expect, test } from "vitest";

import { MyceliumDaemon } from "../../../transports/mycelium/daemon.ts";
import { aCall, aGate, until, within } from "../../support/mycelium-harness.ts";
import { Benches, unlimited } from "../../support/mycelium-setup.ts";

const benches = new Benches();
afterEach(() => benches.close());

describe("a call", () => {
  test("is answered, and the handler learns who carried it", async () => {
    const bench = await benches.create();
    const listener = await bench.listen();

    const text = await bench.dial().call(aCall("1", { greeting: "hello" }));

    expect(JSON.parse(text)).toEqual({ jsonrpc: "2.0", id: "1", result: { greeting: "hello" } });
    expect(bench.handler.connections[0]).toMatchObject({
      peer: { transport: "mycelium", address: bench.near.address, node: `x25519:${bench.near.publicKey}` },
      maxWaitMs: 240_000,
      maxAnswerBytes: 1024 * 1024,
    });
    expect(listener.status()).toEqual({ name: "mycelium", isUp: true, url: `mycelium://${bench.far.publicKey}` });
    expect(listener.peersSeen()).toMatchObject([{ address: bench.near.address, calls: 1, refused: 0 }]);
    await until(() => bench.far.inbox.length === 0);
  });

  test.each(["hold", "poll"] as const)("tells how long its answer and the receipt took (%s)", async (receive) => {
    const delayMs = 20;
    const bench = await benches.create({ link: { delayMs } });
    const listener = await bench.listen({ receive });
    const dialer = bench.dial();
    await dialer.call(aCall("1"));
    await until(() => listener.peersSeen()[0]?.roundTripMs !== undefined);

    const [peer] = listener.peersSeen();
    // Six one-way delays, less what the machine took to tell that the reply is on its way; how much more is the machine's.
    expect(peer?.roundTripMs).toBeGreaterThanOrEqual(delayMs);
    const looks = (): number => bench.far.requests.filter((line) => line.startsWith("GET /messages/status/")).length;
    const before = looks();
    await dialer.call(aCall("2"));
    expect(looks()).toBe(before);
    expect(listener.peersSeen()).toMatchObject([{ calls: 2, roundTripMs: peer?.roundTripMs }]);
  });

  test.each(["hold", "poll"] as const)("is answered by a listener that receives by %s", async (receive) => {
    const bench = await benches.create();
    await bench.listen({ receive });

    expect(await bench.dial().call(aCall("1", 7))).toContain("7");
  });

  test("reaches a node by its overlay address", async () => {
    const bench = await benches.create();
    await bench.listen();

    expect(await bench.dial({ url: `mycelium://[${bench.far.address}]` }).call(aCall("1", 7))).toContain("7");
  });

  test("is answered with an error object as with a result", async () => {
    const bench = await benches.create();
    bench.handler.respond = () => ({ error: { code: -32004, message: "Not found" } });
    await bench.listen();

    const text = await bench.dial().call(aCall("1"));

    expect(JSON.parse(text)).toEqual({ jsonrpc: "2.0", id: "1", error: { code: -32004, message: "Not found" } });
  });

  test("gets its own id on an error that concerns the whole message", async () => {
    const bench = await benches.create();
    await bench.listen();

    const text = await bench.dial().call({ ...aCall("mine"), text: "{" });

    expect(JSON.parse(text)).toMatchObject({ id: "mine", error: { code: -32700 } });
  });

  test("fails clearly when the answer leaves it out, or is not JSON-RPC", async () => {
    const bench = await benches.create();
    bench.handler.respond = ({ params }) => params;
    await bench.listen();
    const dialer = bench.dial();

    const stray = dialer.call({ ...aCall("a"), text: aCall("b").text });
    await expect(stray).rejects.toMatchObject({ name: "CarrierError", applied: "unknown" });

    bench.handler.handle = () => Promise.resolve({ ...bench.handler.claims, bytes: Buffer.from("[7]") });
    await expect(dialer.call(aCall("c"))).rejects.toThrow("is not JSON-RPC");
  });

  test("ends with an error that names the reasons when nobody answers", async () => {
    const bench = await benches.create();

    const call = bench.dial().call(aCall("1", {}, { deadlineMs: 200 }));

    await expect(call).rejects.toMatchObject({ applied: "unknown", mustSignAgain: false });
    await expect(call).rejects.toThrow(/no route to it, it is not running, or its whitelist refuses this node/);
  });

  test("ends when its signal aborts, and does not leave when that was before", async () => {
    const bench = await benches.create();
    const dialer = bench.dial();
    const stop = new AbortController();

    const call = dialer.call(aCall("1", {}, { signal: stop.signal }));
    await until(() => bench.near.sent.length > 0);
    stop.abort();
    await expect(call).rejects.toMatchObject({ applied: "unknown" });
    await expect(dialer.call(aCall("2", {}, { signal: stop.signal }))).rejects.toMatchObject({ applied: "no" });
    await expect(dialer.call(aCall("3", {}, { signal: stop.signal, waitMs: 9 }))).rejects.toMatchObject({
      applied: "no",
    });
    expect(bench.near.sent).toHaveLength(1);
    // What comes later finds nothing of the two on its way: neither is sent, nor repeated for ever.
    await bench.listen();
    expect(await dialer.call(aCall("4"))).toContain('"4"');
    expect(bench.near.sent).toHaveLength(2);
  });

  test("is refused when it is too large, and after the dialer was closed", async () => {
    const bench = await benches.create();
    const dialer = bench.dial({ maxMessageBytes: 1_000 });

    await expect(dialer.call(aCall("1", "x".repeat(1_000)))).rejects.toThrow("Mycelium carries at most 1000 bytes");
    const open = dialer.call(aCall("2"));
    const closed = { isFinal: true, message: `${dialer.url}: the dialer is closed` };
    await Promise.all([expect(open).rejects.toMatchObject(closed), dialer.close()]);
    await expect(dialer.call(aCall("3"))).rejects.toMatchObject({ isFinal: true, applied: "no" });
    expect(dialer.closed.aborted).toBe(true);
  });

  test("to the daemon's own node is refused, by key or by address", async () => {
    const bench = await benches.create();
    for (const url of [`mycelium://${bench.near.publicKey}`, `mycelium://[${bench.near.address}]`]) {
      const call = bench.dial({ url }).call(aCall("1"));

      await expect(call).rejects.toThrow("the overlay delivers nothing to oneself");
      await expect(call).rejects.toMatchObject({ applied: "no" });
    }
  });

  test("is answered only by the node that was addressed", async () => {
    const bench = await benches.create();
    const dialer = bench.dial({ repeatAfterMs: 1_000 });
    const call = dialer.call(aCall("1", "?"));
    await until(() => bench.far.inbox.length > 0);
    const [request] = bench.far.inbox;
    const forged = { id: request?.id ?? "", isReply: true, topic: Buffer.alloc(0), dstIp: "", dstPk: "" };
    const other = await bench.overlay.createNode();
    const payload = Buffer.from(JSON.stringify({ jsonrpc: "2.0", id: "1", result: "forged" }));
    bench.near.accept({ ...forged, srcIp: other.address, srcPk: other.publicKey, payload });

    await bench.listen();
    expect(await call).toContain("?");
  });
});

describe("batches", () => {
  test("carry the calls made at the same time", async () => {
    const bench = await benches.create();
    await bench.listen();
    const dialer = bench.dial();

    const texts = await Promise.all(Array.from({ length: 250 }, (_, index) => dialer.call(aCall(`c${index}`, index))));

    expect(texts.map((text): unknown => JSON.parse(text))).toEqual(
      Array.from({ length: 250 }, (_, index) => ({ jsonrpc: "2.0", id: `c${index}`, result: index })),
    );
    expect(bench.handler.handled).toHaveLength(3);
  });

  test("gather calls while four messages are in flight", async () => {
    const bench = await benches.create({ link: { delayMs: 20 } });
    await bench.listen();
    const dialer = bench.dial();

    const calls: Promise<string>[] = [];
    for (let index = 0; index < 30; index += 1) {
      calls.push(dialer.call(aCall(`c${index}`, index)));
      await until(() => bench.near.sent.length >= Math.min(index + 1, 4));
    }
    await Promise.all(calls);

    expect(bench.handler.handled.slice(0, 4).every((text) => text.startsWith("{"))).toBe(true);
    expect(bench.handler.handled.length).toBeLessThan(30);
  });

  test("hold at most 60 kB; a larger call travels alone", async () => {
    const bench = await benches.create();
    await bench.listen();
    const dialer = bench.dial();

    await Promise.all(
      [30_000, 29_000, 100_000, 10].map((size, index) => dialer.call(aCall(`c${index}`, "x".repeat(size)))),
    );

    const shapes = bench.handler.handled.map((text) => (text.startsWith("[") ? "batch" : "single"));
    expect(shapes.toSorted()).toEqual(["batch", "single", "single"]);
    expect(bench.handler.handled.every((text) => text.startsWith("{") || text.length <= 60_000)).toBe(true);
  });

  test("do not take in calls that wait, which do not count among the four", async () => {
    const bench = await benches.create();
    const gate = aGate();
    bench.handler.respond = async ({ params }) => {
      if (params === "wait") {
        await gate.opened;
      }
      return params;
    };
    await bench.listen({ detachAfterMs: 20 });
    const dialer = bench.dial();

    const waiting = Array.from({ length: 6 }, (_, index) =>
      dialer.call(aCall(`w${index}`, "wait", { waitMs: 60_000 })),
    );
    await until(() => bench.handler.handled.length === 6);
    expect(await dialer.call(aCall("quick", "quick"))).toContain("quick");

    gate.open();
    expect(await Promise.all(waiting)).toHaveLength(6);
  });

  test("whose answers are too large together are signed again, and travel alone then", async () => {
    const bench = await benches.create();
    bench.handler.handle = (bytes) => {
      const request: unknown = JSON.parse(Buffer.from(bytes).toString());
      const error = { code: -32013, message: "Too large" };
      const answer = Array.isArray(request)
        ? ["a", "b"].map((id) => ({ jsonrpc: "2.0", id, error }))
        : { jsonrpc: "2.0", id: "a", result: "fits" };
      return Promise.resolve({ ...bench.handler.claims, bytes: Buffer.from(JSON.stringify(answer)) });
    };
    await bench.listen();
    const dialer = bench.dial();

    const results = await Promise.allSettled([dialer.call(aCall("a")), dialer.call(aCall("b"))]);
    expect(results).toMatchObject([{ reason: { mustSignAgain: true } }, { reason: { mustSignAgain: true } }]);
    const [again] = await Promise.allSettled([dialer.call(aCall("a", 2)), dialer.call(aCall("a", 3))]);
    expect(again).toMatchObject({ status: "fulfilled" });
  });
});

describe("the client of the daemon", () => {
  test("cuts its own held read short for what it has to send", async () => {
    const bench = await benches.create();
    await bench.listen();
    const daemon = new MyceliumDaemon({ api: bench.near.api });
    const held = daemon.peek("quiet", 60);
    await until(() => bench.near.requests.length > 0);

    await bench.dial({ daemon, governor: unlimited() }).call(aCall("1"));

    expect(await held).toBeUndefined();
    daemon.close();
  });

  test("tells apart a daemon that is absent, hangs, breaks off, refuses or talks nonsense", async () => {
    const bench = await benches.create();
    const hasty = new MyceliumDaemon({ api: bench.far.api, deadlineMs: 100 });
    const patient = new MyceliumDaemon({ api: bench.far.api });

    bench.far.intercept = () => "hang";
    await expect(hasty.admin()).rejects.toMatchObject({ kind: "lost", message: /did not answer in time/ });
    bench.far.intercept = () => "cut";
    await expect(patient.admin()).rejects.toMatchObject({ kind: "lost", message: /broke/ });
    bench.far.intercept = () => ({ status: 500, body: "on fire" });
    await expect(patient.admin()).rejects.toMatchObject({ kind: "status", status: 500, message: /500 on fire/ });
    for (const body of ["", "[]", "{", { nodeIp: 7 }, { nodeIp: "not an address" }]) {
      bench.far.intercept = () => ({ status: 200, body });
      await expect(patient.admin()).rejects.toMatchObject({ kind: "malformed" });
    }
    bench.far.intercept = undefined;
    await expect(patient.admin(AbortSignal.abort())).rejects.toMatchObject({ kind: "stopped" });
    await bench.far.stop();
    // Kept-alive connections break first.
    const failure = (): Promise<unknown> => patient.admin().catch((error: unknown) => error);
    await until(async () => String(await failure()).includes("ECONNREFUSED"));
    expect(await failure()).toMatchObject({ kind: "refused" });
  });

  test("reads no answer of more than four million characters", async () => {
    const bench = await benches.create();
    bench.far.intercept = () => ({ status: 200, body: "x".repeat(5_000_000) });

    const read = new MyceliumDaemon({ api: bench.far.api }).take("any");

    await expect(read).rejects.toMatchObject({ kind: "malformed", message: /longer than/ });
  });

  test("wants the API on loopback unless it is told otherwise", () => {
    expect(() => new MyceliumDaemon({ api: "http://192.0.2.1:8989/api/v1" })).toThrow("is not on loopback");
    expect(() => new MyceliumDaemon({ api: "ftp://127.0.0.1/" })).toThrow("not an http URL");
    expect(() => new MyceliumDaemon({ api: "nonsense" })).toThrow("not an http URL");
    expect(new MyceliumDaemon({ api: "http://192.0.2.1/", allowRemoteApi: true }).api).toBe("http://192.0.2.1");
    expect(new MyceliumDaemon({ api: "http://[::1]:8989/api/v1/" }).api).toBe("http://[::1]:8989/api/v1");
    expect(new MyceliumDaemon().api).toBe("http://127.0.0.1:8989/api/v1");
  });
});

describe("the end of a listener", () => {
  test("answers what was taken in, and takes in nothing more", async () => {
    const bench = await benches.create();
    const gate = aGate();
    bench.handler.respond = async () => {
      await gate.opened;
      return "done";
    };
    const listener = await bench.listen();
    const dialer = bench.dial();
    const call = dialer.call(aCall("1"));
    await until(() => bench.handler.handled.length === 1);

    const stopped = listener.stop(within(30_000));
    void dialer.call(aCall("2", {}, { deadlineMs: 500 })).catch(() => undefined);
    gate.open();
    await stopped;

    expect(await call).toContain("done");
    expect(bench.handler.handled).toHaveLength(1);
    expect(listener.status()).toMatchObject({ isUp: false, detail: "stopped" });
  });

  test("does not wait for a daemon that hangs once its deadline is over", async () => {
    const bench = await benches.create();
    const listener = await bench.listen();
    await until(() => listener.status().isUp);
    bench.far.intercept = (method) => (method === "POST" ? "hang" : undefined);
    void bench
      .dial()
      .call(aCall("1"))
      .catch(() => undefined);
    await until(() => bench.far.requests.some((request) => request.startsWith("POST /messages/reply")));

    const isStopped = await Promise.race([listener.stop(AbortSignal.abort()).then(() => true), sleep(3_000, false)]);

    expect(isStopped).toBe(true);
  });

  test("tells calls that are still there at the deadline to stop", async () => {
    const bench = await benches.create();
    bench.handler.respond = () => new Promise(() => undefined);
    const listener = await bench.listen({ detachAfterMs: 20 });
    void bench
      .dial()
      .call(aCall("1"))
      .catch(() => undefined);
    await until(() => bench.handler.connections.length === 1);

    await listener.stop(within(50));

    expect(bench.handler.connections[0]?.signal.aborted).toBe(true);
  });
});
