import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { followEvents, followLogs, followStates } from "../../../src/client/index.ts";
import { objectOf } from "../../support/signing.ts";
import { waitUntil } from "../../support/wait.ts";
import { aLine, Conversation, startWebSocketNode, type WebSocketNode } from "../../support/websocket-node.ts";

let system: WebSocketNode;

beforeAll(async () => {
  system = await startWebSocketNode();
});

afterAll(async () => system[Symbol.asyncDispose]());

const DONE = { status: "completed", code: 0, isRetryable: false } as const;

async function subscriptionOf(answer: Promise<unknown>): Promise<string> {
  return String(objectOf(JSON.stringify(await answer))["subscription"]);
}

describe("subscribe_job", () => {
  test("tells states and log entries as they come, after its own answer", async () => {
    const id = await system.submit("alice");
    await using conversation = await Conversation.open(system);
    const { source } = system;

    const subscription = await subscriptionOf(conversation.askAs("alice", "subscribe_job", { id }));
    await waitUntil(() => conversation.events.length === 1);
    const lease = await system.claim();
    await source.append(lease, [aLine(1), aLine(2)]);
    await waitUntil(() => conversation.events.length === 4);
    await source.append(lease, [aLine(3)]);
    await source.finish(lease, DONE);
    await waitUntil(() => conversation.events.length === 7);

    expect(conversation.events).toStrictEqual([
      "pending",
      "running",
      "line 1",
      "line 2",
      "line 3",
      "completed",
      "end: terminal",
    ]);
    expect(conversation.plain.messages[0]).toMatchObject({ id: "ask-1", result: { subscription, logs: true } });
    expect(conversation.plain.messages[1]).toMatchObject({ method: "job_event", params: { subscription } });
  });

  test("needs no signature on a bound connection, and ends with the login", async () => {
    await using short = await startWebSocketNode({ settings: "[websocket]\nsession_ms = 1500\n" });
    const id = await short.submit("alice");
    await using conversation = await Conversation.open(short);
    await conversation.logIn("alice");
    await conversation.ask("subscribe_job", { id });

    await waitUntil(() => conversation.events.length === 2);

    expect(conversation.events).toStrictEqual(["pending", "end: rights"]);
  });

  test("ends when the key is revoked, at once on any supervisor", async () => {
    await using here = await startWebSocketNode();
    const id = await here.submit("alice");
    await using conversation = await Conversation.open(here);
    await conversation.askAs("alice", "subscribe_job", { id });
    await conversation.askAs("root", "subscribe_job", { id });
    await waitUntil(() => conversation.events.length === 2);
    const lease = await here.claim();
    await waitUntil(() => conversation.events.length === 4);

    await here.node.store.revocations.revoke([here.node.signer("alice").publicKey]);
    await here.source.append(lease, [aLine(1)]);
    await waitUntil(() => conversation.events.length === 6);

    const [pending, running] = [Array<string>(2).fill("pending"), Array<string>(2).fill("running")];
    expect(conversation.events.toSorted()).toStrictEqual(["end: rights", "line 1", ...pending, ...running]);
  });

  test("ends when the roles no longer reach", async () => {
    await using here = await startWebSocketNode();
    const id = await here.submit("alice");
    await using conversation = await Conversation.open(here);
    await conversation.askAs("root", "subscribe_job", { id });
    await waitUntil(() => conversation.events.length === 1);

    const keys = here.node.keyring.all();
    const root = keys.find(({ name }) => name === "root");
    if (root === undefined) throw new Error("The node has no such key.");
    here.node.keyring.replace([...keys.filter((key) => key !== root), { ...root, roles: ["observer"] }]);
    await here.claim();
    await waitUntil(() => conversation.events.length === 2);

    expect(conversation.events).toStrictEqual(["pending", "end: rights"]);
  });

  test("gives an observer the states, and no log", async () => {
    const id = await system.submit("alice");
    await using conversation = await Conversation.open(system);

    expect(await conversation.askAs("eve", "subscribe_job", { id, logs: true })).toBe(-32003);
    expect(await conversation.askAs("eve", "subscribe_job", { id })).toMatchObject({ logs: false });
    const lease = await system.claim();
    await system.source.append(lease, [aLine(1)]);
    await system.source.finish(lease, DONE);
    await waitUntil(() => conversation.events.includes("end: terminal"));

    expect(conversation.events).not.toContain("line 1");
  });

  test("ends when its key is given to another principal", async () => {
    const id = await system.submit("alice");
    await using conversation = await Conversation.open(system);
    await conversation.askAs("alice", "subscribe_job", { id });
    await waitUntil(() => conversation.events.length === 1);
    const { keyring } = system.node;
    const before = keyring.all();

    keyring.replace(before.map((key) => (key.name === "alice" ? Object.assign({}, key, { principal: "bob" }) : key)));
    await waitUntil(() => conversation.events.length === 2);
    keyring.replace(before);
    await system.claim();

    expect(conversation.events).toStrictEqual(["pending", "end: rights"]);
  });

  test("answers a stranger like a missing job, and bad parameters as such", async () => {
    const id = await system.submit("alice");
    await system.claim();
    await using conversation = await Conversation.open(system);

    expect(await conversation.askAs("bob", "subscribe_job", { id })).toBe(-32004);
    expect(await conversation.askAs("bob", "subscribe_job", { id: id.replace(/^.{8}/u, "00000000") })).toBe(-32004);
    expect(await conversation.askAs("alice", "subscribe_job", { id, after: -1 })).toBe(-32602);
    expect(await conversation.ask("subscribe_job", { id })).toBe(-32001);
  });

  test("is held to 64 a connection by the setting", async () => {
    await using here = await startWebSocketNode({ settings: "[websocket]\nmax_subscriptions = 2\n" });
    const id = await here.submit("alice");
    await using conversation = await Conversation.open(here);
    const subscribe = async (): Promise<unknown> => conversation.askAs("alice", "subscribe_job", { id });
    const subscription = await subscriptionOf(subscribe());
    await subscribe();

    expect(await subscribe()).toBe(-32029);
    expect(await conversation.askAs("bob", "unsubscribe_job", { subscription })).toMatchObject({ ended: false });
    expect(await subscribe()).toBe(-32029);
    expect(await conversation.askAs("alice-phone", "unsubscribe_job", { subscription })).toMatchObject({ ended: true });
    expect(await subscribe()).toMatchObject({ logs: true });
    expect(here.node.supervisor.openRpcText).toContain('"max_subscriptions":2');
  });

  test("says what serves on carriers that can not push", async () => {
    const id = await system.submit("alice");
    await system.claim();
    const client = system.node.client("alice");
    const instead = { code: -32010, data: { instead: ["wait_job", "get_job_logs"] } };

    await expect(client.call("subscribe_job", { id })).rejects.toMatchObject(instead);
    const none = client.call("unsubscribe_job", { subscription: "00000000000000a1" });
    await expect(none).rejects.toMatchObject(instead);
  });
});

describe("unsubscribe_job", () => {
  test("is followed by no notification of that subscription, and leaves the others", async () => {
    const id = await system.submit("alice");
    await using conversation = await Conversation.open(system);
    const first = await subscriptionOf(conversation.askAs("alice", "subscribe_job", { id }));
    const second = await subscriptionOf(conversation.askAs("alice", "subscribe_job", { id }));
    await waitUntil(() => conversation.events.length === 2);

    expect(await conversation.askAs("alice", "unsubscribe_job", { subscription: first })).toMatchObject({
      ended: true,
    });
    await system.source.finish(await system.claim(), DONE);
    await waitUntil(() => conversation.events.includes("end: terminal"));

    const told = conversation.plain.messages.slice(-2).map((message) => JSON.stringify(message));
    expect(told.every((text) => text.includes(second))).toBe(true);
    expect(conversation.events.filter((event) => event === "end: terminal")).toHaveLength(1);
  });
});

describe("The client's iterators over WebSocket", () => {
  test("follow states and logs without a single poll, and leave no subscription behind", async () => {
    const id = await system.submit("alice");
    await using connection = system.connect("alice");
    const { client, dialer } = connection;
    const sent: string[] = [];
    const call = dialer.call.bind(dialer);
    dialer.call = async (outgoing) => {
      sent.push(String(objectOf(outgoing.text)["method"]));
      return call(outgoing);
    };

    const states = collect(followStates(client, id), ({ state }) => state);
    const lines = collect(followLogs(client, id), ({ text }) => text);
    await waitUntil(() => sent.length === 2);
    const lease = await system.claim();
    await system.source.append(lease, [aLine(1), aLine(2)]);
    await system.source.finish(lease, DONE);

    expect(await lines).toStrictEqual(["line 1", "line 2"]);
    expect((await states).at(-1)).toBe("completed");
    expect(sent).toStrictEqual(["subscribe_job", "subscribe_job"]);
  });

  test("go on after a cut connection, without a gap or a repeat", async () => {
    const id = await system.submit("alice");
    const lease = await system.claim();
    await using connection = system.connect("alice");
    const seqs: number[] = [];
    const told: string[] = [];
    const following = (async () => {
      for await (const { seq, event } of followEvents(connection.client, id)) {
        seqs.push(seq);
        if (event.type === "log") told.push(event.entry.text ?? "");
      }
    })();

    for (let seq = 1; seq <= 30; seq += 1) {
      await system.source.append(lease, [aLine(seq)]);
      if (seq % 10 === 0) {
        await waitUntil(() => told.length === seq);
        await system.server.listener.stop(AbortSignal.abort());
        await system.server.listener.start();
      }
    }
    await system.source.finish(lease, DONE);
    await following;

    expect(told).toStrictEqual(Array.from({ length: 30 }, (_, index) => `line ${index + 1}`));
    expect(seqs.slice(0, -1)).toStrictEqual([...new Set(seqs)].toSorted((a, b) => a - b));
  });

  test("tell the refusal that the polls would have met", async () => {
    const id = await system.submit("alice");
    const lease = await system.claim();
    await using connection = system.connect("alice");
    await using other = system.connect("bob");
    const states: string[] = [];

    const following = (async () => {
      for await (const { state } of followStates(connection.client, id)) states.push(state);
    })();
    await waitUntil(() => states.length === 1);
    await system.source.finish(lease, { ...DONE, status: "failed", isRetryable: false });
    await following;
    expect(states).toStrictEqual(["running", "failed"]);

    await expect(collect(followStates(other.client, id), ({ state }) => state)).rejects.toMatchObject({ code: -32004 });
    await system.node.client("alice").call("delete_job", { id });
    await expect(collect(followLogs(connection.client, id), ({ text }) => text)).rejects.toMatchObject({
      code: -32004,
    });
  });
});

test("a follower that stops reading is closed with 1013, holds up nobody, and resumes where it was", async () => {
  const limits = { maxUnsentBytes: 256 * 1024, stallMs: 50, answerMs: 50 };
  await using here = await startWebSocketNode({ limits: { limits } });
  const id = await here.submit("alice");
  await using slow = await Conversation.open(here);
  await using quick = await Conversation.open(here);
  await slow.askAs("alice", "subscribe_job", { id });
  await quick.askAs("alice", "subscribe_job", { id });
  await waitUntil(() => slow.events.length === 1);
  slow.plain.socket.pause();

  const lease = await here.claim();
  const text = "x".repeat(8000);
  for (let seq = 1; seq <= 1200; seq += 100) {
    const entries = Array.from({ length: 100 }, (_, index) => aLine(seq + index, `${seq + index} ${text}`));
    expect(await here.source.append(lease, entries)).toBe("appended");
  }
  await here.source.finish(lease, DONE);
  await waitUntil(() => quick.plain.received.length === 1 + 1200 + 4);

  // Long after the close frame was written: it stands behind megabytes that nobody has read yet.
  await sleep(10 * limits.answerMs);
  slow.plain.socket.resume();
  expect(await slow.plain.waitForClose()).toMatchObject({ code: 1013 });
  const last = objectOf(slow.plain.received.at(-1) ?? "");
  const { seq } = objectOf(JSON.stringify(last["params"]));
  await using again = await Conversation.open(here);
  await again.askAs("alice", "subscribe_job", { id, after: seq });
  await waitUntil(() => again.events.includes("end: terminal"));

  const numbers = [...slow.events, ...again.events].flatMap((event) => /^\d+(?= )/u.exec(event)?.map(Number) ?? []);
  expect(numbers).toStrictEqual(Array.from({ length: 1200 }, (_, index) => index + 1));
});

async function collect<Item, Value>(items: AsyncIterable<Item>, toValue: (item: Item) => Value): Promise<Value[]> {
  const values: Value[] = [];
  for await (const item of items) values.push(toValue(item));
  return values;
}
