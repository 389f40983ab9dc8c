import { describe, expect, test } from "vitest";
import { WebSocket } from "ws";

import { aPost, GET_INFO, RawSocket } from "../../support/http.ts";
import { waitUntil } from "../../support/wait.ts";
import { aPlainClient, anUpgrade, aWebSocketListener } from "../../support/websocket.ts";

async function statusOf(port: number, request: string): Promise<number | undefined> {
  await using raw = new RawSocket(port);
  raw.write(request);
  await waitUntil(() => raw.received.includes("\r\n\r\n") || raw.isClosed);
  return raw.statuses[0];
}

describe("WebSocket upgrade", () => {
  test.each(["", "ws", "ws?since=1"])("is served at /%s", async (path) => {
    await using server = await aWebSocketListener();
    await using client = await aPlainClient(server.url + path);

    client.send(GET_INFO);

    expect(await client.waitForMessages(1)).toMatchObject([{ id: 1, result: { name: "horus-supervisor" } }]);
  });

  test.each<readonly [string, number, string]>([
    ["another path", 404, anUpgrade({}, "/rpc")],
    ["a Host that is not served (DNS rebinding)", 403, anUpgrade({ Host: "evil.example" })],
    ["an Origin that is not served", 403, anUpgrade({ Origin: "https://evil.example" })],
    ["an opaque Origin", 403, anUpgrade({ Origin: "null" })],
    ["two Hosts", 400, anUpgrade({ host: "localhost" })],
    ["an old version", 400, anUpgrade({ "Sec-WebSocket-Version": "7" })],
    ["no key", 400, anUpgrade({ "Sec-WebSocket-Key": "" })],
    ["a key of another length", 400, anUpgrade({ "Sec-WebSocket-Key": "c2hvcnQ=" })],
    ["POST", 405, anUpgrade().replace("GET", "POST")],
  ])("is refused for %s with %i", async (_why, status, request) => {
    await using server = await aWebSocketListener({ allowedOrigins: ["https://app.example"] });

    expect(await statusOf(server.port, request)).toBe(status);
  });

  test("takes an Origin that is listed", async () => {
    await using server = await aWebSocketListener({ allowedOrigins: ["https://app.example"] });

    expect(await statusOf(server.port, anUpgrade({ Origin: "https://app.example" }))).toBe(101);
  });

  test("agrees on no compression and no subprotocol, whatever is offered", async () => {
    await using server = await aWebSocketListener();
    const socket = new WebSocket(server.url, { perMessageDeflate: true });
    await new Promise((resolve) => socket.once("open", resolve));

    expect(socket.extensions).toBe("");
    socket.terminate();
    await using raw = new RawSocket(server.port);
    raw.write(anUpgrade({ "Sec-WebSocket-Protocol": "chat, jsonrpc" }));
    await waitUntil(() => raw.received.includes("\r\n\r\n"));

    expect(raw.statuses).toStrictEqual([101]);
    expect(raw.received).not.toMatch(/sec-websocket-(protocol|extensions)/iu);
  });

  test("is refused before the listener has started and after it has stopped", async () => {
    await using server = await aWebSocketListener();
    await server.listener.stop(new AbortController().signal);

    expect(server.listener.status()).toMatchObject({ isUp: false, detail: "not started" });
    expect(await statusOf(server.port, anUpgrade())).toBe(503);

    await server.listener.start();
    expect(await statusOf(server.port, anUpgrade())).toBe(101);
  });

  test("survives a caller who resets the connection while it is refused", async () => {
    await using server = await aWebSocketListener();
    for (let index = 0; index < 20; index += 1) {
      const raw = new RawSocket(server.port);
      raw.write(anUpgrade({}, "/nowhere"));
      raw.socket.resetAndDestroy();
    }

    expect(await statusOf(server.port, anUpgrade())).toBe(101);
  });

  test("leaves alone who offers another protocol: the request is served as if it had not", async () => {
    await using server = await aWebSocketListener();
    await using raw = new RawSocket(server.port);
    const offer = {
      Connection: "Upgrade, HTTP2-Settings",
      Upgrade: "h2c",
      "HTTP2-Settings": "AAMAAABkAAQCAAAAAAIAAAAA",
    };

    raw.write(aPost(GET_INFO, offer));
    await waitUntil(() => raw.received.includes('"result"'));
    raw.write(aPost(GET_INFO, offer).slice(0, -5));
    raw.write(GET_INFO.slice(-5));
    await waitUntil(() => raw.statuses.length === 2 && raw.received.endsWith("}"));

    expect(raw.statuses).toStrictEqual([200, 200]);
    expect(await statusOf(server.port, aPost(GET_INFO, { ...offer, Host: "evil.example" }))).toBe(403);
  });

  test("says where it is reached, and that it is down with the listener underneath", async () => {
    await using server = await aWebSocketListener();

    expect(server.listener.status()).toStrictEqual({
      name: "websocket",
      isUp: true,
      url: `ws://127.0.0.1:${server.port}`,
    });
    await server.http.stop(new AbortController().signal);
    expect(server.listener.status()).toMatchObject({ isUp: false, detail: "the HTTP listener is not up" });
  });
});
