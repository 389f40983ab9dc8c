/** The client's end: what became of a call that got no answer. */
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import { describe, expect, test } from "vitest";

import type { OutgoingCall } from "../../../src/rpc/transport.ts";
import { dial } from "../../../transports/dial.ts";
import { createHttpDialer } from "../../../transports/http/dialer.ts";
import { aHeldHandler, anHttpListener, GET_INFO, PATIENT } from "../../support/http.ts";

function aCall(wanted: Partial<OutgoingCall> = {}): OutgoingCall {
  return { id: "1", text: GET_INFO, waitMs: 0, deadlineMs: 5000, ...wanted };
}

/** Any HTTP server, for what a supervisor would never say. */
async function aServer(listener: RequestListener): Promise<AsyncDisposable & { readonly url: string }> {
  const server: Server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${portOf(server.address())}/`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

function portOf(address: AddressInfo | string | null): number {
  return typeof address === "object" && address !== null ? address.port : 0;
}

describe("dial", () => {
  test.each(["http://127.0.0.1:8080", "HTTPS://jobs.example.org/rpc"])("has a carrier for %s", (url) => {
    expect(dial(url)).toMatchObject({ url: new URL(url).href, validitySeconds: 120, maxWaitMs: 25_000 });
  });

  test.each(["ftp://a", "localhost:8080", "127.0.0.1", "", "constructor://a", "__proto__://a", "http:/a"])(
    "says for %j which schemes there are",
    (url) => {
      expect(() => dial(url)).toThrow(
        `${JSON.stringify(url)}: not supported. Use a URL that begins with http://, https://`,
      );
    },
  );
});

test.each(["http://127.0.0.1:1", "ws://127.0.0.1:1", `mycelium://${"ab".repeat(32)}`])(
  "a dialer for %s is closed at the end of its block",
  async (url) => {
    let closed: AbortSignal | undefined;
    {
      await using dialer = dial(url);
      closed = dialer.closed;
      expect(closed?.aborted).toBe(false);
    }
    expect(closed?.aborted).toBe(true);
  },
);

describe("createHttpDialer", () => {
  test.each([
    ["127.0.0.1:8080", "not a URL"],
    ["ws://127.0.0.1:8080", "not http or https"],
    ["http://alice:secret@jobs.example.org", "a URL with a password"],
  ])("refuses %s", (url, message) => {
    expect(() => createHttpDialer(url)).toThrow(message);
    expect(() => createHttpDialer(url)).not.toThrow("secret");
  });

  test("gives the text of the answer", async () => {
    await using http = await anHttpListener();

    expect(JSON.parse(await createHttpDialer(http.url).call(aCall()))).toMatchObject({
      id: 1,
      result: { version: "0.0.0" },
    });
  });

  test("knows that nothing was applied where nobody listens", async () => {
    const http = await anHttpListener();
    await http[Symbol.asyncDispose]();

    await expect(createHttpDialer(http.url).call(aCall())).rejects.toMatchObject({
      name: "CarrierError",
      applied: "no",
      message: `${http.url}: ECONNREFUSED. Is the supervisor running there?`,
    });
  });

  test("says at once that no fetch calls a port of another protocol", async () => {
    await expect(createHttpDialer("http://127.0.0.1:6000").call(aCall())).rejects.toMatchObject({
      applied: "no",
      isFinal: true,
      message: /^http:\/\/127\.0\.0\.1:6000\/: fetch calls no such port/u,
    });
  });

  test("knows that nothing was applied where the supervisor refused, and says what it said", async () => {
    await using http = await anHttpListener({ limits: { maxBodyBytes: 10 } });
    const { url } = http;

    const dialer = createHttpDialer(url);

    await expect(dialer.call(aCall())).rejects.toMatchObject({
      applied: "no",
      limit: "max_body_bytes",
      message: `${url} answered 413: The body is larger than 10 bytes. Send less, or raise http.max_body_bytes.`,
    });
  });

  test.each([
    [204, true],
    [307, true],
    [400, true],
    [404, true],
    [413, true],
    [408, false],
    [429, false],
    [500, false],
    [501, true],
    [503, false],
  ])("knows whether status %i lasts: %j", async (status, isFinal) => {
    await using server = await aServer((_request, response) => response.writeHead(status).end());

    await expect(createHttpDialer(server.url).call(aCall())).rejects.toMatchObject({ isFinal, limit: undefined });
  });

  test.each([
    [204, "", "answered 204, no answer. Is this the supervisor's URL?"],
    [502, "<html>Bad gateway</html>", "answered 502, as no supervisor does. Is this the supervisor's URL?"],
    [503, '{"error":"upstream"}', "answered 503, as no supervisor does. Is this the supervisor's URL?"],
    [500, "null", "answered 500, as no supervisor does. Is this the supervisor's URL?"],
  ])("does not know what became of a call that a proxy answered with %i", async (status, body, message) => {
    await using server = await aServer((_request, response) => response.writeHead(status).end(body));

    await expect(createHttpDialer(server.url).call(aCall())).rejects.toMatchObject({
      applied: "unknown",
      message: `${server.url} ${message}`,
    });
  });

  test("follows no redirect: a signed call goes where it was sent", async () => {
    let calls = 0;
    await using server = await aServer((_request, response) => {
      calls++;
      response.writeHead(307, { location: "/elsewhere" }).end();
    });

    await expect(createHttpDialer(server.url).call(aCall())).rejects.toMatchObject({
      name: "CarrierError",
      applied: "unknown",
    });
    expect(calls).toBe(1);
  });

  test("does not know what became of a call whose connection was cut", async () => {
    await using server = await aServer((request) => request.socket.destroy());

    await expect(createHttpDialer(server.url).call(aCall())).rejects.toMatchObject({
      name: "CarrierError",
      applied: "unknown",
    });
  });

  test("does not know what became of a call cut in its answer", async () => {
    await using server = await aServer((_request, response) => {
      response.writeHead(200, { "content-length": "100" }).write("{", () => response.destroy());
    });

    await expect(createHttpDialer(server.url).call(aCall())).rejects.toMatchObject({ applied: "unknown" });
  });

  test("takes no answer beyond its limit", async () => {
    await using server = await aServer((_request, response) => response.end("x".repeat(2000)));

    expect(await createHttpDialer(server.url, { maxAnswerBytes: 2000 }).call(aCall())).toHaveLength(2000);
    await expect(createHttpDialer(server.url, { maxAnswerBytes: 1999 }).call(aCall())).rejects.toMatchObject({
      applied: "unknown",
      message: `${server.url}: the answer is longer than 1999 bytes`,
    });
  });

  test("ends at its deadline, at the caller's word, and when it is closed; the supervisor learns of it", async () => {
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler });
    const dialer = createHttpDialer(http.url);
    const ender = new AbortController();

    const calls = [aCall({ deadlineMs: 2000 }), aCall({ signal: ender.signal }), aCall()].map(async (call) =>
      dialer.call(call).catch((error: unknown) => error),
    );
    await expect.poll(() => taken.length, PATIENT).toBe(3);
    await calls[0];
    ender.abort();
    await calls[1];
    await dialer.close();

    expect(await Promise.all(calls)).toMatchObject([
      { name: "CarrierError", applied: "unknown", isFinal: false, message: `${http.url}: no answer within 2000 ms` },
      { name: "CarrierError", applied: "unknown", message: `${http.url}: given up by the caller` },
      { name: "CarrierError", applied: "unknown", isFinal: true, message: `${http.url}: the dialer is closed` },
    ]);
    await expect.poll(() => taken.map(({ signal }) => signal.aborted), PATIENT).toStrictEqual([true, true, true]);
  });

  test("sends nothing once it is closed or the caller has given up", async () => {
    const dialer = createHttpDialer("http://127.0.0.1:1/");
    await expect(dialer.call(aCall({ signal: AbortSignal.abort() }))).rejects.toMatchObject({ applied: "no" });

    await dialer.close();

    await expect(dialer.call(aCall())).rejects.toMatchObject({
      applied: "no",
      isFinal: true,
      message: "http://127.0.0.1:1/: the dialer is closed",
    });
  });

  test("carries many calls at a time", async () => {
    await using http = await anHttpListener();
    const dialer = createHttpDialer(http.url);
    const ids = Array.from({ length: 50 }, (_, id) => id);

    const answers = await Promise.all(
      ids.map(async (id) => dialer.call(aCall({ id: String(id), text: GET_INFO.replace('"id":1', `"id":${id}`) }))),
    );

    expect(answers.map((answer) => /"id":(\d+)\}$/.exec(answer)?.[1])).toStrictEqual(ids.map(String));
  });
});
