import { describe, expect, test } from "vitest";

import type { Listener, ListenerStatus } from "../../../src/rpc/transport.ts";
import { startNode, testSigner } from "../../support/node.ts";
import { startRedis } from "../../support/redis.ts";
import { waitUntil } from "../../support/wait.ts";

const KEYS = { alice: { roles: ["submitter"] }, ops: { roles: ["registrar"] } } as const;

function aListener(name: Listener["name"], told: string[], wanted: Partial<Listener> = {}): Listener {
  return {
    name,
    start: async () => void told.push(`start ${name}`),
    stop: async () => void told.push(`stop ${name}`),
    status: (): ListenerStatus => ({ name, isUp: true }),
    ...wanted,
  };
}

describe("Supervisor", () => {
  test("starts its listeners in order and stops all of them", async () => {
    const told: string[] = [];
    const node = await startNode({
      keys: KEYS,
      createListeners: () => [aListener("http", told), aListener("mycelium", told)],
    });

    await node[Symbol.asyncDispose]();

    expect(told).toEqual(["start http", "start mycelium", "stop http", "stop mycelium"]);
  });

  test("lets go of everything when a part fails to stop, and tells which", async () => {
    const told: string[] = [];
    const failing = aListener("http", told, { stop: async () => Promise.reject(new Error("stuck")) });
    const node = await startNode({ keys: KEYS, createListeners: () => [failing, aListener("mycelium", told)] });

    await expect(node.supervisor.stop()).rejects.toMatchObject({ errors: [new Error("stuck")] });
    expect(told).toContain("stop mycelium");
    expect(node.store.health().isUp).toBe(false);
  });

  test("is not ready while a carrier is down, and says which and why", async () => {
    const down = aListener("mycelium", [], { status: () => ({ name: "mycelium", isUp: false, detail: "no daemon" }) });
    const starting = aListener("http", [], { status: () => ({ name: "http", isUp: false }) });
    await using node = await startNode({ keys: KEYS, createListeners: () => [down, starting] });

    expect(node.supervisor.readiness()).toEqual({
      ready: false,
      checks: { redis: "up", mycelium: "down: no daemon", http: "down: starting" },
    });
    expect(JSON.parse(node.supervisor.openRpcText)).toMatchObject({
      openrpc: "1.3.2",
      servers: [{ url: "http://localhost:8080/" }],
    });
  });

  test("is not ready while Redis is away, and again when it is back", async () => {
    const redis = await startRedis();
    await using node = await startNode({ keys: KEYS, redis });

    await redis.kill("SIGKILL");
    await waitUntil(() => !node.supervisor.readiness().ready);
    expect(node.supervisor.readiness().checks).toMatchObject({ redis: "down" });

    await redis.restart();
    await waitUntil(() => node.supervisor.readiness().checks["redis"] === "up");
  });

  test("refuses calls as unavailable while Redis is away, and says that nothing was applied", async () => {
    const redis = await startRedis();
    await using node = await startNode({ keys: KEYS, redis });
    await redis.kill("SIGKILL");
    await waitUntil(() => !node.supervisor.readiness().ready);

    await expect(node.client("alice").call("list_jobs", {})).rejects.toMatchObject({
      code: -32_053,
      data: { applied: "no" },
    });
  });

  test("stops cleanly while many revocations are due on a Redis that hangs", async () => {
    const redis = await startRedis();
    const lines: string[] = [];
    const names = Array.from({ length: 40 }, (_, index) => `leaked-${index}`);
    const node = await startNode({
      keys: { ...KEYS, ...Object.fromEntries(names.map((name) => [name, { roles: ["submitter"] as const }])) },
      redis,
      settings: "stop_ms = 500\n[redis]\ncommand_timeout_ms = 300\n",
      keyringCheckMs: 50,
      onLog: (line) => lines.push(line),
    });
    await redis.kill("SIGSTOP");
    node.keyring.replace(node.keyring.all().filter(({ name }) => !name.startsWith("leaked")));
    await waitUntil(() => lines.filter((line) => line.includes("revoke_failed")).length === names.length);

    await expect(node.supervisor.stop()).resolves.toBeUndefined();
    await redis.stop();
  });

  test("says when a revocation could not be published; it holds in this process all the same", async () => {
    const lines: string[] = [];
    const redis = await startRedis();
    await using node = await startNode({ keys: KEYS, redis, onLog: (line) => lines.push(line) });
    await redis.kill("SIGKILL");

    node.keyring.replace(node.keyring.all().filter(({ name }) => name !== "alice"));

    await waitUntil(() => lines.some((line) => line.includes("revoke_failed")));
    expect(node.keyring.find(testSigner("alice").publicKey)).toBeUndefined();
  });
});
