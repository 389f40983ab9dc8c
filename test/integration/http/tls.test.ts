/** HTTP under TLS: certificates from files, changed without a stop. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { createHttpDialer } from "../../../transports/http/dialer.ts";
import { createHttpListener } from "../../../transports/http/listener.ts";
import { aCertificate, type TestCertificate } from "../../support/certificate.ts";
import { keptLog } from "../../support/dispatcher.ts";
import { aHeldHandler, anHttpListener, aPost, GET_INFO, httpOptions, RawSocket, PATIENT } from "../../support/http.ts";

let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tls-test-"));
});
afterAll(async () => rm(folder, { recursive: true }));

async function filesOf({ cert, key }: TestCertificate, name: string): Promise<{ certFile: string; keyFile: string }> {
  const files = { certFile: join(folder, `${name}.crt`), keyFile: join(folder, `${name}.key`) };
  await writeFile(files.certFile, cert);
  await writeFile(files.keyFile, key);
  return files;
}

async function open(port: number, { cert }: TestCertificate): Promise<TLSSocket> {
  const socket = connect({ port, host: "127.0.0.1", ca: cert, servername: "localhost" });
  await new Promise((resolve, reject) => {
    socket.once("secureConnect", resolve);
    socket.once("error", reject);
  });
  return socket;
}

async function post(port: number, { cert }: TestCertificate): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const options = {
      port,
      host: "localhost",
      ca: cert,
      method: "POST",
      headers: { "content-type": "application/json" },
    };
    const sent = request(options, (response) => resolve(response.resume().statusCode));
    sent.once("error", reject);
    sent.end(GET_INFO);
  });
}

async function start(certFile: string, keyFile: string): Promise<void> {
  return createHttpListener(httpOptions({ tls: { certFile, keyFile } })).start();
}

describe("TLS", () => {
  test("carries calls, and says so in its URL", async () => {
    const certificate = aCertificate();
    const { log, lines } = keptLog();
    await using http = await anHttpListener({ tls: await filesOf(certificate, "one"), host: "0.0.0.0", log });

    expect(http.url).toBe(`https://0.0.0.0:${http.port}/`);
    expect(await post(http.port, certificate)).toBe(200);
    expect(lines.join("")).not.toContain("http_without_tls");
  });

  test("puts a changed certificate to use without dropping a connection", async () => {
    const [before, after] = [aCertificate(), aCertificate()];
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({ handler, tls: await filesOf(before, "changed") });
    const kept = await open(http.port, before);
    let received = "";
    kept.on("data", (data: Buffer) => (received += data.toString()));
    kept.write(aPost(GET_INFO));
    await expect.poll(() => taken.length, PATIENT).toBe(1);

    await filesOf(after, "changed");
    await http.listener.reload?.();

    (await open(http.port, after)).destroy();
    await expect(open(http.port, before)).rejects.toThrow("self-signed certificate");
    taken[0]?.answer('{"still":"here"}');
    await expect.poll(() => received, PATIENT).toContain('{"still":"here"}');
    kept.destroy();
  });

  test("keeps the old certificate when the new one is no good, and says which file and why", async () => {
    const certificate = aCertificate();
    const files = await filesOf(certificate, "broken");
    await using http = await anHttpListener({ tls: files });

    await writeFile(files.certFile, "not PEM");
    await expect(http.listener.reload?.()).rejects.toThrow(/^--tls-cert ".*broken\.crt".*Both must be PEM/);
    await rm(files.keyFile);
    await expect(http.listener.reload?.()).rejects.toThrow(/^--tls-key ".*broken\.key": ENOENT.*Name a PEM file/);

    expect(await post(http.port, certificate)).toBe(200);
  });

  test("has nothing to reload where there is no TLS, or nothing runs", async () => {
    await using plain = await anHttpListener();
    const stopped = createHttpListener(httpOptions({ tls: { certFile: "none", keyFile: "none" } }));

    await expect(plain.listener.reload?.()).resolves.toBeUndefined();
    await expect(stopped.reload?.()).resolves.toBeUndefined();
  });

  test("does not start without its files, or with those of two certificates", async () => {
    const [one, other] = [await filesOf(aCertificate(), "a"), await filesOf(aCertificate(), "b")];

    await expect(start("/no/such.crt", one.keyFile)).rejects.toThrow('--tls-cert "/no/such.crt": ENOENT');
    await expect(start(one.certFile, other.keyFile)).rejects.toThrow("the key the certificate's");
  });

  test("finds the connection below it: bounds and deadlines hold", async () => {
    const certificate = aCertificate();
    const { handler, taken } = aHeldHandler();
    await using http = await anHttpListener({
      handler,
      tls: await filesOf(certificate, "bounds"),
      limits: { maxConnections: 2 },
    });
    const working = await open(http.port, certificate);
    working.write(aPost(GET_INFO));
    await expect.poll(() => taken.length, PATIENT).toBe(1);
    await using silent = new RawSocket(http.port);
    await expect.poll(() => silent.socket.readyState, PATIENT).toBe("open");

    const late = await open(http.port, certificate);

    await expect.poll(() => silent.isClosed, PATIENT).toBe(true);
    expect(working.destroyed).toBe(false);
    await http.listener.stop(AbortSignal.abort());
    await expect
      .poll(() => [taken[0]?.signal.aborted, late.destroyed, working.destroyed])
      .toStrictEqual([true, true, true]);
  });

  test("keeps nothing of the offers of other protocols on one connection", async () => {
    const certificate = aCertificate();
    const warnings: string[] = [];
    const onWarning = ({ name }: Error): void => void warnings.push(name);
    process.on("warning", onWarning);
    await using http = await anHttpListener({
      tls: await filesOf(certificate, "offers"),
      onUpgrade: (_request, socket) => {
        socket.end();
        return undefined;
      },
    });
    const socket = await open(http.port, certificate);
    let received = "";
    socket.on("data", (data: Buffer) => (received += data.toString()));

    for (let count = 1; count <= 30; count += 1) {
      socket.write(aPost(GET_INFO, { Connection: "Upgrade", Upgrade: "h2c" }));
      await expect.poll(() => received.split("HTTP/1.1 200 OK"), PATIENT).toHaveLength(count + 1);
    }

    process.removeListener("warning", onWarning);
    socket.destroy();
    expect(warnings).toStrictEqual([]);
  });

  test("closes a connection that does not get through its handshake", async () => {
    await using http = await anHttpListener({ tls: await filesOf(aCertificate(), "slow"), limits: { headersMs: 100 } });
    await using silent = new RawSocket(http.port);
    await using plain = new RawSocket(http.port);

    plain.write(aPost(GET_INFO));

    await expect.poll(() => [silent.isClosed, plain.isClosed], PATIENT).toStrictEqual([true, true]);
    expect(plain.statuses).toStrictEqual([]);
  });

  test("is not trusted by a dialer without reason, and nothing is sent", async () => {
    await using http = await anHttpListener({ tls: await filesOf(aCertificate(), "unknown") });
    const dialer = createHttpDialer(http.url);

    const call = dialer.call({ id: "1", text: GET_INFO, waitMs: 0, deadlineMs: 5000 });

    await expect(call).rejects.toMatchObject({
      name: "CarrierError",
      applied: "no",
      message: `${http.url}: DEPTH_ZERO_SELF_SIGNED_CERT`,
    });
  });
});
