import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { startNode } from "../../support/node.ts";
import { waitUntil } from "../../support/wait.ts";
import { Conversation, startWebSocketNode, type WebSocketNode } from "../../support/websocket-node.ts";

let system: WebSocketNode;

beforeAll(async () => {
  system = await startWebSocketNode();
});

afterAll(async () => system[Symbol.asyncDispose]());

describe("A login over WebSocket", () => {
  test("lets the connection read without signatures, and change nothing", async () => {
    const id = await system.submit("alice");
    await using conversation = await Conversation.open(system);
    expect(await conversation.ask("whoami")).toBe(-32001);

    expect(await conversation.logIn("alice")).toMatchObject({ principal: "alice" });

    expect(await conversation.ask("whoami")).toMatchObject({ principal: "alice" });
    expect(await conversation.ask("get_job", { id })).toMatchObject({ id, redacted: false });
    expect(await conversation.ask("list_jobs", { limit: 1 })).toMatchObject({ jobs: [{ id }] });
    expect(await conversation.ask("wait_job", { id, wait_ms: 1 })).toMatchObject({ id });
    expect(await conversation.ask("get_job_logs", { id })).toMatchObject({ entries: [] });
    for (const [method, params] of [
      ["cancel_job", { id }],
      ["delete_job", { id }],
      ["remove_runner", { name: "build-1" }],
    ] as const) {
      expect(await conversation.ask(method, params)).toBe(-32001);
    }
    expect(await conversation.askAs("alice", "cancel_job", { id })).toMatchObject({ state: "cancelled" });
  });

  test("binds no other connection, and nothing of another principal is readable", async () => {
    const id = await system.submit("bob");
    await using bound = await Conversation.open(system);
    await using other = await Conversation.open(system);
    await bound.logIn("alice");

    expect(await other.ask("whoami")).toBe(-32001);
    expect(await bound.ask("get_job", { id })).toBe(-32004);
    expect(await bound.askAs("bob", "get_job", { id })).toMatchObject({ id });
  });

  test("is good once, on the connection that was given its challenge", async () => {
    await using conversation = await Conversation.open(system);
    await using other = await Conversation.open(system);
    const params = await conversation.loginParams("alice", await conversation.challenge());

    expect(await other.ask("auth_login", params)).toBe(-32001);
    await other.challenge();
    expect(await other.ask("auth_login", params)).toBe(-32001);
    expect(await conversation.ask("auth_login", params)).toMatchObject({ principal: "alice" });
    expect(await conversation.ask("auth_login", params)).toBe(-32001);
    expect(await other.ask("whoami")).toBe(-32001);
  });

  test("is refused outside its window by Redis' clock, for a stranger, and without a challenge", async () => {
    await using conversation = await Conversation.open(system);
    const now = Math.floor(Date.now() / 1000);
    const logIn = async (by: string, challenge: string, times: object = {}): Promise<unknown> =>
      conversation.ask("auth_login", await conversation.loginParams(by, challenge, times));

    expect(await logIn("alice", "a".repeat(64))).toBe(-32001);
    expect(await logIn("stranger", await conversation.challenge())).toBe(-32001);
    const late = { iat: now - 300, exp: now - 60 };
    expect(await logIn("alice", await conversation.challenge(), late)).toBe(-32002);
    expect(await conversation.ask("auth_login")).toBe(-32001);
    expect(await conversation.ask("auth_login", { auth: {}, key: "x" })).toBe(-32602);
    expect(await conversation.ask("whoami")).toBe(-32001);
  });

  test("ends with its connection", async () => {
    await using first = await Conversation.open(system);
    await first.logIn("alice");
    first.plain.socket.close();
    await first.plain.waitForClose();

    await using second = await Conversation.open(system);

    expect(await second.ask("whoami")).toBe(-32001);
  });

  test("is not to be had on carriers without connections that last", async () => {
    const challenge = await system.node.send({ jsonrpc: "2.0", id: 1, method: "auth_challenge" });
    const login = await system.node.send({ jsonrpc: "2.0", id: 1, method: "auth_login", params: { auth: {} } });

    for (const answer of [challenge, login]) {
      expect(answer).toMatchObject({ error: { code: -32010 } });
      expect(JSON.stringify(answer)).toMatch(/needs a connection that lasts \(WebSocket\), and this is in-process/u);
    }
  });
});

describe("A bound connection", () => {
  test("is bound no more when the key's time is up", async () => {
    await using short = await startWebSocketNode({ settings: "[websocket]\nsession_ms = 300\n" });
    await using conversation = await Conversation.open(short);
    await conversation.logIn("alice");

    await waitUntil(async () => (await conversation.ask("whoami")) === -32001);
    expect(await conversation.logIn("alice")).toMatchObject({ principal: "alice" });
  });

  test("is bound no more at the next call once any supervisor has revoked the key", async () => {
    await using here = await startWebSocketNode();
    const keys = { alice: { roles: ["submitter"] }, bob: { roles: ["submitter"] } } as const;
    await using there = await startNode({ keys, redis: here.node.redis });
    await using alice = await Conversation.open(here);
    await using bob = await Conversation.open(here);
    await alice.logIn("alice");
    await bob.logIn("bob");

    const { publicKey } = there.signer("alice");
    await there.store.revocations.revoke([publicKey]);
    expect(await alice.ask("whoami")).toBe(-32001);
    expect(await alice.logIn("alice")).toBe(-32001);
    expect(await bob.ask("whoami")).toMatchObject({ principal: "bob" });

    here.node.keyring.replace([]);
    expect(await bob.ask("whoami")).toBe(-32001);
  });

  test("serves nobody while Redis is out of reach", async () => {
    await using here = await startWebSocketNode();
    await using conversation = await Conversation.open(here);
    await conversation.logIn("alice");

    await here.node.redis.stop();

    expect(await conversation.ask("whoami")).toBe(-32053);
  });
});
