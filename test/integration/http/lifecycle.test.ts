/** Starting, what can be wrong with it, and stopping without losing an answer. */
import { createServer } from "node:net";

import { describe, expect, test } from "vitest";

import { createHttpListener } from "../../../transports/http/listener.ts";
import { keptLog } from "../../support/dispatcher.ts";
import { aHeldHandler, anHttpListener, aPost, GET_INFO, httpOptions, RawSocket, PATIENT } from "../../support/http.ts";

const NEVER = new AbortController().signal;

describe("Starting", () => {
  test("reports where it listens, and before and after that it does not", async () => {
    const listener = createHttpListener(httpOptions());
    expect(listener.status()).toStrictEqual({ name: "http", isUp: false, detail: "not started" });

    await listener.start();
    expect(listener.port).toBeGreaterThan(0);
    expect(listener.status()).toStrictEqual({ name: "http", isUp: true, url: `http://127.0.0.1:${listener.port}` });

    await listener.stop(NEVER);
    expect(listener.status()).toStrictEqual({ name: "http", isUp: false, detail: "stopping" });
    await listener.stop(NEVER);
  });

  test("writes IPv6 addresses as URLs have them", async () => {
    await using http = await anHttpListener({ host: "::1" });

    expect(http.url).toBe(`http://[::1]:${http.port}/`);
    expect((await fetch(`${http.url}healthz`)).status).toBe(200);
  });

  test("names the port that is taken, and the flag that changes it", async () => {
    await using first = await anHttpListener();

    await expect(createHttpListener(httpOptions({ port: first.port })).start()).rejects.toThrow(
      `HTTP cannot listen on 127.0.0.1:${first.port} (EADDRINUSE). Stop the program that listens there, or pass another --port.`,
    );
  });

  test.each([
    ["192.0.2.1", "This machine has no such address; pass another --host."],
    ["no such host", "Nobody knows that name; pass another --host."],
  ])("names the host that can not be bound: %s", async (host, fix) => {
    const start = createHttpListener(httpOptions({ host })).start();

    await expect(start).rejects.toThrow(`HTTP cannot listen on ${host}:0 (`);
    await expect(start).rejects.toThrow(fix);
  });

  test("can start again after it stopped", async () => {
    await using http = await anHttpListener();
    await http.listener.stop(NEVER);

    await http.listener.start();

    expect((await fetch(`${http.listener.status().url}/healthz`)).status).toBe(200);
  });

  test.each([
    ["0.0.0.0", true],
    ["127.0.0.1", false],
    ["127.0.0.2", false],
    ["localhost", false],
    ["::1", false],
  ])("warns of calls that can be read on the way: bound to %s, %s", async (host, isWarned) => {
    const { log, lines } = keptLog();

    await using http = await anHttpListener({ host, log });

    expect(http.listener.status().isUp).toBe(true);
    expect(lines.join("").includes("http_without_tls")).toBe(isWarned);
  });
});

describe("Stopping", () => {
  test("answers what was taken, says that the connection ends, and takes nothing new", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler });
    await using busy = new RawSocket(http.port);
    await using idle = new RawSocket(http.port);
    await using silent = new RawSocket(http.port);
    idle.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    busy.write(aPost(GET_INFO));
    await expect.poll(() => [taken.length, idle.statuses], PATIENT).toStrictEqual([1, [200]]);

    const stopped = http.listener.stop(NEVER);
    await expect.poll(async () => isRefused(http.port), PATIENT).toBe(true);
    idle.write(aPost(GET_INFO));
    await expect.poll(() => [idle.statuses, idle.isClosed], PATIENT).toStrictEqual([[200, 503], true]);
    await expect.poll(() => silent.isClosed, PATIENT).toBe(true);
    expect(busy.isClosed).toBe(false);
    taken[0]?.answer('{"late":true}');
    await stopped;
    await expect.poll(() => busy.isClosed, PATIENT).toBe(true);

    expect(busy.statuses).toStrictEqual([200]);
    expect(busy.received).toContain("Connection: close");
    expect(busy.received).toContain('{"late":true}');
    expect(taken).toHaveLength(1);
  });

  test("ends held waits at once, so that they are answered", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler });
    await using waiting = new RawSocket(http.port);
    waiting.write(aPost(GET_INFO));
    await expect.poll(() => taken.length, PATIENT).toBe(1);
    taken[0]?.signal.addEventListener("abort", () => taken[0]?.answer('{"as":"it is"}'));

    await http.listener.stop(NEVER);

    await expect.poll(() => waiting.received, PATIENT).toContain('{"as":"it is"}');
  });

  test("refuses what was queued behind it on the same connection", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, limits: { concurrency: 1 } });
    await using socket = new RawSocket(http.port);
    socket.write(aPost(GET_INFO) + aPost(GET_INFO));
    await expect.poll(() => taken.length, PATIENT).toBe(1);

    const stopped = http.listener.stop(NEVER);
    taken[0]?.answer("{}");
    await stopped;

    await expect.poll(() => socket.isClosed, PATIENT).toBe(true);
    expect(taken).toHaveLength(1);
  });

  test("closes what is left at the deadline", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler });
    await using socket = new RawSocket(http.port);
    socket.write(aPost(GET_INFO));
    await expect.poll(() => taken.length, PATIENT).toBe(1);
    const deadline = new AbortController();

    const stopped = http.listener.stop(deadline.signal);
    deadline.abort();
    await stopped;

    await expect.poll(() => socket.isClosed, PATIENT).toBe(true);
    expect(socket.received).toBe("");
  });

  test("leaves the port free", async () => {
    const http = await anHttpListener();
    await http.listener.stop(NEVER);

    await expect(isRefused(http.port)).resolves.toBe(true);
    const server = createServer().listen(http.port, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    server.close();
    expect(server.listening).toBe(false);
  });
});

describe("Upgrades", () => {
  const UPGRADE = { Connection: "Upgrade", Upgrade: "websocket" };

  test("are handed on, Host and Origin being good, and survive idle times and the start of a stop", async () => {
    await using http = await anHttpListener({
      limits: { keepAliveMs: 50 },
      onUpgrade: (_request, socket, head) => {
        socket.write(`HTTP/1.1 101 Switching Protocols\r\n\r\nhead=${head.toString()}`);
        socket.on("data", (data: Buffer) => socket.end(data));
      },
    });
    await using socket = new RawSocket(http.port);

    socket.write(`${aPost("", UPGRADE).replace("POST", "GET")}more`);
    await expect.poll(() => socket.received, PATIENT).toContain("head=more");
    await using idle = new RawSocket(http.port);
    await expect.poll(() => idle.socket.readyState, PATIENT).toBe("open");
    const stopped = http.listener.stop(NEVER);
    await expect.poll(() => idle.isClosed, PATIENT).toBe(true);
    socket.write("echo");
    await stopped;
    await expect.poll(() => socket.isClosed, PATIENT).toBe(true);

    expect(socket.statuses).toStrictEqual([101]);
    expect(socket.received).toContain("echo");
  });

  test.each([
    ["another Host", { Host: "evil.example" }],
    ["another Origin", { Origin: "https://evil.example" }],
  ])("are refused to %s", async (_name, headers) => {
    const upgrades: unknown[] = [];
    await using http = await anHttpListener({ onUpgrade: (request) => void upgrades.push(request) });
    await using socket = new RawSocket(http.port);

    socket.write(aPost("", { ...UPGRADE, ...headers }).replace("POST", "GET"));

    await expect.poll(() => socket.isClosed, PATIENT).toBe(true);
    expect(socket.statuses).toStrictEqual([403]);
    expect(upgrades).toStrictEqual([]);
  });

  test("are answered as if they had not been asked for, where nobody takes them", async () => {
    await using http = await anHttpListener();
    await using socket = new RawSocket(http.port);

    socket.write(aPost(GET_INFO, UPGRADE));

    await expect.poll(() => socket.statuses, PATIENT).toStrictEqual([200]);
  });
});

async function isRefused(port: number): Promise<boolean> {
  await using socket = new RawSocket(port);
  // Awaited here: the socket lives as long as this function.
  const answer = await new Promise<boolean>((resolve) => {
    socket.socket.once("connect", () => resolve(false));
    socket.socket.once("error", () => resolve(true));
  });
  return answer;
}
