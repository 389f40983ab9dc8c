/** Each state of the daemon is told in one line: by the log, by readiness and by get_info. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { SimulatedDaemon } from "../../support/mycelium-daemon.ts";
import { longPoll, until } from "../../support/mycelium-harness.ts";
import { SimulatedOverlay } from "../../support/mycelium-overlay.ts";
import type { Node } from "../../support/node.ts";
import { startOverlayNode } from "../../support/overlay-system.ts";
import { meanwhile } from "../../support/wait.ts";

let overlay: SimulatedOverlay;
let daemon: SimulatedDaemon;
let lines: string[];
let node: Node | undefined;

beforeEach(async () => {
  overlay = new SimulatedOverlay();
  daemon = await overlay.createNode();
  lines = [];
});

afterEach(async () => {
  await node?.[Symbol.asyncDispose]();
  node = undefined;
  await overlay.close();
});

async function aSupervisor(listener: Parameters<typeof startOverlayNode>[1]["listener"] = {}): Promise<Node> {
  node = await startOverlayNode(daemon, { keys: {}, listener, onLog: (line) => lines.push(line) });
  return node;
}

/** What readiness says of the carrier, once it says something of the kind. */
async function told(supervised: Node, expected: RegExp): Promise<{ isReady: boolean; says: string }> {
  const look = (): string => supervised.supervisor.readiness().checks["mycelium"] ?? "";
  await until(() => expected.test(look()));
  return { isReady: supervised.supervisor.readiness().ready, says: look() };
}

function logged(event: string): readonly string[] {
  return lines.filter((line) => line.includes(`"event":"${event}"`));
}

async function info(supervised: Node): Promise<unknown> {
  return (await supervised.client("anybody").call("get_info", {})).transports;
}

describe("a daemon", () => {
  test("that answers well is up, with nothing to know", async () => {
    const supervised = await aSupervisor();

    expect(await told(supervised, /^up/u)).toEqual({ isReady: true, says: "up" });
    expect(await info(supervised)).toEqual([{ name: "mycelium", up: true, url: `mycelium://${daemon.publicKey}` }]);
    expect(logged("mycelium_up")).toHaveLength(1);
    expect(logged("mycelium_daemon")).toEqual([]);
  });

  test("that is absent is named with the fix, and the rest is served", async () => {
    await daemon.stop();
    const supervised = await aSupervisor();

    const { isReady, says } = await told(supervised, /^down: no daemon/u);

    expect(isReady).toBe(false);
    expect(says).toMatch(/no daemon at http:.* \(ECONNREFUSED\): start it, .*--mycelium-api/u);
    expect(await info(supervised)).toMatchObject([{ up: false, detail: says.slice("down: ".length) }]);
    expect(logged("mycelium_down")).toHaveLength(1);
  });

  test("that hangs is told from one that is absent", async () => {
    daemon.intercept = () => "hang";
    const supervised = await aSupervisor({ deadlineMs: 100 });

    const { says } = await told(supervised, /did not answer/u);

    expect(says).toContain("did not answer in time: it hangs, or another program holds its lock");
  });

  test("that was restarted is said to be so, and is up again", async () => {
    const supervised = await aSupervisor();
    await told(supervised, /^up/u);

    await daemon.restart();

    const { isReady, says } = await told(supervised, /^up: the daemon was restarted/u);
    expect(isReady).toBe(true);
    expect(says).toContain("what waited in its inbox");
    expect(logged("mycelium_daemon")).toHaveLength(1);
  });

  test("of an old version is told to be updated", async () => {
    const { address } = daemon;
    const old = { nodeSubnet: "400::/64", nodeIp: address };
    daemon.intercept = (_method, path) => (path === "/admin" ? { status: 200, body: old } : undefined);
    const supervised = await aSupervisor();

    const { says } = await told(supervised, /^up: /u);

    expect(says).toMatch(/older than 0\.7\.8 .* update it from https:/u);
    expect(await info(supervised)).toMatchObject([{ url: `mycelium://[${address}]`, detail: says.slice(4) }]);
  });

  test("that others long-poll is said to be shared, with what to do", async () => {
    const over = new AbortController();
    const polling = longPoll(daemon.api, over.signal);
    await until(() => daemon.requests.length === 1);
    const supervised = await aSupervisor();

    const { says } = await told(supervised, /^up: /u);

    expect(says).toMatch(/is shared, something else long-polls it: .* receive = "poll"/u);
    over.abort();
    await polling;
  });

  test("that somebody reads with one wait is not said to be shared", async () => {
    const reading = fetch(`${daemon.api}/messages?topic=eA==&timeout=1`);
    await until(() => daemon.requests.length === 1);
    const supervised = await aSupervisor();

    expect((await told(supervised, /^up/u)).says).toBe("up");
    await reading;
  });

  test("that is slow is told from one that is shared", async () => {
    daemon.slowMs = 1100;
    const supervised = await aSupervisor();

    const { says } = await told(supervised, /^up/u);

    expect(says).toMatch(/^up: the daemon answers slowly, though nobody holds its lock: .* overloaded/u);
    expect(says).not.toContain("shared");
  });

  test("whose topic another program reads is said to be so", async () => {
    const supervised = await aSupervisor({ receive: "poll" });
    await told(supervised, /^up/u);
    const envelope = { srcIp: daemon.address, srcPk: daemon.publicKey, dstIp: daemon.address, dstPk: "" };
    const topic = Buffer.from("supervisor.rpc");
    const payload = Buffer.from('{"jsonrpc":"2.0","id":1,"method":"get_info"}');
    let count = 0;
    const callAndSteal = async (): Promise<void> => {
      count += 1;
      daemon.accept({ ...envelope, id: count.toString(16).padStart(16, "0"), isReply: false, topic, payload });
      await fetch(`${daemon.api}/messages?timeout=0`);
    };
    await meanwhile(1, callAndSteal, async () => {
      const { says } = await told(supervised, /another program takes/u);
      expect(says).toContain("a topic of its own");
    });
  });

  test("that is not on loopback is refused, or served with a warning where that is meant", async () => {
    const api = daemon.api.replace("127.0.0.1", "0.0.0.0");
    const settings = { keys: {}, onLog: (line: string) => void lines.push(line) };

    await expect(startOverlayNode({ api }, settings)).rejects.toThrow(/not on loopback.*allow_remote_api/u);
    node = await startOverlayNode({ api }, { ...settings, listener: { allowRemoteApi: true } });

    expect((await told(node, /^up: /u)).says).toContain("not on loopback: whoever reaches it");
  });
});
