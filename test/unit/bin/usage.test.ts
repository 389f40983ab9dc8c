import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { beforeAll, describe, expect, onTestFinished, test } from "vitest";

import { freePort } from "../../../bin/demo/port.ts";
import { runLine } from "../../support/command-line.ts";
import type { Ran } from "../../support/program.ts";

const ID = "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b";

/** A directory of the test's own. */
async function aDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "horus-usage-"));
  onTestFinished(async () => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Runs a line where no supervisor, key or settings are. */
async function usage(argv: readonly string[], input?: string): Promise<Ran> {
  const env = { SUPERVISOR_DATA_DIR: await aDirectory() };
  return runLine(argv, { env, ...(input === undefined ? {} : { input }) });
}

describe("a wrong command line", () => {
  test.each<[string, readonly string[], string]>([
    ["an unknown command", ["frobnicate"], '"frobnicate" is no command. There are: init, keygen, keys list,'],
    ["a misspelt command", ["submti"], '"submti" is no command (did you mean "submit"?).'],
    ["an unknown command of a noun", ["job", "frob"], '"job frob" is no command. There are: job get, job list,'],
    ["a noun without a command", ["runner"], '"supervisor runner" needs a command. There are: runner start,'],
    ["an option before the command", ["--port", "80", "openrpc"], "The command comes first: supervisor openrpc …"],
    ["an unknown option", ["openrpc", "--bogus"], "Unknown option '--bogus'. There is help: supervisor openrpc --help"],
    [
      "an unknown option of the program",
      ["--prot", "80"],
      "Unknown option '--prot' (did you mean --port?). There is help",
    ],
    ["an option without its value", ["keygen", "--out"], "Option '--out <value>' argument missing."],
    [
      "a value that begins with a dash",
      ["submit", "--timeout", "-1"],
      'error: --timeout is followed by "-1". Where that is its value, write --timeout=-1. There is help',
    ],
    [
      "an option in the place of a value",
      ["submit", "--runner", "--payload", "x"],
      'error: --runner is followed by "--payload". Where that is its value, write --runner=--payload. There',
    ],
    [
      "an option given twice",
      ["submit", "--runner", "a", "--payload", "x", "--runner=b"],
      'error: --runner is given twice, as "a" and as "b": leave one of them. There is help',
    ],
    ["a switch with a value", ["openrpc", "--json=yes"], "Option '--json' does not take an argument"],
    ["two forms at once", ["openrpc", "--json", "--markdown"], "Give --markdown or --json, not both."],
    ["a missing argument", ["job", "get"], "<id> is missing: supervisor job get <id>"],
    ["one word too many", ["job", "get", ID, "more"], '"more" is one word too many: supervisor job get <id>'],
    ["a word where there are none", ["openrpc", "more"], '"more" is one word too many: supervisor openrpc'],
    ["an id that is none", ["job", "get", "ABC"], '"ABC" is no job\'s id: a UUID in lower case.'],
    [
      "a job for what is no runner's name",
      ["submit", "--runner", "Dé mo", "--payload", "x"],
      '"Dé mo" is no runner\'s name: ',
    ],
    ["a runner's name that is none", ["runner", "register", "../x"], '"../x" is no runner\'s name: up to 64 of a-z'],
    ["keygen without a file", ["keygen"], "Where should the secret go? supervisor keygen --out FILE"],
    ["a job without a runner", ["submit", "--payload", "x"], "--runner is missing"],
    ["no payload at all", ["submit", "--runner", "demo"], "No payload: name a file, give --payload, or pipe it in."],
    ["two payloads", ["submit", "a.sh", "--runner", "demo", "--payload", "x"], "Give a file or --payload, not both."],
    [
      "a payload file that is not there",
      ["submit", "/nowhere/a.sh", "--runner", "demo"],
      "/nowhere/a.sh: no such file. Name one that is there, give --payload,",
    ],
    ["a runner without executors", ["runner", "start", "demo"], 'What should jobs run with? --exec "bash -s", or'],
    ["an open quote", ["runner", "start", "demo", "--exec", "bash 'a"], "has an open quote or a backslash at its end"],
    ["a state that is none", ["job", "list", "--state", "done"], '--state "done" is none of pending, running'],
    ["a scheme that is none", ["whoami", "--to", "ftp://host"], '--to "ftp://host": not supported. Use a URL'],
    ["an identity that is none", ["whoami", "--supervisor", "abc"], '--supervisor "abc" is not ed25519: and 64'],
    [
      "a settings file that is not there",
      ["--config", "/nowhere/a.toml"],
      '--config "/nowhere/a.toml" can not be read',
    ],
    ["a port that is no number", ["--port", "http"], '--port: "http" is not a whole number'],
    ["a port beyond all ports", ["--port", "65536"], 'Setting "http.port" is 65536: must be <= 65535'],
    [
      "a level that is none",
      ["--log-level", "loud"],
      'Setting "log.level" is "loud": must be debug, info, warn, error, silent',
    ],
    [
      "a Redis URL that is none",
      ["--redis-url", "http://x"],
      'Setting "redis.url": The Redis URL is not one of: redis://',
    ],
    ["help of an unknown command", ["help", "job", "frob"], '"job frob" is no command. There are: job get,'],
    ["nothing to serve over", ["--no-http"], "Neither HTTP nor Mycelium is enabled"],
  ])("with %s exits 2 and names value and fix", async (_case, argv, says) => {
    const { code, stdout, stderr } = await usage(argv);

    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(says);
    expect(stderr).toMatch(/^error: .*\n$/u);
  });

  test("makes no file, and tells no password", async () => {
    const directory = await aDirectory();
    const env = { SUPERVISOR_DATA_DIR: directory, SUPERVISOR_REDIS_URL: "redis:/user:hunter2@host" };

    const { code, stderr } = await runLine([], { env });

    expect(code).toBe(2);
    expect(stderr).not.toContain("hunter2");
    expect(await readdir(directory)).toEqual([]);
  });

  test.each<[string, string, string]>([
    ["--timeout", "0", "1 to 86400"],
    ["--timeout", "86401", "1 to 86400"],
    ["--timeout", "1e3", "1 to 86400"],
    ["--timeout", "", "1 to 86400"],
    ["--priority", "10", "0 to 9"],
    ["--max-attempts", "21", "1 to 20"],
    ["--delay", "1.5", "0 to 31536000"],
    ["--expires-in", "9".repeat(16), "1 to 31536000"],
  ])("with submit %s '%s' exits 2 and names the range", async (flag, value, range) => {
    const { code, stderr } = await usage(["submit", "--runner", "demo", "--payload", "x", flag, value]);

    expect(code).toBe(2);
    expect(stderr).toBe(`error: ${flag} "${value}" is not a whole number from ${range}.\n`);
  });

  test.each<[string, readonly string[], string]>([
    ["--env without =", ["--env", "BRANCH"], '--env "BRANCH" is not NAME=value.'],
    ["--env without a name", ["--env", "=main"], '--env "=main" is not NAME=value.'],
    ["--env with a name that is none", ["--env", "F OO=s3"], '--env "F OO=…": "F OO" is no name of a variable: '],
    [
      "--env with a digit first",
      ["--env", "A=1", "--env", "1A=x"],
      '"1A" is no name of a variable: a letter or _ first',
    ],
    ["--env with a name of JavaScript's", ["--env", "__proto__=x"], '"__proto__" is no name of a variable'],
    ["--on-loss", ["--on-loss", "panic"], '--on-loss "panic" is neither retry nor fail.'],
    ["--id", ["--id", ID.toUpperCase()], `--id "${ID.toUpperCase()}" is no job's id`],
    ["--expires-in before --delay", ["--delay", "60", "--expires-in", "30"], "--expires-in 30 is before --delay 60"],
  ])("with a wrong submit %s exits 2", async (_case, words, says) => {
    const { code, stderr } = await usage(["submit", "--runner", "demo", "--payload", "x", ...words]);

    expect(code).toBe(2);
    expect(stderr).toContain(says);
  });

  test("tells nothing of the value of a variable whose name is none", async () => {
    const { stderr } = await usage(["submit", "--runner", "demo", "--payload", "x", "--env", "F OO=hunter2"]);

    expect(stderr).not.toContain("hunter2");
  });

  test.each<[string, readonly string[]]>([
    ["the same value twice", ["openrpc", "--markdown", "--markdown"]],
    ["a switch twice", ["grafana", "--json", "--json"]],
  ])("takes %s", async (_case, argv) => {
    await expect(usage(argv)).resolves.toMatchObject({ code: 0, stderr: "" });
  });

  test("takes an option twice that may be, and one whose value is the same", async () => {
    const twice = ["--env", "A=1", "--env", "B=2", "--runner", "demo", "--runner", "demo"];
    const { code, stderr } = await usage(["submit", "--payload", "x", ...twice]);

    expect(code).toBe(2);
    expect(stderr).toContain("The identity of http://127.0.0.1:8080 is not known here. Name the data directory");
  });

  test.each(["openrpc", "grafana"])("%s prints with --json what it prints without", async (command) => {
    const plain = await usage([command]);

    expect(plain.code).toBe(0);
    await expect(usage([command, "--json"])).resolves.toEqual(plain);
  });

  test("with runner register --slots beyond a registration's exits 2", async () => {
    const { code, stderr } = await usage(["runner", "register", "demo", "--slots", "1025"]);

    expect(code).toBe(2);
    expect(stderr).toContain('--slots "1025" is not a whole number from 1 to 1024.');
  });

  test("with job logs --from of no position exits 2", async () => {
    const { code, stderr } = await usage(["job", "logs", ID, "--from", "-1"]);

    expect(code).toBe(2);
    expect(stderr).toContain("--from");
  });

  test("refuses a payload that is not UTF-8 instead of changing it", async () => {
    const file = join(await aDirectory(), "payload");
    await writeFile(file, Buffer.from([0x66, 0xff, 0x6f]));

    const { code, stderr } = await usage(["submit", file, "--runner", "demo"]);

    expect(code).toBe(2);
    expect(stderr).toContain(`"${file}" can not be the payload: it is not UTF-8`);
  });
});

describe("where no supervisor was ever started", () => {
  test("a call says how to start one and how to pin another's identity", async () => {
    const { code, stderr } = await usage(["job", "list"]);

    expect(code).toBe(2);
    expect(stderr).toContain("The identity of http://127.0.0.1:8080 is not known here. Name the data directory");
    expect(stderr).toContain("start one on this host first");
    expect(stderr).toContain("--supervisor ed25519:…");
  });

  test("a pinned identity is not enough without a key to sign with", async () => {
    const { code, stderr } = await usage(["whoami", "--supervisor", `ed25519:${"d0".repeat(32)}`]);

    expect(code).toBe(2);
    expect(stderr).toMatch(/No key at .*owner\.key\. Start a supervisor here first, .*supervisor keygen --out FILE/u);
  });
});

describe("where nobody answers", () => {
  let directory = "";
  /** Nobody listens there. */
  let port = 0;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "horus-usage-"));
    port = await freePort();
    await runLine(["init", "--data-dir", directory]);
    return async () => rm(directory, { recursive: true, force: true });
  });

  test("a refused connection is said at once, with the way to start a supervisor there", async () => {
    const url = `http://127.0.0.1:${port}`;

    const { code, stderr } = await runLine(["job", "list", "--to", url, "--data-dir", directory]);

    expect(code).toBe(3);
    expect(stderr).toBe(
      `error: The supervisor is not running at ${url}. ` +
        `Start it with: supervisor --port ${port}, or name another with --to URL.\n`,
    );
  });

  test("an address that does not exist is said with the system's word for it", async () => {
    const { code, stderr } = await runLine(["job", "list", "--to", "http://nowhere.invalid", "--data-dir", directory]);

    expect(code).toBe(3);
    expect(stderr).toMatch(/http:\/\/nowhere\.invalid can not be reached \([A-Z_]+\)\. Name another/u);
  });

  test("a port that does not speak HTTP is said plainly, whether it talks or hangs up", async () => {
    for (const words of ["+PONG\r\n", ""]) {
      const server = createServer((socket) =>
        socket.on("error", () => undefined).once("data", () => socket.end(words)),
      );
      await new Promise<void>((resolve) => {
        server.listen(0, "127.0.0.1", resolve);
      });
      const address = server.address();
      const to = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;

      const { code, stderr } = await runLine(["job", "list", "--to", to, "--data-dir", directory]);

      server.close();
      expect(code).toBe(3);
      expect(stderr).toMatch(/no supervisor.*Name the supervisor's URL with --to/u);
    }
  });

  test("a misspelt variable is named with the one that was meant, and others' are left alone", async () => {
    const env = { SUPERVISOR_REDIS_ULR: "secret", SUPERVISOR_PORT: "80", SUPERVISOR_PROCESS_NAME: "x" };

    const { code, stderr } = await runLine(["openrpc"], { env });

    expect(code).toBe(0);
    expect(stderr.trimEnd().split("\n")).toEqual([
      expect.stringContaining(
        "warning: SUPERVISOR_REDIS_ULR is not read by anything (did you mean SUPERVISOR_REDIS_URL?)",
      ),
      expect.stringContaining("warning: SUPERVISOR_PORT is not read by anything (did you mean SUPERVISOR_HTTP_PORT?)"),
    ]);
    expect(stderr).not.toContain("secret");
  });

  test("a Mycelium daemon that is away is said at once", async () => {
    const to = `mycelium://${"ab".repeat(32)}`;
    const env = { SUPERVISOR_MYCELIUM_API: `http://127.0.0.1:${port}/api/v1`, SUPERVISOR_DATA_DIR: directory };

    const { code, stderr } = await runLine(["job", "list", "--to", to], { env });

    expect(code).toBe(3);
    expect(stderr).toContain(`no daemon at http://127.0.0.1:${port}/api/v1 (ECONNREFUSED). Start `);
  });

  test("the stack is shown where the level of the log is debug, and only there", async () => {
    const line = ["job", "list", "--to", `http://127.0.0.1:${port}`, "--data-dir", directory];

    const plain = await runLine(line);
    const debug = await runLine(line, { env: { SUPERVISOR_LOG_LEVEL: "debug" } });

    expect(plain.stderr.split("\n")).toHaveLength(2);
    expect(debug.stderr).toMatch(/\n {4}at /u);
  });

  test("the word error is red on a terminal that shows colours", async () => {
    const { stderr } = await runLine(["frobnicate"], { colours: { err: true } });

    expect(stderr.startsWith("\u001B[31merror:\u001B[39m ")).toBe(true);
  });
});
