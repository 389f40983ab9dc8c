/** DNS rebinding, requests of other sites' pages, and requests that two readers would read differently. */
import { describe, expect, test } from "vitest";

import { createHttpListener } from "../../../transports/http/listener.ts";
import { aHeldHandler, anHttpListener, aPost, GET_INFO, httpOptions, RawSocket, PATIENT } from "../../support/http.ts";

async function statusOf(
  port: number,
  request: string,
): Promise<{ readonly status: number | undefined; readonly text: string }> {
  await using socket = new RawSocket(port);
  socket.write(request);
  await expect.poll(() => socket.statuses.length > 0 || socket.isClosed, PATIENT).toBe(true);
  return { status: socket.statuses[0], text: socket.received };
}

describe("Host", () => {
  test.each([
    "localhost",
    "LocalHost:9999",
    "localhost.",
    "127.0.0.1",
    "127.0.0.1:1",
    "[::1]:8080",
    "[0:0:0:0:0:0:0:1]",
    "jobs.example.org",
    "JOBS.example.org:443",
    "other.example.org",
    "[2001:db8::5]",
  ])("serves %s", async (host) => {
    const allowedHosts = ["jobs.example.org", "other.example.org:8443", "2001:DB8:0::5"];
    await using http = await anHttpListener({ allowedHosts });

    expect(await statusOf(http.port, aPost(GET_INFO, { Host: host }))).toMatchObject({ status: 200 });
  });

  test.each([
    "evil.example",
    "localhost.evil.example",
    "evil.example:8080",
    "127.0.0.1.evil.example",
    "user@localhost",
    "localhost/",
    "localhost#",
    "192.0.2.1",
    "[::2]",
    "[::1",
    "localhost:99999",
    "xn--",
    "",
  ])("refuses %j before anything is read", async (host) => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler });

    const { status, text } = await statusOf(http.port, aPost(GET_INFO, { Host: host }));

    expect(status).toBe(403);
    expect(text).toContain("is not served");
    expect(taken).toHaveLength(0);
  });

  test("serves the address a connection came in on, where all are bound", async () => {
    await using http = await anHttpListener({ host: "0.0.0.0" });
    await using other = new RawSocket(http.port, { host: "127.0.0.2" });

    other.write(aPost(GET_INFO, { Host: "127.0.0.2" }) + aPost(GET_INFO, { Host: "127.0.0.3" }));

    await expect.poll(() => other.statuses, PATIENT).toStrictEqual([200, 403]);
  });

  test("looks again when a connection changes its Host", async () => {
    await using http = await anHttpListener();
    await using socket = new RawSocket(http.port);

    for (const host of ["localhost", "localhost", "evil.example", "localhost"])
      socket.write(aPost(GET_INFO, { Host: host }));

    await expect.poll(() => socket.statuses, PATIENT).toStrictEqual([200, 200, 403, 200]);
  });

  test.each([
    ["http://localhost/healthz", 200],
    ["HTTP://LOCALHOST:80/healthz?a=/b", 200],
    ["https://127.0.0.1", 200],
    ["http://evil.example/healthz", 403],
    ["http://user@localhost/healthz", 403],
    ["http:///healthz", 403],
    ["ftp://localhost/healthz", 404],
  ])("is looked at in a target of absolute form as well: %s", async (target, status) => {
    await using http = await anHttpListener();

    const { text } = await statusOf(http.port, `GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    const evil = await statusOf(http.port, `GET ${target} HTTP/1.1\r\nHost: evil.example\r\n\r\n`);

    expect(text).toContain(`HTTP/1.1 ${status} `);
    expect(evil.status).toBe(403);
  });

  test("takes calls whose target has absolute form", async () => {
    await using http = await anHttpListener();

    const { status } = await statusOf(http.port, aPost(GET_INFO).replace("POST /", "POST http://localhost/rpc"));

    expect(status).toBe(200);
  });

  test("refuses a request without Host, or with two", async () => {
    await using http = await anHttpListener();

    const none = await statusOf(http.port, `GET /healthz HTTP/1.1\r\n\r\n`);
    const old = await statusOf(http.port, `GET /healthz HTTP/1.0\r\n\r\n`);
    const two = await statusOf(http.port, `GET /healthz HTTP/1.1\r\nHost: localhost\r\nhOST: evil.example\r\n\r\n`);

    expect([none.status, old.status, two.status]).toStrictEqual([400, 400, 400]);
  });

  test.each(["not a host", "http://jobs.example.org", "jobs.example.org/path", ""])(
    "does not start with the allowed host %j",
    (name) => {
      expect(() => createHttpListener(httpOptions({ allowedHosts: [name] }))).toThrow(
        /http\.allowed_hosts .*not a host name/,
      );
    },
  );
});

describe("Origin", () => {
  test.each(["https://evil.example", "null", "http://localhost:8080", "https://jobs.example.org.evil.example", ""])(
    "refuses %j",
    async (origin) => {
      const { handler, taken } = aHeldHandler();
      await using http = await anHttpListener({ handler, allowedOrigins: ["https://jobs.example.org"] });

      expect((await statusOf(http.port, aPost(GET_INFO, { Origin: origin }))).status).toBe(403);
      expect(
        (await statusOf(http.port, `GET /openrpc.json HTTP/1.1\r\nHost: localhost\r\nOrigin: ${origin}\r\n\r\n`))
          .status,
      ).toBe(403);
      expect(taken).toHaveLength(0);
    },
  );

  test("serves one that is listed, and lets its pages and nobody else's read the answers", async () => {
    await using http = await anHttpListener({
      allowedOrigins: ["https://Jobs.example.org", "https://other.example.org"],
    });

    const call = await statusOf(http.port, aPost(GET_INFO, { Origin: "https://jobs.example.org" }));
    const page = await statusOf(http.port, aGet("/readyz", "https://other.example.org"));
    const fault = await statusOf(
      http.port,
      aPost(GET_INFO, { Origin: "https://jobs.example.org", "Content-Type": "text/plain" }),
    );
    const none = await statusOf(http.port, aPost(GET_INFO));

    expect(call).toMatchObject({ status: 200 });
    expect(corsOf(call.text)).toStrictEqual(["access-control-allow-origin: https://jobs.example.org", "vary: origin"]);
    expect(corsOf(page.text)).toStrictEqual(["access-control-allow-origin: https://other.example.org", "vary: origin"]);
    // A page's dialer tells its user what was wrong.
    expect(fault.status).toBe(415);
    expect(corsOf(fault.text)).toHaveLength(2);
    expect(corsOf(none.text)).toStrictEqual([]);
  });

  test("lets pages that are listed send calls, and asks no more of a browser than that", async () => {
    await using http = await anHttpListener({ allowedOrigins: ["https://jobs.example.org"] });

    const listed = await statusOf(http.port, aPreflight("/", "https://jobs.example.org"));
    const other = await statusOf(http.port, aPreflight("/", "https://evil.example"));
    const elsewhere = await statusOf(http.port, aPreflight("/openrpc.json", "https://jobs.example.org"));
    const plain = await statusOf(http.port, "OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n");

    expect(listed.status).toBe(204);
    expect(corsOf(listed.text)).toStrictEqual([
      "access-control-allow-origin: https://jobs.example.org",
      "vary: origin",
      "access-control-allow-methods: post",
      "access-control-allow-headers: content-type",
      "access-control-max-age: 600",
    ]);
    expect(other.status).toBe(403);
    expect(corsOf(other.text)).toStrictEqual([]);
    expect([elsewhere.status, plain.status]).toStrictEqual([405, 405]);
  });
});

function aGet(path: string, origin: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: localhost\r\nOrigin: ${origin}\r\n\r\n`;
}

function aPreflight(path: string, origin: string): string {
  const asked = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type, x-mine";
  return `OPTIONS ${path} HTTP/1.1\r\nHost: localhost\r\nOrigin: ${origin}\r\n${asked}\r\n\r\n`;
}

/** What an answer says to browsers, in lower case. */
function corsOf(text: string): readonly string[] {
  const [head = ""] = text.toLowerCase().split("\r\n\r\n");
  return head.split("\r\n").filter((line) => line.startsWith("access-control") || line.startsWith("vary"));
}

describe("Requests that two readers would read differently", () => {
  const HEAD = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
  test.each([
    ["two lengths", `${HEAD}Content-Length: 44\r\nContent-Length: 45\r\n\r\n${GET_INFO}`],
    ["a length and chunks", `${HEAD}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ["a length that is no number", `${HEAD}Content-Length: 0x2c\r\n\r\n${GET_INFO}`],
    ["a negative length", `${HEAD}Content-Length: -1\r\n\r\n`],
    ["a coding after chunked", `${HEAD}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`],
    ["a chunk size that is no number", `${HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n`],
    ["a space before the colon", `${HEAD}Content-Length : 44\r\n\r\n${GET_INFO}`],
    ["a folded header", `${HEAD}X-A: 1\r\n Content-Length: 44\r\n\r\n${GET_INFO}`],
    ["a line that ends without a carriage return", `${HEAD}X-A: 1\nContent-Length: 44\r\n\r\n${GET_INFO}`],
    ["a null in a header", `${HEAD}X-A: \0\r\nContent-Length: 44\r\n\r\n${GET_INFO}`],
    ["another protocol", "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001"],
    ["HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ])("are refused and the connection closed: %s", async (_name, request) => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler });
    await using socket = new RawSocket(http.port);

    socket.write(request);

    await expect.poll(() => socket.isClosed, PATIENT).toBe(true);
    expect(socket.statuses).toStrictEqual([400]);
    expect(socket.received).toContain("RFC 9112");
    expect(taken).toHaveLength(0);
  });
});
