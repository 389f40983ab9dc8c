/** The program's HTTP as a process: an IPv6 address, and certificates that change under it. */
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";

import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";

import { aCertificate, type TestCertificate } from "../support/certificate.ts";
import { RunningProgram, runProgram } from "../support/program.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { waitUntil } from "../support/wait.ts";

let directory = "";
let redis: TestRedis;
let env: Readonly<Record<string, string>> = {};

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "horus-carriers-"));
  redis = await startRedis();
  env = {
    SUPERVISOR_REDIS_URL: redis.url,
    SUPERVISOR_DATA_DIR: join(directory, "data"),
    SUPERVISOR_HTTP_KEEP_ALIVE_MS: "60000",
  };
});

afterAll(async () => {
  await redis.stop();
  await rm(directory, { recursive: true, force: true });
});

/** Starts the program, which is stopped with the test, and waits until it says where it serves. */
async function serve(args: readonly string[]): Promise<{ readonly program: RunningProgram; readonly url: string }> {
  const program = new RunningProgram(["--port", "0", ...args], { env, cwd: directory });
  onTestFinished(async () => void (await program.stop()));
  const [, url = ""] = await program.waitFor(/"event":"started".*"(https?:\/\/[^"/]+)\/?"/u);
  return { program, url };
}

/** A TLS connection that trusts this certificate alone. */
async function open(port: number, { cert }: TestCertificate): Promise<TLSSocket> {
  const socket = connect({ port, host: "127.0.0.1", servername: "localhost", ca: cert });
  await once(socket, "secureConnect");
  return socket;
}

/** Asks on a connection that is kept, and gives the status line. */
async function ask(socket: TLSSocket): Promise<string> {
  const body = '{"jsonrpc":"2.0","id":1,"method":"get_info"}';
  const head = `POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}`;
  let received = "";
  const take = (data: Buffer): void => void (received += data.toString());
  socket.on("data", take);
  socket.write(`${head}\r\n\r\n${body}`);
  await waitUntil(() => received.includes('"identity"'));
  socket.off("data", take);
  return received.slice(0, received.indexOf("\r\n"));
}

describe("The program", () => {
  test("serves on ::1 where it is told to, says so, and is called there", async () => {
    const { program, url } = await serve(["--host", "::1"]);

    expect(url).toMatch(/^http:\/\/\[::1\]:\d+$/u);
    expect(program.output).not.toContain("http_without_tls");
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    const { code, stdout } = await runProgram(["whoami", "--to", url, "--json"], { env });
    expect([code, stdout]).toEqual([0, expect.stringContaining('"owner"')]);
  });

  test("takes a changed certificate on SIGHUP, while an old connection lives on", async () => {
    const [before, after] = [aCertificate(), aCertificate()];
    const [cert, key] = [join(directory, "tls.crt"), join(directory, "tls.key")];
    const write = async (certificate: TestCertificate): Promise<void> => {
      await writeFile(key, certificate.key);
      await writeFile(cert, certificate.cert);
    };
    await write(before);
    const { program, url } = await serve(["--tls-cert", cert, "--tls-key", key]);
    const port = Number(new URL(url).port);
    const kept = await open(port, before);
    expect(await ask(kept)).toBe("HTTP/1.1 200 OK");

    await write(after);
    program.child.kill("SIGHUP");

    let fresh: TLSSocket | undefined;
    await waitUntil(async () => {
      fresh = await open(port, after).catch(() => undefined);
      return fresh !== undefined;
    });
    if (fresh === undefined) throw new Error("nobody came through");
    expect(await ask(fresh)).toBe("HTTP/1.1 200 OK");
    await expect(open(port, before)).rejects.toThrow("self-signed certificate");
    expect(await ask(kept)).toBe("HTTP/1.1 200 OK");
    kept.destroy();
    fresh.destroy();
  });
});
