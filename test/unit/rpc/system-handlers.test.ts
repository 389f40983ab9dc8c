import { describe, expect, test } from "vitest";

import { createSystemHandlers } from "../../../src/rpc/handlers/system.ts";
import type { Listener } from "../../../src/rpc/transport.ts";
import { inProcess } from "../../support/node.ts";

function aListener(wanted: Partial<Listener>): Listener {
  return {
    name: "mycelium",
    start: async () => undefined,
    stop: async () => undefined,
    status: () => ({ name: "mycelium", isUp: true }),
    ...wanted,
  };
}

function handlersFor(listeners: readonly Listener[]): ReturnType<typeof createSystemHandlers> {
  return createSystemHandlers({
    version: "1.2.3",
    identity: `ed25519:${"0".repeat(64)}`,
    limits: { max_batch: 5 },
    durability: () => "always",
    listeners: () => listeners,
    openRpc: () => ({ openrpc: "1.3.2" }),
    now: () => 5999,
  });
}

const context = {
  connection: inProcess(),
  signal: inProcess().signal,
  requestId: "r",
  verified: () => undefined,
  tracedBy: () => undefined,
  afterAnswer: () => undefined,
};

describe("get_info", () => {
  test("shows each carrier as it is now, with what is known of it", async () => {
    const handlers = handlersFor([
      aListener({ status: () => ({ name: "http", isUp: true, url: "http://127.0.0.1:1" }) }),
      aListener({ status: () => ({ name: "mycelium", isUp: false, detail: "no daemon" }) }),
    ]);

    await expect(handlers.get_info({}, context)).resolves.toMatchObject({
      time: 5,
      durability: "always",
      transports: [
        { name: "http", up: true, url: "http://127.0.0.1:1" },
        { name: "mycelium", up: false, detail: "no daemon" },
      ],
    });
  });
});

describe("list_peers", () => {
  test("gathers the nodes of all carriers that see some", async () => {
    const peer = { node: `x25519:${"a".repeat(64)}`, address: "400::1", lastMessageMs: 7, calls: 2, refused: 1 };
    const handlers = handlersFor([aListener({}), aListener({ peersSeen: () => [peer, { ...peer, roundTripMs: 12 }] })]);

    const { peers } = await handlers.list_peers({}, context);

    expect(peers).toEqual([
      { node: peer.node, address: "400::1", last_message_ms: 7, calls: 2, refused: 1 },
      { node: peer.node, address: "400::1", last_message_ms: 7, calls: 2, refused: 1, round_trip_ms: 12 },
    ]);
  });
});
