/** What HTTP adds to the dispatcher's answers: methods, content types, statuses, pages. */
import { describe, expect, test } from "vitest";

import { aDispatcher, keptLog } from "../../support/dispatcher.ts";
import { aHeldHandler, anHttpListener, GET_INFO, PATIENT } from "../../support/http.ts";

const JSON_TYPE = { "content-type": "application/json" };

async function post(
  url: string,
  body: string,
  headers: Readonly<Record<string, string>> = JSON_TYPE,
): Promise<Response> {
  return fetch(url, { method: "POST", headers, body });
}

describe("POST", () => {
  test.each(["", "rpc", "?x=1", "rpc?x=1"])("takes calls at /%s", async (path) => {
    await using http = await anHttpListener();

    const response = await post(http.url + path, GET_INFO);

    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(await response.json()).toMatchObject({ id: 1, result: { name: "horus-supervisor" } });
  });

  test("answers 200 to whatever has a JSON-RPC answer", async () => {
    await using http = await anHttpListener();

    for (const body of ["", "{", "[]", "[1]", '{"jsonrpc":"2.0","id":1,"method":"nothing"}']) {
      const response = await post(http.url, body);
      expect([response.status, await response.text()]).toStrictEqual([200, expect.stringContaining('"error"')]);
    }
  });

  test("answers 204 where nothing is to be said", async () => {
    await using http = await anHttpListener();

    const response = await post(http.url, '{"jsonrpc":"2.0","method":"get_info"}');

    expect([response.status, await response.text()]).toStrictEqual([204, ""]);
  });

  test.each([
    "application/json",
    "application/json; charset=utf-8",
    'Application/JSON;charset="UTF-8"',
    "application/json-rpc",
    "application/jsonrequest",
  ])("takes Content-Type %s", async (type) => {
    await using http = await anHttpListener();

    expect((await post(http.url, GET_INFO, { "content-type": type })).status).toBe(200);
  });

  test.each([
    ["text/plain"],
    ["application/x-www-form-urlencoded"],
    ["multipart/form-data; boundary=x"],
    ["application/json; charset=utf-16"],
    ["application/jsonp"],
    ["text/json, application/json"],
    ["application/json; charset=utf-8; charset=utf-7"],
  ])("refuses Content-Type %s, which a page of another site could send unasked", async (type) => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler });

    const response = await post(http.url, GET_INFO, { "content-type": type });

    expect(response.status).toBe(415);
    expect(await response.json()).toStrictEqual({
      error: `Content-Type ${JSON.stringify(type)} is not served`,
      fix: "Send Content-Type: application/json.",
    });
    expect(taken).toHaveLength(0);
  });

  test("refuses a body without Content-Type, and a compressed one", async () => {
    await using http = await anHttpListener();

    const bare = await fetch(http.url, { method: "POST", body: new Uint8Array(Buffer.from(GET_INFO)) });
    const packed = await post(http.url, GET_INFO, { ...JSON_TYPE, "content-encoding": "gzip" });

    expect([bare.status, await bare.json()]).toMatchObject([415, { error: "No Content-Type" }]);
    expect([packed.status, await packed.json()]).toMatchObject([
      415,
      { error: 'Content-Encoding "gzip" is not served' },
    ]);
  });

  test("passes a body of exactly the limit, whole, and refuses a longer one", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, limits: { maxBodyBytes: 300_000 } });
    const whole = "x".repeat(300_000);

    const answer = post(http.url, whole);
    await expect.poll(() => taken.length, PATIENT).toBe(1);
    taken[0]?.answer("{}");
    const refused = await post(http.url, `${whole}x`);

    expect((await answer).status).toBe(200);
    expect(taken[0]?.text).toBe(whole);
    expect([refused.status, await refused.json()]).toMatchObject([
      413,
      { error: "The body is larger than 300000 bytes" },
    ]);
  });

  test("closes the connection where the handler breaks its word and throws", async () => {
    const { log, lines } = keptLog();
    const handler = { ...aDispatcher(), handle: async () => Promise.reject(new Error("defect")) };
    await using http = await anHttpListener({ handler, log });

    await expect(post(http.url, GET_INFO)).rejects.toThrow("fetch failed");

    expect(lines.join("")).toContain("http_failed");
  });

  test("gives the dispatcher the address that called, and what HTTP holds", async () => {
    const seen: unknown[] = [];
    const handler = aDispatcher({
      handlers: {
        "rpc.discover": async (_params, { connection: { peer, maxWaitMs, maxAnswerBytes } }) => {
          seen.push({ peer, maxWaitMs, maxAnswerBytes });
          return {};
        },
      },
    });
    await using http = await anHttpListener({ handler, maxWaitMs: 25_000, limits: { maxAnswerBytes: 1000 } });

    await post(http.url, '{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}');

    expect(seen).toStrictEqual([
      { peer: { transport: "http", address: "127.0.0.1" }, maxWaitMs: 25_000, maxAnswerBytes: 1000 },
    ]);
  });
});

describe("GET", () => {
  test.each([
    ["", "text/plain; charset=utf-8", "JSON-RPC 2.0"],
    ["healthz", "application/json", '{"status":"ok"}'],
    ["readyz", "application/json", '{"ready":true,"checks":{"redis":"up"}}'],
    ["openrpc.json", "application/json", '{"openrpc":"1.3.2"}'],
    ["metrics", "text/plain; version=0.0.4; charset=utf-8", "up 1\n"],
  ])("serves /%s, with HEAD too", async (path, type, text) => {
    await using http = await anHttpListener({ metrics: async () => "up 1\n" });

    const response = await fetch(http.url + path);
    const head = await fetch(http.url + path, { method: "HEAD" });

    expect([response.status, head.status]).toStrictEqual([200, 200]);
    expect(response.headers.get("content-type")).toBe(type);
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    const body = await response.text();
    expect(body).toContain(text);
    expect([head.headers.get("content-length"), await head.text()]).toStrictEqual([
      String(Buffer.byteLength(body)),
      "",
    ]);
  });

  test("shows at / how to call it, as it is reached", async () => {
    await using http = await anHttpListener();

    expect(await (await fetch(http.url)).text()).toContain(`curl -s ${http.url.slice(0, -1)} -H`);
  });

  test("says 503 at /readyz while something is missing", async () => {
    await using http = await anHttpListener({ readiness: async () => ({ ready: false, checks: { redis: "down" } }) });

    const response = await fetch(`${http.url}readyz`);

    expect([response.status, await response.json()]).toStrictEqual([503, { ready: false, checks: { redis: "down" } }]);
  });

  test.each(["metrics", "index.html", "rpc/", "../etc/passwd", "__proto__", "openrpc.json/"])(
    "has nothing at /%s",
    async (path) => {
      await using http = await anHttpListener();

      const response = await fetch(http.url + path.replace("../", "%2e%2e%2f"));

      expect([response.status, await response.json()]).toMatchObject([
        404,
        { fix: "Calls go to /, see GET / for the rest." },
      ]);
    },
  );

  test.each([
    ["PUT", "", "GET, HEAD, POST"],
    ["OPTIONS", "", "GET, HEAD, POST"],
    ["GET", "rpc", "POST"],
    ["HEAD", "rpc", "POST"],
    ["POST", "healthz", "GET, HEAD"],
    ["DELETE", "openrpc.json", "GET, HEAD"],
  ])("answers 405 to %s /%s and says what is served", async (method, path, allow) => {
    await using http = await anHttpListener();

    const response = await fetch(http.url + path, { method });

    expect([response.status, response.headers.get("allow")]).toStrictEqual([405, allow]);
  });
});
