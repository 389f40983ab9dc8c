/**
 * The facts of the Mycelium daemon that this project rests on. They hold for the simulated daemon always, and are
 * checked on real ones where MYCELIUM_BIN names the binary: where the two differ, the simulation is wrong.
 */

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { addressOf, formatAddress } from "../../transports/mycelium/address.ts";
import { MyceliumDaemon } from "../../transports/mycelium/daemon.ts";
import { within, until } from "../support/mycelium-harness.ts";
import { type Pair, realPair, simulatedPair } from "../support/mycelium-pair.ts";

const binary = process.env["MYCELIUM_BIN"];
const json = { "content-type": "application/json" };
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const base64 = (text: string): string => Buffer.from(text).toString("base64");

describe("simulated daemons", () => {
  daemonContract(simulatedPair);
  loopbackContract(() => simulatedPair(0));
});

describe.skipIf(binary === undefined)("real daemons", () => {
  daemonContract(() => realPair(binary ?? ""));
  loopbackContract(() => realPair(binary ?? "", 0));
});

/** Without a delay on the way, the daemon's own clock is what a message waits for. */
function loopbackContract(create: () => Promise<Pair>): void {
  test("need a tick of a tenth of a second for each message where the link has no delay", async () => {
    const pair = await create();
    const [caller, server] = [new MyceliumDaemon({ api: pair.near.api }), new MyceliumDaemon({ api: pair.far.api })];
    const to = { pk: pair.far.publicKey };
    const times: number[] = [];
    while (times.length < 5) {
      const startedAt = performance.now();
      const answer = caller.push({ to, topic: "tick", payload: bytes("?"), replyTimeoutSeconds: 10 });
      const message = await server.peek("tick", 5);
      await server.take("tick");
      await server.reply(message?.id ?? "", message?.srcPk ?? "", bytes("!"));
      await answer;
      times.push(performance.now() - startedAt);
    }
    await pair.close();

    // The first may meet the tick by chance; each later one begins with it.
    expect(times.slice(1).reduce((sum, ms) => sum + ms)).toBeGreaterThan(350);
  }, 60_000);
}

function daemonContract(create: () => Promise<Pair>): void {
  let pair: Pair;
  let near: MyceliumDaemon;
  let far: MyceliumDaemon;

  beforeAll(async () => {
    pair = await create();
    near = new MyceliumDaemon({ api: pair.near.api });
    far = new MyceliumDaemon({ api: pair.far.api });
  }, 60_000);

  afterAll(() => pair.close());

  /** Sends from near to far without waiting for a reply; gives the id. */
  async function send(
    topic: string | undefined,
    payload: Uint8Array | string,
    to = pair.far.publicKey,
  ): Promise<string> {
    const body = { dst: { pk: to }, payload: Buffer.from(payload).toString("base64") };
    const response = await fetch(`${pair.near.api}/messages`, {
      method: "POST",
      headers: json,
      body: JSON.stringify(topic === undefined ? body : { ...body, topic: base64(topic) }),
    });
    expect(response.status).toBe(201);
    const answer: unknown = await response.json();
    return typeof answer === "object" && answer !== null && "id" in answer ? String(answer.id) : "";
  }

  async function arrival(topic: string): Promise<NonNullable<Awaited<ReturnType<MyceliumDaemon["take"]>>>> {
    let found = await far.take(topic);
    await until(async () => {
      found ??= await far.take(topic);
      return found !== undefined;
    });
    if (found === undefined) {
      throw new Error("unreachable");
    }
    return found;
  }

  /** Answers the next message of a topic. */
  async function answerNext(topic: string, payload: string): Promise<string> {
    const message = await arrival(topic);
    await far.reply(message.id, message.srcPk, bytes(payload));
    return message.id;
  }

  test("says who it is, with an address that follows from the key", async () => {
    const info = await near.admin();

    expect(info).toMatchObject({ publicKey: pair.near.publicKey, address: pair.near.address });
    expect(formatAddress(addressOf(pair.near.publicKey))).toBe(pair.near.address);
    expect(Number.isInteger(info.startedAt)).toBe(true);
  });

  test("delivers a message with its sender's key and address, once taken it is gone", async () => {
    const id = await send("deliver", "hello");

    const message = await arrival("deliver");

    const text = Buffer.from(message.payload).toString();
    expect({ ...message, payload: text }).toEqual({
      id,
      srcPk: pair.near.publicKey,
      srcIp: pair.near.address,
      payload: "hello",
    });
    expect(await far.take("deliver")).toBeUndefined();
  });

  test("gives a peeked message again and again until it is taken", async () => {
    const id = await send("peek", "1");
    const first = await far.peek("peek", 5);
    const again = await far.peek("peek", 5);
    const taken = await far.take("peek");

    expect([first?.id, again?.id, taken?.id]).toEqual([id, id, id]);
    expect(await far.peek("peek", 0)).toBeUndefined();
  });

  test("matches a topic exactly, the empty one only messages without a topic", async () => {
    await send("match", "1");
    await far.peek("match", 5);
    await send(undefined, "2");

    const bare = await arrival("");

    expect(Buffer.from(bare.payload).toString()).toBe("2");
    expect(await far.take("matc")).toBeUndefined();
    expect(await far.take("match.")).toBeUndefined();
    expect(await far.take("match")).toBeDefined();
  });

  test("knows a topic by its bytes, also where base64 has signs that a path or a query reads otherwise", async () => {
    const topic = "???>>>~";
    expect(base64(topic)).toMatch(/\/.*\+/u);
    await send(topic, "odd");
    expect(Buffer.from((await arrival(topic)).payload).toString()).toBe("odd");

    await far.addSource(topic, "400::/7");
    expect(await far.sources(topic)).toEqual(["400::/7"]);
    await far.removeSource(topic, "400::/7");
    expect(await far.sources(topic)).toEqual([]);
  });

  test("hands a reply to the one who waits for it: same id, no topic, ten one-way delays", async () => {
    const startedAt = performance.now();
    const answer = near.push({
      to: { pk: pair.far.publicKey },
      topic: "ask",
      payload: bytes("?"),
      replyTimeoutSeconds: 10,
    });
    const id = await answerNext("ask", "!");
    const reply = await answer;

    expect(reply).toMatchObject({ id, srcPk: pair.far.publicKey, srcIp: pair.far.address });
    expect(performance.now() - startedAt).toBeGreaterThan(8 * pair.delayMs);
  });

  test("reaches a node by any address of its subnet", async () => {
    const subnet = pair.far.address.split(":").slice(0, 4).join(":");
    const to = { ip: `${subnet}::1` };
    const answer = near.push({ to, topic: "by-ip", payload: bytes("?"), replyTimeoutSeconds: 10 });
    await answerNext("by-ip", "!");

    expect((await answer)?.srcPk).toBe(pair.far.publicKey);
  });

  test("answers 408 with the id when no reply came, and puts the late one into the inbox without a topic", async () => {
    const body = { dst: { pk: pair.far.publicKey }, topic: base64("late"), payload: base64("?") };
    const response = await fetch(`${pair.near.api}/messages?reply_timeout=1`, {
      method: "POST",
      headers: json,
      body: JSON.stringify(body),
    });
    const id = await answerNext("late", "too late");

    expect([response.status, await response.json()]).toEqual([408, { id }]);
    const late = await near.peek("", 10);
    expect(late?.id).toBe(id);
    expect(await near.discard("")).toBe(true);
  });

  test("lets only the later of two replies to one message arrive", async () => {
    const to = { pk: pair.far.publicKey };
    let text = "";
    let betweenMs = Infinity;
    // Once the first has arrived there is nothing left to replace: where the machine was too slow for that, again.
    while (betweenMs > 3 * pair.delayMs) {
      const answer = near.push({ to, topic: "twice", payload: bytes("?"), replyTimeoutSeconds: 10 });
      const message = await arrival("twice");
      const startedAt = performance.now();
      await far.reply(message.id, message.srcPk, bytes("first"));
      await far.reply(message.id, message.srcPk, bytes("second"));
      betweenMs = performance.now() - startedAt;
      text = Buffer.from((await answer)?.payload ?? []).toString();
    }

    expect(text).toBe("second");
  });

  test("never delivers a payload whose last chunk of several is under 250 bytes", async () => {
    for (const size of [1301, 1549, 2601, 2849]) {
      await send(`size-${size}`, "x".repeat(size));
    }
    for (const size of [0, 1, 249, 1299, 1300, 1550, 2600, 2850]) {
      await send(`size-${size}`, "x".repeat(size));
      expect((await arrival(`size-${size}`)).payload).toHaveLength(size);
    }

    for (const size of [1301, 1549, 2601, 2849]) {
      expect(await far.take(`size-${size}`)).toBeUndefined();
    }
  });

  test("holds its only lock while a read waits", async () => {
    const message = await send("lock-reply", "?").then(() => arrival("lock-reply"));
    const heldAt = performance.now();
    const held = fetch(`${pair.far.api}/messages?topic=${encodeURIComponent(base64("lock"))}&timeout=3&peek=true`);
    let isHeld = true;
    const heldEnd = held.then((response) => {
      isHeld = false;
      return response.status;
    });
    // A second client, so that the first one's read is not cut short for it.
    await until(async () => {
      const isBlocked = await new MyceliumDaemon({ api: pair.far.api, deadlineMs: 300 }).admin().then(
        () => false,
        () => true,
      );
      return isBlocked || !isHeld;
    });

    // What needs no lock is answered all the same: so a slow daemon is told from one that is held.
    await far.answer();
    expect(isHeld).toBe(true);
    const asked = { method: "POST", headers: json };
    const body = JSON.stringify({ dst: { pk: pair.near.publicKey }, topic: base64("lock"), payload: "" });
    const blocked = [
      fetch(`${pair.far.api}/admin`),
      fetch(`${pair.far.api}/messages`, { ...asked, body }),
      fetch(`${pair.far.api}/messages/reply/${message.id}`, { ...asked, body }),
      fetch(`${pair.far.api}/messages/status/${message.id}`),
    ].map(async (answer) => answer.then(() => performance.now() - heldAt));

    expect(Math.min(...(await Promise.all(blocked)))).toBeGreaterThan(2_900);
    expect(await heldEnd).toBe(204);
  });

  test("lets a read without a topic take what was meant for another program", async () => {
    await send("somebody's", "theirs");
    await far.peek("somebody's", 5);

    const stolen = await fetch(`${pair.far.api}/messages`);

    expect(await stolen.json()).toMatchObject({ topic: base64("somebody's"), payload: base64("theirs") });
    expect(await far.take("somebody's")).toBeUndefined();
  });

  test("frees the lock when the connection of a held peek is closed, and keeps the message", async () => {
    const stop = new AbortController();
    const held = far.peek("close", 60, stop.signal).catch((error: unknown) => error);
    const other = new MyceliumDaemon({ api: pair.far.api, deadlineMs: 30_000 });
    setTimeout(() => stop.abort(), 100);
    await other.admin();
    expect(await held).toMatchObject({ kind: "stopped" });

    const id = await send("close", "kept");
    expect((await far.peek("close", 5))?.id).toBe(id);
    expect((await far.take("close"))?.id).toBe(id);
  });

  test("does not hold the lock while a push waits for its reply", async () => {
    const to = { pk: pair.far.publicKey };
    const answer = near.push({ to, topic: "no-lock", payload: bytes("?"), replyTimeoutSeconds: 30 });
    await far.peek("no-lock", 5);

    await new MyceliumDaemon({ api: pair.near.api, deadlineMs: 5_000 }).admin();
    await answerNext("no-lock", "!");
    expect(await answer).toBeDefined();
  });

  test("accepts a message to itself and never delivers it", async () => {
    await send("self", "me", pair.near.publicKey);
    await send("self", "you");
    await arrival("self");

    expect(await near.take("self")).toBeUndefined();
  });

  test("keeps a message to an unknown key pending without an error", async () => {
    const id = await send("nobody", "?", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
    expect(await near.delivery(id)).toBe("under way");
    await send("nobody", "somebody");
    await arrival("nobody");

    const status: unknown = await (await fetch(`${pair.near.api}/messages/status/${id}`)).json();
    expect(status).toMatchObject({ state: "pending" });
  });

  test("tells of a message, and of a reply under the same id, when the other side has it and when it was read", async () => {
    const state = async (id: string): Promise<unknown> => {
      const told: unknown = await (await fetch(`${pair.near.api}/messages/status/${id}`)).json();
      return typeof told === "object" && told !== null && "state" in told ? told.state : undefined;
    };
    const to = { pk: pair.far.publicKey };
    const answer = near.push({ to, topic: "status", payload: bytes("?"), replyTimeoutSeconds: 10 });
    const id = await answerNext("status", "!");
    const repliedAt = performance.now();
    await answer;
    await until(async () => (await far.delivery(id)) === "arrived");

    // The opening, the content and the end, each there and back.
    expect(performance.now() - repliedAt).toBeGreaterThan(5 * pair.delayMs);
    await until(async () => (await state(id)) === "read");
    const unread = await send("unread", "?");
    await until(async () => (await state(unread)) === "received");
    expect(await near.delivery("0011223344556677")).toBe("unknown");
    await far.take("unread");
    await until(async () => (await state(unread)) === "read");
  });

  test("takes topics as arrays of bytes, and from listed sources only", async () => {
    const topic = "listed";
    expect(await far.sources(topic)).toBeUndefined();
    await far.addTopic(topic);
    expect(await far.sources(topic)).toEqual([]);
    await send(topic, "unlisted");
    const first = await send(topic, "unlisted too");
    await far.addSource(topic, "0400::/7");
    expect(await far.sources(topic)).toEqual(["400::/7"]);

    // The sender tries on, so what was refused arrives once its source is listed.
    const ids = [(await arrival(topic)).id, (await arrival(topic)).id];
    expect(ids).toContain(first);
    await far.removeSource(topic, "400::/7");
    expect(await far.sources(topic)).toEqual([]);
    const text = await fetch(`${pair.far.api}/messages/topics`, {
      method: "POST",
      headers: json,
      body: JSON.stringify(base64(topic)),
    });
    expect(text.status).toBe(422);
    await expect(far.addSource(topic, "nonsense")).rejects.toMatchObject({ kind: "status", status: 400 });
  });

  test("refuses what is malformed or over 2 MiB", async () => {
    const post = async (body: string, headers: Record<string, string> = json): Promise<number> =>
      (await fetch(`${pair.near.api}/messages`, { method: "POST", headers, body })).status;

    const big = { dst: { pk: pair.far.publicKey }, payload: "A".repeat(2 * 1024 * 1024) };
    expect(await post(JSON.stringify(big))).toBe(413);
    expect(await post('{"dst')).toBe(400);
    expect(await post("{}")).toBe(422);
    expect(await post("{}", { "content-type": "text/plain" })).toBe(415);
    const long = { dst: { pk: pair.far.publicKey }, topic: base64("t".repeat(256)), payload: "" };
    expect(await post(JSON.stringify(long))).toBe(400);
    expect((await fetch(`${pair.near.api}/messages?topic=***`)).status).toBe(400);
    expect((await fetch(`${pair.near.api}/messages/status/0011223344556677`)).status).toBe(404);
    expect((await fetch(`${pair.near.api}/messages/status/00`)).status).toBe(400);
    expect((await fetch(`${pair.near.api}/nothing`)).status).toBe(404);
  });

  test("carries a megabyte", async () => {
    await send("mega", "m".repeat(1024 * 1024));

    expect((await arrival("mega")).payload).toHaveLength(1024 * 1024);
  }, 30_000);

  // The last ones: they kill daemons.
  test("loses its inbox with its process, and has another start time", async () => {
    await send("restart", "lost");
    await far.peek("restart", 5);
    const before = await far.admin();
    await pair.far.stop();
    const waiting = await send("restart", "waits for the receiver");
    await pair.far.start();

    const after = await far.admin();
    expect(after.publicKey).toBe(before.publicKey);
    expect(after.startedAt).toBeGreaterThan(before.startedAt ?? 0);
    const found = await until(async () => (await far.peek("restart", 1)) !== undefined, 60_000).then(() =>
      far.take("restart"),
    );
    expect(found?.id).toBe(waiting);
    expect(await far.take("restart")).toBeUndefined();
  }, 90_000);

  test("puts a reply to what it sent before its restart into the inbox, without a topic", async () => {
    const id = await send("orphan", "?");
    const message = await arrival("orphan");
    await pair.near.stop();
    await pair.near.start();
    await far.reply(message.id, message.srcPk, bytes("!"));

    await until(async () => (await near.peek("", 1)) !== undefined, 60_000);
    expect(await near.take("")).toMatchObject({ id, srcPk: pair.far.publicKey });
  }, 90_000);

  test("replies after its own restart", async () => {
    const to = { pk: pair.far.publicKey };
    const signal = within(60_000);
    const answer = near.push({ to, topic: "amnesia", payload: bytes("?"), replyTimeoutSeconds: 50, signal });
    const message = await arrival("amnesia");
    await pair.far.stop();
    await pair.far.start();
    // Kept-alive connections of the old process break at first.
    const reply = (): Promise<void> => far.reply(message.id, message.srcPk, bytes("still"));
    await until(() =>
      reply().then(
        () => true,
        () => false,
      ),
    );

    expect(Buffer.from((await answer)?.payload ?? []).toString()).toBe("still");
  }, 90_000);
}
