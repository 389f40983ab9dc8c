/** The whole supervisor over the overlay: simulated daemons always, real ones where MYCELIUM_BIN names the binary. */
import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { followLogs, followStates, RpcError, type SupervisorClient, verifyReceipt } from "../../../src/client/index.ts";
import { METHODS } from "../../../src/rpc/methods.ts";
import type { LogEntry } from "../../../src/rpc/schema.ts";
import { toNodeName } from "../../../transports/mycelium/address.ts";
import { type Nodes, type PairNode, realNodes, simulatedNodes } from "../../support/mycelium-pair.ts";
import type { Node } from "../../support/node.ts";
import {
  anOverlayCaller,
  type Caller,
  type CallerWishes,
  registerRunner,
  startOverlayNode,
  startRunner,
} from "../../support/overlay-system.ts";

const binary = process.env["MYCELIUM_BIN"] ?? "";
const OVERLAYS: readonly (readonly [string, () => Promise<Nodes>])[] = [
  ["simulated daemons", async () => simulatedNodes({ count: 3, delayMs: 2 })],
  ...(binary === "" ? [] : [["real daemons", async () => realNodes(binary, { count: 3, delayMs: 2 })] as const]),
];

/** They need a connection that lasts; over the overlay they answer what serves instead. */
const PUSHED = new Set(["auth_challenge", "auth_login", "subscribe_job", "unsubscribe_job"]);

describe.each(OVERLAYS)("a supervisor over %s", (_title, open) => {
  let overlay: Nodes;
  let near: PairNode;
  let far: PairNode;
  let third: PairNode;
  let node: Node;
  let alice: Caller;
  let root: Caller;
  const callers: Caller[] = [];
  const lines: string[] = [];

  /** A caller at the near node unless told, to the supervisor at the far one. */
  function aCaller(as: string, wanted: Partial<CallerWishes> = {}): Caller {
    const caller = anOverlayCaller({ from: near, to: far, node, as, ...wanted });
    callers.push(caller);
    return caller;
  }

  beforeAll(async () => {
    overlay = await open();
    const [first, second, last] = overlay.nodes;
    if (first === undefined || second === undefined || last === undefined) throw new Error("Three nodes are needed.");
    [near, far, third] = [first, second, last];
    node = await startOverlayNode(far, {
      keys: {
        alice: { roles: ["submitter"] },
        bound: { roles: ["submitter"], overlay: [toNodeName(near.publicKey)] },
        root: { roles: ["admin", "registrar", "observer"] },
        idle: { roles: ["runner"] },
        busy: { roles: ["runner"] },
      },
      listener: { unauthenticatedPerSecond: 100 },
      onLog: (line) => lines.push(line),
    });
    alice = aCaller("alice");
    root = aCaller("root");
    await registerRunner(root.client, { node, name: "idle" });
    await registerRunner(root.client, { node, name: "busy" });
  });

  afterAll(async () => {
    for (const caller of callers) await caller[Symbol.asyncDispose]();
    await node[Symbol.asyncDispose]();
    await overlay.close();
  });

  test("answers every method of the table", async () => {
    const called = new Set<string>();
    const call: SupervisorClient["call"] = async (name, params, options) => {
      called.add(name);
      const { access } = METHODS[name];
      const { client } = "admin" in access && !("submitter" in access) ? root : alice;
      return client.call(name, params, options);
    };
    const signed = await alice.job("idle", { env_vars: { COLOUR: "blue" } });
    const { id } = signed.job;

    expect(await call("create_job", signed)).toMatchObject({ id, state: "pending", duplicate: false });
    expect(await call("create_job", signed)).toMatchObject({ id, duplicate: true });
    expect(await call("get_job", { id })).toMatchObject({ id, job: signed.job });
    expect((await call("list_jobs", { runner: "idle" })).jobs.map((job) => job.id)).toContain(id);
    expect(await call("wait_job", { id, wait_ms: 50 })).toMatchObject({ state: "pending" });
    expect(await call("get_job_logs", { id })).toMatchObject({ entries: [], done: false });
    expect(await call("cancel_job", { id })).toMatchObject({ state: "cancelled" });
    expect(await call("delete_job", { id })).toEqual({ id, deleted: true });
    expect((await call("list_runners", {})).runners.map(({ name }) => name).toSorted()).toEqual(["busy", "idle"]);
    expect(await call("get_runner_status", { name: "idle" })).toMatchObject({ state: "offline" });
    called.add("register_runner");
    await registerRunner(root.client, { node, name: "idle", slots: 2 });
    expect(await call("whoami", {})).toMatchObject({ principal: "alice" });
    expect(await call("get_info", {})).toMatchObject({
      identity: node.identity,
      transports: [{ name: "mycelium", up: true, url: `mycelium://${far.publicKey}` }],
    });
    expect(await call("rpc.discover", {})).toMatchObject({ openrpc: "1.3.2" });
    expect(await call("list_peers", {})).toMatchObject({
      peers: [{ node: toNodeName(near.publicKey), address: near.address, refused: 0 }],
    });
    called.add("remove_runner");
    await removesARunner();

    expect([...called].toSorted()).toEqual(
      Object.keys(METHODS)
        .filter((name) => !PUSHED.has(name))
        .toSorted(),
    );
  });

  async function removesARunner(): Promise<void> {
    await expect(root.client.call("remove_runner", { name: "idle" })).resolves.toMatchObject({ name: "idle" });
    await registerRunner(root.client, { node, name: "idle" });
  }

  test("runs a job, and its caller follows states and log and checks the receipt", async () => {
    await using runner = await startRunner(node, "busy");
    expect(runner).toBeDefined();
    const payload = 'for i in 1 2 3; do echo "line $i"; done; printf done > "$HORUS_RESULT"';
    const signed = await alice.job("busy", { payload });
    const { id } = await alice.client.call("create_job", signed);
    const states: string[] = [];
    const entries: LogEntry[] = [];

    const following = (async () => {
      for await (const { state } of followStates(alice.client, id)) states.push(state);
    })();
    for await (const entry of followLogs(alice.client, id, { follow: true })) entries.push(entry);
    await following;

    expect(states.at(-1)).toBe("completed");
    expect(entries.map(({ text }) => text)).toEqual(["line 1", "line 2", "line 3"]);
    const view = await alice.client.call("get_job", { id });
    expect(view.result?.text).toBe("done");
    const runnerKeys = [node.signer("busy").publicKey];
    expect(verifyReceipt({ view, entries, supervisor: node.identity, runnerKeys })).toMatchObject({ ok: true });
  });

  test("takes a bound key's calls and jobs from its nodes alone", async () => {
    const elsewhere = aCaller("bound", { from: third });
    const home = aCaller("bound");
    const signed = await home.job("idle");

    expect(await home.client.call("whoami", {})).toMatchObject({ name: "bound" });
    await expect(refusal(elsewhere.client.call("whoami", {}))).resolves.toBe(-32001);
    await expect(refusal(elsewhere.client.call("create_job", signed))).resolves.toBe(-32001);
    // The trail names the node that carried each of them; who asked is the key.
    const trail = lines.filter((line) => line.includes(`"node":"${toNodeName(third.publicKey)}"`));
    expect(trail.some((line) => line.includes('"transport":"mycelium"') && line.includes("-32001"))).toBe(true);
    // Not over another carrier either, whoever relays it.
    await expect(refusal(node.client("bound").call("create_job", signed))).resolves.toBe(-32001);
    await expect(refusal(node.client("alice").call("create_job", signed))).resolves.toBe(-32001);
    // A free key's job may be carried by anybody.
    expect(await home.client.call("create_job", signed)).toMatchObject({ duplicate: false });
    const free = await alice.job("idle");
    expect(await aCaller("alice", { from: third }).client.call("create_job", free)).toMatchObject({ state: "pending" });
  });

  test("holds a wait of minutes without holding up anybody, and answers at the change", async () => {
    const { id } = await alice.client.call("create_job", await alice.job("idle"));

    const wait = alice.client.call("wait_job", { id, wait_ms: 240_000 });
    const revision = (await alice.client.call("wait_job", { id, wait_ms: 20 })).revision;
    for (let count = 0; count < 5; count += 1) await alice.client.call("whoami", {});
    await alice.client.call("cancel_job", { id });

    expect(await wait).toMatchObject({ state: "cancelled" });
    expect((await wait).revision).toBeGreaterThan(revision);
  });

  test("admits five hundred jobs of one peer in a few messages, each once", async () => {
    const before = await messagesOf(root, near);
    const context = randomUUID();
    const jobs = await Promise.all(Array.from({ length: 500 }, async () => alice.job("idle", { context_id: context })));

    const created = await Promise.all(jobs.map(async (signed) => alice.client.call("create_job", signed)));

    expect(created.every(({ duplicate }) => !duplicate)).toBe(true);
    expect((await messagesOf(root, near)) - before).toBeLessThan(25);
    const { jobs: page } = await alice.client.call("list_jobs", { context_id: context, limit: 200 });
    expect(page).toHaveLength(200);
  });

  test("is told apart from another one: a call for the other is refused, naming who answers", async () => {
    await using other = await startOverlayNode(third, { identity: "other", keys: { alice: { roles: ["submitter"] } } });
    const toOther = aCaller("alice", { to: third, node: other });
    const astray = aCaller("alice", { to: third });

    expect(await toOther.client.call("get_info", {})).toMatchObject({ identity: other.identity });
    await expect(refusal(astray.client.call("whoami", {}))).resolves.toBe(-32006);
    await expect(refusal(astray.client.call("create_job", await astray.job("idle")))).resolves.toBe(-32006);
    expect(await toOther.client.call("whoami", {})).toMatchObject({ principal: "alice" });
  });

  test("limits each node by itself", async () => {
    await using strict = await startOverlayNode(third, {
      identity: "strict",
      keys: { alice: { roles: ["submitter"] } },
      settings: "[rpc]\naddress_calls_per_second = 1\naddress_burst = 3\n",
      listener: { unauthenticatedPerSecond: 100 },
    });
    const greedy = aCaller("alice", { to: third, node: strict });
    const modest = aCaller("alice", { to: third, node: strict, from: far });

    // Changes: a read that came too soon would wait for its turn.
    const cancel = async (): Promise<unknown> => refusal(greedy.client.call("cancel_job", { id: randomUUID() }));
    const outcomes = await Promise.all(Array.from({ length: 8 }, cancel));

    expect(outcomes.filter((code) => code === -32004).length).toBeGreaterThanOrEqual(3);
    expect(outcomes).toContain(-32029);
    await expect(refusal(modest.client.call("whoami", {}))).resolves.toBeUndefined();
  });

  test("is reached by its overlay address as well", async () => {
    const url = `mycelium://[${far.address}]`;
    const byAddress = aCaller("alice", { url });

    expect(await byAddress.client.call("whoami", {})).toMatchObject({ principal: "alice" });
  });
});

/** Messages of a node that the supervisor has taken in. */
async function messagesOf({ client }: Caller, { publicKey }: PairNode): Promise<number> {
  const { peers } = await client.call("list_peers", {});
  return peers.find(({ node }) => node === toNodeName(publicKey))?.calls ?? 0;
}

/** The code of the refusal; undefined where there was none. */
async function refusal(call: Promise<unknown>): Promise<number | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    if (error instanceof RpcError) return error.code;
    throw error;
  }
}
