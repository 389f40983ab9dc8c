/** What the listener does with what arrives: repeats, slow calls, floods, forgeries and messages that kill. */

import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, describe, expect, test } from "vitest";

import { addressOf, formatAddress } from "../../../transports/mycelium/address.ts";
import { AnswerCache } from "../../../transports/mycelium/answer-cache.ts";
import { MyceliumDaemon } from "../../../transports/mycelium/daemon.ts";
import { InFlightNotes } from "../../../transports/mycelium/in-flight-notes.ts";
import { Intake } from "../../../transports/mycelium/intake.ts";
import { padPayload } from "../../../transports/mycelium/padding.ts";
import { Peers } from "../../../transports/mycelium/peers.ts";
import { ReplyQueue } from "../../../transports/mycelium/reply-queue.ts";
import type { SimulatedDaemon } from "../../support/mycelium-daemon.ts";
import { StubHandler, aCall, aGate, captureLog, until, within } from "../../support/mycelium-harness.ts";
import { type Bench, Benches, unlimited } from "../../support/mycelium-setup.ts";

const TOPIC = "supervisor.rpc";
const benches = new Benches();
const directories: string[] = [];

afterEach(async () => {
  await benches.close();
  await Promise.all(directories.splice(0).map((path) => rm(path, { recursive: true, force: true })));
});

async function aDirectory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "mycelium-intake-"));
  directories.push(path);
  return path;
}

/** Sends a payload as it is; gives the text of the reply, or undefined when none came in time. */
async function ask(
  bench: Bench,
  text: string,
  options: { from?: SimulatedDaemon; seconds?: number } = {},
): Promise<string | undefined> {
  const daemon = new MyceliumDaemon({ api: (options.from ?? bench.near).api });
  const payload = padPayload(Buffer.from(text));
  const to = { pk: bench.far.publicKey };
  const reply = await daemon.push({ to, topic: TOPIC, payload, replyTimeoutSeconds: options.seconds ?? 5 });
  return reply === undefined ? undefined : Buffer.from(reply.payload).toString().trimEnd();
}

/** What a relay has recorded of a message of the near node arrives once more. */
function playAgain({ near, far }: Bench, id: string, text: string): void {
  const sender = { srcIp: near.address, srcPk: near.publicKey };
  const receiver = { dstIp: far.address, dstPk: far.publicKey };
  far.accept({ ...sender, ...receiver, id, isReply: false, topic: Buffer.from(TOPIC), payload: Buffer.from(text) });
}

describe("a repeat", () => {
  test("gets the cached answer without being executed again", async () => {
    const bench = await benches.create();
    await bench.listen();

    const texts = [await ask(bench, aCall("1", 7).text), await ask(bench, aCall("1", 7).text)];

    expect(texts[0]).toBe(texts[1]);
    expect(bench.handler.handled).toHaveLength(1);
  });

  test("from another node is executed for itself", async () => {
    const bench = await benches.create();
    const other = await bench.overlay.createNode();
    await bench.listen();

    await ask(bench, aCall("1", 7).text);
    await ask(bench, aCall("1", 7).text, { from: other });

    expect(bench.handler.handled).toHaveLength(2);
  });

  test.each([
    ["transient", { isRepeatable: false, principals: ["alice"], keys: ["ed25519:aa"] }],
    ["unauthenticated", { isRepeatable: true, principals: [], keys: [] }],
  ])("of a call with an answer that is %s is executed again", async (_kind, claims) => {
    const bench = await benches.create();
    bench.handler.claims = claims;
    await bench.listen();

    await ask(bench, aCall("1").text);
    await ask(bench, aCall("1").text);

    expect(bench.handler.handled).toHaveLength(2);
  });

  test("is executed again after its key was revoked, even when that happened meanwhile", async () => {
    const bench = await benches.create();
    await bench.listen();

    await ask(bench, aCall("1").text);
    bench.handler.revoke("ed25519:other");
    await ask(bench, aCall("1").text);
    expect(bench.handler.handled).toHaveLength(1);
    bench.handler.revoke("ed25519:aa");
    await ask(bench, aCall("1").text);
    expect(bench.handler.handled).toHaveLength(2);

    bench.handler.respond = () => bench.handler.revoke("ed25519:bb");
    await ask(bench, aCall("2").text);
    await ask(bench, aCall("2").text);
    expect(bench.handler.handled).toHaveLength(4);
  });

  test("joins the call in flight and gets its own reply", async () => {
    const bench = await benches.create();
    const gate = aGate();
    bench.handler.respond = async () => {
      await gate.opened;
      return "once";
    };
    await bench.listen({ detachAfterMs: 10 });

    const asked = Array.from({ length: 20 }, () => ask(bench, aCall("1").text, { seconds: 6 }));
    await until(() => bench.near.sent.length === 20 && bench.far.inbox.length === 0);
    await until(
      () => bench.far.requests.filter((line) => line.startsWith("GET") && !line.includes("peek")).length >= 20,
    );
    gate.open();

    // Sixteen may join; what is beyond gets no answer and finds the cached one with its next repeat.
    const texts = await Promise.all(asked);
    expect(texts.filter((text) => text?.includes("once") === true)).toHaveLength(16);
    expect(bench.handler.handled).toHaveLength(1);
    expect(await ask(bench, aCall("1").text)).toContain("once");
  });
});

describe("a call that takes long", () => {
  test("does not hold up the next one", async () => {
    const bench = await benches.create();
    const gate = aGate();
    bench.handler.respond = async ({ params }) => {
      if (params === "slow") {
        await gate.opened;
      }
      return params;
    };
    await bench.listen();
    const slow = ask(bench, aCall("1", "slow").text);
    await until(() => bench.handler.handled.length === 1);

    expect(await ask(bench, aCall("2", "quick").text)).toContain("quick");
    gate.open();
    expect(await slow).toContain("slow");
  });

  test("is refused where the same node has sixteen of them already", async () => {
    const bench = await benches.create();
    const other = await bench.overlay.createNode();
    const gate = aGate();
    bench.handler.respond = async ({ params }) => {
      await gate.opened;
      return params;
    };
    const listener = await bench.listen({ detachAfterMs: 5 });
    const slow = Array.from({ length: 16 }, (_, index) => ask(bench, aCall(`s${index}`).text, { seconds: 20 }));
    await until(() => bench.handler.handled.length === 16 && bench.far.inbox.length === 0);

    const single = await ask(bench, aCall("17").text);
    const batch = await ask(bench, `[${aCall("18").text},{"jsonrpc":"2.0","method":"silent"},${aCall("19").text}]`);
    const error = { code: -32029, message: "Too many", data: { limit: 16 } };
    expect(JSON.parse(single ?? "")).toEqual({ jsonrpc: "2.0", id: "17", error });
    expect(JSON.parse(batch ?? "")).toMatchObject([
      { id: "18", error },
      { id: "19", error },
    ]);
    expect(bench.handler.connections[16]?.signal.aborted).toBe(true);
    expect(listener.peersSeen()).toMatchObject([{ refused: 2 }]);

    const elsewhere = ask(bench, aCall("20").text, { from: other });
    await until(() => bench.handler.handled.length === 19);
    gate.open();
    expect(await elsewhere).toContain('"20"');
    expect(await Promise.all(slow)).not.toContain(undefined);
  });
});

describe("calls that take long", () => {
  test("are refused beyond so many of all nodes together", async () => {
    const handler = new StubHandler();
    const gate = aGate();
    handler.respond = async () => gate.opened;
    const { log } = captureLog();
    const sent = new Map<string, string>();
    const send = async (id: string, _node: string, bytes: Uint8Array): Promise<void> =>
      void sent.set(id, Buffer.from(bytes).toString());
    const governor = unlimited();
    const replies = new ReplyQueue({
      send,
      governor,
      log,
      now: () => performance.now(),
      unauthenticatedPerSecond: 1e6,
    });
    const parts = { handler, replies, log, cache: new AnswerCache(), notes: new InFlightNotes(undefined) };
    const waits = { maxWaitMs: 1000, detachAfterMs: 5, detachSoonerMs: 1, maxDetachedPerNode: 2 };
    const limits = { ...waits, maxMessageBytes: 1000, maxDetached: 4 };
    const intake = new Intake({ ...parts, peers: new Peers(Date.now), limits });

    for (let index = 0; index < 6; index += 1) {
      const srcPk = String(index).repeat(64);
      const payload = Buffer.from(aCall(`${index}`).text);
      const srcIp = formatAddress(addressOf(srcPk));
      await intake.receive({ id: String(index).repeat(16), srcPk, srcIp, payload });
    }
    await until(() => sent.size === 2);

    expect([...sent.values()].every((text) => text.includes("-32029"))).toBe(true);
    expect([...sent.keys()]).toEqual(["4".repeat(16), "5".repeat(16)]);
    gate.open();
    await intake.close(within(1000));
    await until(() => sent.size === 6);
  });
});

describe("what is not an honest request", () => {
  test("is dropped where key and address do not belong together", async () => {
    const bench = await benches.create();
    const other = await bench.overlay.createNode();
    const listener = await bench.listen();
    const forged = { isReply: false, dstIp: bench.far.address, dstPk: bench.far.publicKey, topic: Buffer.from(TOPIC) };
    const payload = Buffer.from(aCall("1").text);

    bench.far.accept({ ...forged, id: "00".repeat(8), srcIp: other.address, srcPk: bench.near.publicKey, payload });
    await until(() => bench.far.inbox.length === 0);

    expect(await ask(bench, aCall("2").text)).toContain('"2"');
    expect(bench.handler.handled).toHaveLength(1);
    expect(listener.peersSeen()).toHaveLength(1);
  });

  test("is dropped where it is an answer, so that two nodes never answer each other for ever", async () => {
    const bench = await benches.create();
    const listener = await bench.listen();

    const error = '{"jsonrpc":"2.0","id":1,"error":{"code":-32700,"message":"Parse error"}}';
    const asked = [error, `[${error}]`, '{"jsonrpc":"2.0","id":1,"result":1}'].map((text) =>
      ask(bench, text, { seconds: 1 }),
    );

    expect(await Promise.all(asked)).toEqual([undefined, undefined, undefined]);
    expect(bench.handler.handled).toEqual([]);
    expect(listener.peersSeen()).toMatchObject([{ calls: 3, refused: 3 }]);
  });

  test("reaches the handler as it is where it is no JSON, and notifications get no reply", async () => {
    const bench = await benches.create();
    await bench.listen();

    expect(await ask(bench, "\u0000garbage")).toContain("-32700");
    expect(await ask(bench, "")).toContain("-32700");
    expect(await ask(bench, '{"jsonrpc":"2.0","method":"silent"}', { seconds: 1 })).toBeUndefined();
    expect(bench.handler.handled).toHaveLength(3);
  });

  test("is refused unread over the limit, and thrown away where it can not even be read", async () => {
    const bench = await benches.create();
    await bench.listen({ maxMessageBytes: 1_000 });

    expect(await ask(bench, aCall("1", "x".repeat(2_000)).text)).toContain("-32013");
    expect(bench.handler.handled).toEqual([]);
    const huge = Buffer.alloc(4_000_000, "x");
    const envelope = {
      dstIp: bench.far.address,
      dstPk: bench.far.publicKey,
      topic: Buffer.from(TOPIC),
      isReply: false,
    };
    const sender = { srcIp: bench.near.address, srcPk: bench.near.publicKey };
    bench.far.accept({ ...envelope, ...sender, id: "11".repeat(8), payload: huge });
    expect(await ask(bench, aCall("2").text)).toContain('"2"');
    expect(bench.lines.join("")).toContain("Dropped a message that cannot be read");
  });

  test("is not answered twice when a relay plays it again", async () => {
    const bench = await benches.create();
    await bench.listen();
    await ask(bench, aCall("1").text);
    await until(() => bench.far.inbox.length === 0);
    const [id = ""] = bench.near.sent;

    playAgain(bench, id, aCall("1").text);
    await until(() => bench.lines.join("").includes("it was answered before"));

    expect(bench.handler.handled).toHaveLength(1);
    expect(bench.far.sent).toHaveLength(1);
  });

  test("is not answered twice either when that happens while its call is in flight", async () => {
    const bench = await benches.create();
    const gate = aGate();
    bench.handler.respond = async ({ params }) => {
      await gate.opened;
      return params;
    };
    await bench.listen({ detachAfterMs: 5 });
    const asked = ask(bench, aCall("1").text);
    await until(() => bench.handler.handled.length === 1 && bench.far.inbox.length === 0);
    const [id = ""] = bench.near.sent;

    playAgain(bench, id, aCall("1").text);
    await until(() => bench.far.inbox.length === 0);
    gate.open();
    expect(await asked).toContain('"1"');
    expect(await ask(bench, aCall("2").text)).toContain('"2"');

    const replies = bench.far.requests.filter((request) => request === `POST /messages/reply/${id}`);
    expect(replies).toHaveLength(1);
  });

  test("shares two replies a second where it is not authenticated, and never slows those who are", async () => {
    const bench = await benches.create();
    bench.handler.claims = { principals: [], keys: [], isRepeatable: false };
    const listener = await bench.listen();
    const flood = Array.from({ length: 60 }, (_, index) => ask(bench, aCall(`f${index}`).text, { seconds: 1 }));
    await until(() => bench.handler.handled.length === 60);
    bench.handler.claims = { principals: ["alice"], keys: ["ed25519:aa"], isRepeatable: true };

    expect(await ask(bench, aCall("1").text)).toContain('"1"');
    const answered = (await Promise.all(flood)).filter((text) => text !== undefined).length;
    const [seen] = listener.peersSeen();
    const refused = seen?.refused ?? 0;
    // Ten at once and two a second; a reply may miss its caller where the machine is slow.
    expect(seen?.calls).toBe(61);
    expect(refused).toBeGreaterThan(0);
    expect(refused).toBeLessThanOrEqual(50);
    expect(answered).toBeLessThanOrEqual(60 - refused);
  });

  test("can not stop the loop, not even by a handler that breaks its promises", async () => {
    const bench = await benches.create();
    await bench.listen();
    bench.handler.respond = ({ method }) => {
      throw new Error(method);
    };
    const handle = bench.handler.handle.bind(bench.handler);
    bench.handler.handle = (bytes, connection) => {
      if (Buffer.from(bytes).includes("at once")) {
        throw new Error("thrown at once");
      }
      return handle(bytes, connection);
    };
    const broken = ["broken promise", "at once"].map((method) =>
      ask(bench, JSON.stringify({ jsonrpc: "2.0", id: 1, method }), { seconds: 1 }),
    );
    expect(await Promise.all(broken)).toEqual([undefined, undefined]);

    bench.handler.respond = () => "fine";
    expect(await ask(bench, aCall("3").text)).toContain("fine");
    expect(bench.lines.join("")).toContain("broken promise");
    expect(bench.lines.join("")).toContain("thrown at once");
  });
});

describe("the notes of messages in flight", () => {
  test("are there while a message is handled, and gone afterwards", async () => {
    const bench = await benches.create();
    const dataDir = await aDirectory();
    let during: string[] = [];
    bench.handler.respond = async () => {
      during = await readdir(join(dataDir, "mycelium-in-flight"));
      return 1;
    };
    await bench.listen({ dataDir });

    await ask(bench, aCall("1").text);

    expect(during).toEqual([bench.near.sent[0]]);
    await until(async () => (await readdir(join(dataDir, "mycelium-in-flight"))).length === 0);
  });

  test("let a message be dropped whose handling was cut short by two deaths", async () => {
    const bench = await benches.create();
    const dataDir = await aDirectory();
    const notes = join(dataDir, "mycelium-in-flight");
    await mkdir(notes);
    const answers = [ask(bench, aCall("1").text, { seconds: 1 }), ask(bench, aCall("2").text, { seconds: 1 })];
    await until(() => bench.far.inbox.length === 2);
    const [first, second] = bench.far.inbox;
    await writeFile(join(notes, first?.id ?? ""), "2");
    await writeFile(join(notes, second?.id ?? ""), "1");
    await writeFile(join(notes, "not-a-note"), "");
    await writeFile(join(notes, "aa".repeat(8)), "2");
    await utimes(join(notes, "aa".repeat(8)), 0, 0);

    await bench.listen({ dataDir });

    const texts = await Promise.all(answers);
    expect(texts.filter((text) => text === undefined)).toHaveLength(1);
    expect(bench.handler.handled).toHaveLength(1);
    expect(bench.lines.join("")).toContain("the process died twice while handling it");
    await until(async () => (await readdir(notes)).join() === "not-a-note");
  });

  test("that can not be kept do not stop calls", async () => {
    const bench = await benches.create();
    const dataDir = await aDirectory();
    await writeFile(join(dataDir, "mycelium-in-flight"), "a file, not a folder");
    await bench.listen({ dataDir });

    expect(await ask(bench, aCall("1").text)).toContain('"1"');
    expect(bench.lines.join("")).toContain("Cannot read the notes");
    expect(bench.lines.join("")).toContain("Cannot note a message in flight");
  });
});
