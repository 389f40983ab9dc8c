import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";

import { freePort } from "../../../bin/demo/port.ts";
import { type RunningLine, runLine, startLine, untilWritten } from "../../support/command-line.ts";
import { startRedis, type TestRedis } from "../../support/redis.ts";
import type { TerminalWishes } from "../../support/terminal.ts";
import { waitUntil } from "../../support/wait.ts";

const STARTED = /"event":"started".*"(http:\/\/127\.0\.0\.1:\d+)\/?"/u;

let directory = "";
let redis: TestRedis;
/** Where a first start finds nothing. */
let env: Readonly<Record<string, string>> = {};

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "horus-serve-"));
  redis = await startRedis();
  env = { SUPERVISOR_REDIS_URL: redis.url, SUPERVISOR_DATA_DIR: join(directory, "data") };
  onTestFinished(async () => rm(directory, { recursive: true, force: true }));
});

/** Starts a supervisor, which is stopped with the test, and gives its address. */
async function serve(
  argv: readonly string[] = ["--port", "0"],
  wishes: TerminalWishes = {},
): Promise<RunningLine & { readonly url: string }> {
  const line = startLine(argv, { ...wishes, env: { ...env, ...wishes.env } });
  onTestFinished(async () => {
    line.terminal.interrupt();
    await line.ended;
  });
  const [, url = ""] = await untilWritten(line, STARTED);
  return { ...line, url };
}

async function isReady(url: string): Promise<boolean> {
  return (await fetch(`${url}/readyz`)).ok;
}

describe("a first start", () => {
  test("makes what it needs, says so in three lines, and goes on", async () => {
    const { terminal, url } = await serve();

    const [first, second] = terminal.stderr.split("\n");
    const [next] = await terminal.waitFor(/^The command line.*$/mu);
    expect(first).toMatch(/^First start: made \/.*\/data with the supervisor's identity ed25519:[0-9a-f]{64},$/u);
    expect(second).toBe("an owner key with all roles (owner.key), and keys.toml, which says who may do what.");
    expect(next).toBe(
      'The command line uses the owner key. Next: supervisor runner start demo --exec "bash -s" ' +
        `--to ${url} --redis-url ${redis.url} --data-dir ${join(directory, "data")}`,
    );
    await expect(isReady(url)).resolves.toBe(true);
    expect(terminal.stdout).toBe("");
    // Nothing is compared before there is a store.
    expect(terminal.stderr).not.toContain("keyring_check_failed");
  });

  test("is the only one that says so", async () => {
    const first = await serve();
    first.terminal.interrupt();
    await first.ended;

    const second = await serve();

    expect(second.terminal.stderr).not.toContain("First start");
  });
});

describe("a supervisor that is told to stop", () => {
  test("answers what it took, closes its port and exits 0", async () => {
    const { terminal, ended, url } = await serve();

    terminal.interrupt();

    await expect(ended).resolves.toBe(0);
    expect(terminal.stderr).toMatch(/"event":"stopping".*\n(?:.*\n)*.*"event":"stopped"/u);
    expect(terminal.reloadListeners).toBe(0);
    await expect(fetch(url)).rejects.toThrow("fetch failed");
  });
});

describe("SIGHUP", () => {
  test("reads keys.toml again, refuses a bad one, and takes a mended one", async () => {
    const { terminal, url } = await serve();
    const keyring = join(directory, "data", "keys.toml");
    const good = await readFile(keyring, "utf8");

    await writeFile(keyring, `${good}\nnonsense = 1\n`);
    terminal.hangUp();
    await untilWritten({ terminal, ended: new Promise(() => undefined) }, /"event":"keyring_refused"/u);
    const isReadyWithBad = await isReady(url);
    const health = await (await fetch(`${url}/readyz`)).text();
    await writeFile(keyring, good);
    terminal.hangUp();
    await waitUntil(async () => isReady(url));

    expect(isReadyWithBad).toBe(false);
    // Health is for anybody to read: what names keys is in the log.
    expect(health).toContain("keys.toml is refused, and the last good one stays in force");
    expect(health).not.toContain("nonsense");
    expect(terminal.stderr).toContain("nonsense");
  });
});

describe("what a supervisor writes", () => {
  test("is readable lines where somebody watches", async () => {
    const line = startLine(["--port", "0"], { env, isInteractive: true });

    await untilWritten(line, /^\d\d:\d\d:\d\d\.\d{3} info supervisor is up event=started identity=ed25519:/mu);

    line.terminal.interrupt();
    await expect(line.ended).resolves.toBe(0);
  });

  test("names only addresses where it can be reached, and what it still waits for", async () => {
    const api = `http://127.0.0.1:${await freePort()}/api/v1`;
    const line = startLine(["--port", "0", "--mycelium", "--mycelium-api", api], { env });
    await untilWritten(line, /"event":"started".*\n/u);

    line.terminal.interrupt();
    await line.ended;

    const [started = ""] = /^.*"event":"started".*$/mu.exec(line.terminal.stderr) ?? [];
    expect(JSON.parse(started)).toMatchObject({
      urls: [expect.stringMatching(/^http:/u), expect.stringMatching(/^ws:/u)],
      waiting: ["mycelium"],
    });
  });

  test("warns of a password in the flags, and never shows it", async () => {
    const url = `redis://:hunter2@127.0.0.1:${await freePort()}`;

    const { stderr } = await runLine(["--port", "0", "--redis-url", url], { env });

    expect(stderr).toContain('"event":"secret_in_argv"');
    expect(stderr).not.toContain("hunter2");
  });

  test("lets nothing but its own lines through where Redis has no password and one was given", async () => {
    const open = await startRedis({ port: true });
    const consoles = (["warn", "error", "info", "log"] as const).map((name) =>
      vi.spyOn(console, name).mockReturnValue(),
    );
    onTestFinished(() => {
      vi.restoreAllMocks();
    });
    const line = startLine(["--port", "0", "--redis-url", `redis://:hunter2@127.0.0.1:${open.port}`], { env });
    await untilWritten(line, /"event":"started"/u);

    line.terminal.interrupt();
    await line.ended;

    expect(consoles.flatMap(({ mock }) => mock.calls)).toEqual([]);
  });

  test("warns of HTTP beyond loopback without TLS once, with the fix", async () => {
    const line = startLine(["--port", "0", "--host", "0.0.0.0"], { env });
    await untilWritten(line, /"event":"started"/u);

    line.terminal.interrupt();
    await line.ended;

    const warned = line.terminal.stderr.split("\n").filter((text) => /\bTLS\b/u.test(text));
    expect(warned).toEqual([expect.stringMatching(/"event":"http_without_tls".*"fix":"set http\.tls_cert/u)]);
  });
});

describe("a start that fails", () => {
  test("says that Redis is away, and how to go on", async () => {
    const port = await freePort();

    const { code, stderr } = await runLine(["--port", "0", "--redis-url", `redis://127.0.0.1:${port}`], { env });

    expect(code).toBe(3);
    expect(stderr.trimEnd().split("\n").at(-1)).toMatch(
      /^error: redis:\/\/127\.0\.0\.1:\d+: cannot connect to Redis \(.*ECONNREFUSED.*\)\. Start Redis, or pass --redis-url\.$/u,
    );
  });

  test("says that the port is taken", async () => {
    const { url } = await serve();
    const { port } = new URL(url);

    const { code, stderr } = await runLine(["--port", port], { env });

    expect(code).toBe(1);
    expect(stderr).not.toContain("http_error");
    expect(stderr.trimEnd().split("\n").at(-1)).toBe(
      `error: HTTP cannot listen on 127.0.0.1:${port} (EADDRINUSE). Stop the program that listens there, or pass another --port.`,
    );
  });

  test("refuses keys without keys.toml, naming the command that mends it", async () => {
    await runLine(["init"], { env });
    await rm(join(directory, "data", "keys.toml"));

    const { code, stderr } = await runLine(["--port", "0"], { env });

    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: .*keys\.toml is missing.*supervisor init --force --data-dir \S+\n$/u);
  });

  test("refuses a keys.toml that others may write", async () => {
    await runLine(["init"], { env });
    await chmod(join(directory, "data", "keys.toml"), 0o666);

    const { code, stderr } = await runLine(["--port", "0"], { env });

    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: .*chmod go-w .*keys\.toml\n$/u);
  });
});

describe("where a supervisor serves", () => {
  test("is where the command line calls, by settings file, environment or flag", async () => {
    const port = await freePort();
    const config = join(directory, "settings.toml");
    await writeFile(config, `[http]\nport = ${port}\n`);
    const { url } = await serve(["--config", config]);

    const lines = await Promise.all([
      runLine(["whoami", "--config", config], { env }),
      runLine(["whoami"], { env: { ...env, SUPERVISOR_HTTP_PORT: String(port) } }),
      runLine(["whoami"], { env: { ...env, SUPERVISOR_URL: url } }),
      runLine(["whoami", "--to", url], { env }),
    ]);

    expect(lines.map(({ code }) => code)).toEqual([0, 0, 0, 0]);
  });

  test("is called with the identity that known_supervisors pins for it, and with no other", async () => {
    const { url } = await serve();
    const known = join(directory, "data", "known_supervisors");
    const line = ["whoami", "--to", url];

    await writeFile(known, `# pinned by hand\n${url}/ ed25519:${"d0".repeat(32)} # another\n`);
    const other = await runLine(line, { env });
    await writeFile(known, `${url} ed25519:d0\n`);
    const malformed = await runLine(line, { env });

    expect(other.code).toBe(1);
    expect(other.stderr).toMatch(/-32006: Wrong audience.*known_supervisors/u);
    expect(malformed.code).toBe(2);
    expect(malformed.stderr).toContain(`"ed25519:d0" after ${url} is not ed25519: and 64`);
  });

  test("is not called where known_supervisors leaves in doubt whom it pins", async () => {
    const { url } = await serve();
    const known = join(directory, "data", "known_supervisors");
    const line = ["whoami", "--to", url];

    await writeFile(known, `${url} ed25519:${"d0".repeat(32)}\n${url}/ ed25519:${"d1".repeat(32)}\n`);
    const twofold = await runLine(line, { env });
    await writeFile(known, `${url} ed25519:${"d0".repeat(32)} ed25519:${"d1".repeat(32)}\n`);
    const long = await runLine(line, { env });
    await rm(known);
    await mkdir(known);
    const unreadable = await runLine(line, { env });

    expect([twofold.code, long.code, unreadable.code]).toEqual([2, 2, 2]);
    expect(twofold.stderr).toMatch(/has 2 lines for .* that name different identities/u);
    expect(long.stderr).toContain("is not ed25519: and 64");
    expect(unreadable.stderr).toMatch(/known_supervisors can not be read \(EISDIR.*\), and may pin this supervisor/u);
  });
});
