/** The command line over the overlay: every command, the daemon's own one, and the doctor. */
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { optionName } from "../../../bin/command.ts";
import { COMMANDS } from "../../../bin/commands.ts";
import { signDocument } from "../../../src/auth/signature.ts";
import { buildJob, createSigner, signJob } from "../../../src/client/index.ts";
import { toNodeName } from "../../../transports/mycelium/address.ts";
import { MyceliumDaemon } from "../../../transports/mycelium/daemon.ts";
import { padPayload } from "../../../transports/mycelium/padding.ts";
import { type Console, runLine, type RunningLine, startConsole, untilWritten } from "../../support/command-line.ts";
import { longPoll, until } from "../../support/mycelium-harness.ts";
import { SimulatedOverlay } from "../../support/mycelium-overlay.ts";
import { type Nodes, type PairNode, realNodes, simulatedNodes } from "../../support/mycelium-pair.ts";
import type { Ran } from "../../support/program.ts";

const binary = process.env["MYCELIUM_BIN"] ?? "";
const OVERLAYS: readonly (readonly [string, () => Promise<Nodes>])[] = [
  ["simulated daemons", async () => simulatedNodes({ delayMs: 2 })],
  ...(binary === "" ? [] : [["real daemons", async () => realNodes(binary, { delayMs: 2 })] as const]),
];

/** A supervisor at the second node, and lines that reach it through the first. */
interface Far {
  readonly nodes: Nodes;
  readonly near: PairNode;
  readonly far: PairNode;
  readonly system: Console;
  /** Starts a line through the overlay, and leaves it running. */
  start(...argv: readonly string[]): RunningLine;
  /** Runs a line through the overlay. */
  run(...argv: readonly string[]): ReturnType<Console["run"]>;
}

async function startFar(open: () => Promise<Nodes>): Promise<Far> {
  const nodes = await open();
  const [near, far] = nodes.nodes;
  if (near === undefined || far === undefined) throw new Error("Two nodes are needed.");
  const system = await startConsole(`[mycelium]\nenabled = true\napi = "${far.api}"\n`);
  const to = ["--to", `mycelium://${far.publicKey}`, "--mycelium-api", near.api];
  return {
    nodes,
    near,
    far,
    system,
    start: (...argv) => system.start([...argv, ...to]),
    run: async (...argv) => system.run([...argv, ...to]),
  };
}

type Show = (parts: Far) => Promise<void>;

/** How each command that takes `--to` is seen to do its work over the overlay; a new command gets a line here. */
const SHOWN: Readonly<Record<string, Show>> = {
  submit: async (parts) => {
    const payload = 'echo one; echo two >&2; echo -n result > "$HORUS_RESULT"';
    const words = ["submit", "--runner", "demo", "--payload", payload];

    const followed = await parts.run(...words, "--follow");
    const waited = await parts.run(...words, "--wait");
    const file = join(parts.system.directory, "job.json");
    const signed = await parts.run(...words, "--sign-only");
    await writeFile(file, signed.stdout);

    expect({ ...followed, stderr: "" }).toEqual({ code: 0, stdout: "one\nresult\n", stderr: "" });
    expect(followed.stderr).toMatch(/two[\s\S]*completed/u);
    expectPrinted(waited, "result");
    expectPrinted(await parts.run("submit", "--signed", file), /^[0-9a-f]{8}-[0-9a-f-]{27}\b/u);
  },
  "job get": async (parts) => {
    const id = await submit(parts);
    expectPrinted(await parts.run("job", "get", id), id);
  },
  "job list": async (parts) => {
    const id = await submit(parts);
    expectPrinted(await parts.run("job", "list"), id);
  },
  "job wait": async (parts) => {
    expect(await parts.run("job", "wait", await submit(parts))).toMatchObject({ code: 0 });
    expect(await parts.run("job", "wait", await submit(parts, "exit 3"))).toMatchObject({ code: 1 });
  },
  "job logs": async (parts) => {
    const id = await submit(parts);
    expect(await parts.run("job", "logs", id, "--follow")).toMatchObject({ code: 0, stdout: "hello\n" });
    expect(await parts.run("job", "logs", id)).toMatchObject({ code: 0, stdout: "hello\n" });
  },
  "job cancel": async (parts) => {
    const id = await submit(parts, "true", "--delay", "600");
    expect(await parts.run("job", "cancel", id)).toMatchObject({ code: 0 });
    expect((await parts.run("job", "get", id)).stdout).toContain("cancelled");
  },
  "job delete": async (parts) => {
    const id = await submit(parts);
    await parts.run("job", "wait", id);
    expect(await parts.run("job", "delete", id)).toMatchObject({ code: 0 });
    expect(await parts.run("job", "get", id)).toMatchObject({ code: 1 });
  },
  "runner start": async (parts) => {
    const { system } = parts;
    const line = parts.start("runner", "start", "remote", "--exec", "bash -s");
    await untilWritten(line, /"event":"runner_started"/u);
    expect(await system.run(["submit", "--runner", "remote", "--wait", "--payload", "true"])).toMatchObject({
      code: 0,
    });
  },
  "runner register": async (parts) => {
    expect(await parts.run("runner", "register", "spare")).toMatchObject({ code: 0 });
    expect((await parts.run("runner", "list")).stdout).toContain("spare");
  },
  "runner list": async (parts) => {
    expect((await parts.run("runner", "list")).stdout).toMatch(/^demo .*online/mu);
  },
  "runner status": async (parts) => {
    expect((await parts.run("runner", "status", "demo")).stdout).toContain("online");
  },
  "runner remove": async (parts) => {
    await parts.run("runner", "register", "gone");
    expect(await parts.run("runner", "remove", "gone")).toMatchObject({ code: 0 });
    expect((await parts.run("runner", "list")).stdout).not.toContain("gone");
  },
  peers: async (parts) => {
    const seen = async (): Promise<string> => (await parts.run("peers")).stdout;
    await until(async () => /\d+ ms$/mu.test(await seen()));
    const { publicKey, address } = parts.near;
    const time = String.raw`\d{4}-\d\d-\d\d\S* ?\S*`;
    expect(await seen()).toMatch(
      new RegExp(String.raw`^${toNodeName(publicKey)} +${address} +${time} +\d+ +0 +\d+ ms$`, "mu"),
    );
  },
  doctor: async (parts) => {
    expect((await parts.run("doctor")).stdout).toMatch(/^good +supervisor mycelium:/mu);
  },
  whoami: async (parts) => {
    expectPrinted(await parts.run("whoami"), "owner");
  },
};

function expectPrinted({ code, stdout }: Ran, wanted: string | RegExp): void {
  expect(stdout).toMatch(wanted);
  expect(code).toBe(0);
}

/** Sends a job and gives its id. */
async function submit(parts: Far, payload = "echo hello", ...more: readonly string[]): Promise<string> {
  const { stdout } = await parts.run("submit", "--runner", "demo", "--payload", payload, ...more);
  return stdout.trim();
}

test("every command that takes --to is shown over the overlay", async () => {
  const taking: string[] = [];
  for (const { name, load } of COMMANDS) {
    if ((await load()).options.some((option) => optionName(option) === "to")) taking.push(name);
  }

  expect(Object.keys(SHOWN).toSorted()).toEqual(taking.toSorted());
});

describe.each(OVERLAYS)("over %s", (_title, open) => {
  let parts: Far;

  beforeAll(async () => {
    parts = await startFar(open);
    await parts.system.startRunner("demo");
  });

  afterAll(async () => {
    await parts.system[Symbol.asyncDispose]();
    await parts.nodes.close();
  });

  test.each(Object.entries(SHOWN))("supervisor %s", async (_name, show) => {
    await expect(show(parts)).resolves.toBeUndefined();
  });
});

describe.skipIf(binary === "")("the daemon's own command line", () => {
  let parts: Far;

  beforeAll(async () => {
    parts = await startFar(async () => realNodes(binary, { delayMs: 2 }));
    await parts.system.run(["runner", "register", "idle"]);
  });

  afterAll(async () => {
    await parts.system[Symbol.asyncDispose]();
    await parts.nodes.close();
  });

  /** What `mycelium message send --wait` prints of the answer. */
  async function send(request: object): Promise<string> {
    const { near, far, system } = parts;
    const api = new URL(near.api).host;
    const words = ["--wait", "--timeout", "10", "--topic", "supervisor.rpc", far.publicKey, JSON.stringify(request)];
    const key = join(system.directory, "cli.bin");
    const ran = await promisify(execFile)(binary, ["-k", key, "--api-addr", api, "message", "send", ...words]);
    return ran.stdout;
  }

  async function identity(): Promise<{ supervisor: string; signer: ReturnType<typeof createSigner> }> {
    const { dataDirectory } = parts.system;
    const seed = async (name: string): Promise<string> =>
      (await readFile(join(dataDirectory, name), "utf8")).trim().replace("ed25519-seed:", "");
    const supervisor = createSigner(await seed("identity.key")).publicKey;
    return { supervisor, signer: createSigner(await seed("owner.key")) };
  }

  test("gets the answer of a call that nobody signed", async () => {
    const { supervisor } = await identity();

    expect(await send({ jsonrpc: "2.0", id: 1, method: "get_info" })).toContain(supervisor);
  });

  test("gets the answer of a signed call, and admits a signed job", async () => {
    const { supervisor, signer } = await identity();
    const iat = Math.floor(Date.now() / 1000);
    const nonce = "00112233445566778899aabbccddeeff";
    const auth = { v: 1, aud: supervisor, key: signer.publicKey, iat, exp: iat + 420, nonce };
    const { signature: sig } = await signDocument(signer, "call", { ...auth, method: "whoami", params: {} });

    const answer = await send({ jsonrpc: "2.0", id: 2, method: "whoami", params: { auth: { ...auth, sig } } });
    const job = buildJob({ supervisor, caller: signer.publicKey, runner: "idle", payload: "true" });
    const created = await send({ jsonrpc: "2.0", id: 3, method: "create_job", params: await signJob(signer, job) });

    expect(answer).toContain("owner");
    expect(created).toContain(job.id);
  });
});

describe("the budget for what nobody signed", () => {
  test("is mycelium.unauthenticated_per_second", async () => {
    const nodes = await simulatedNodes({ delayMs: 2 });
    const [near, far] = nodes.nodes;
    const daemon = new MyceliumDaemon({ api: near?.api ?? "" });
    await using system = await startConsole(
      `[mycelium]\nenabled = true\napi = "${far?.api}"\nmessages_per_second = 1000\nunauthenticated_per_second = 1000\n`,
    );
    // By the default of 2 a second, with ten at once, it would take half a minute.
    const replies = await Promise.all(
      Array.from({ length: 60 }, async (_, id) => {
        const payload = padPayload(Buffer.from(JSON.stringify({ jsonrpc: "2.0", id, method: "whoami" })));
        const to = { pk: far?.publicKey ?? "" };
        return daemon.push({ to, topic: "supervisor.rpc", payload, replyTimeoutSeconds: 60 });
      }),
    );

    expect(replies.filter((reply) => reply !== undefined)).toHaveLength(60);
    expect(await system.json(["peers"])).toMatchObject({ 0: { calls: 60, refused: 0 } });
    await nodes.close();
  }, 90_000);
});

/** What the doctor says about a daemon. */
async function checks(api: string): Promise<string> {
  const argv = ["doctor", "--mycelium", "--mycelium-api", api, "--data-dir", "/nonexistent/horus"];
  const { stdout } = await runLine(argv, { env: { SUPERVISOR_REDIS_URL: "redis://127.0.0.1:1" } });
  return stdout
    .split("\n")
    .filter((line) => line.includes("Mycelium"))
    .join("\n");
}

describe("supervisor doctor", () => {
  test("says of a good daemon where peers reach it and who may send", async () => {
    const overlay = new SimulatedOverlay();
    const daemon = await overlay.createNode();

    const said = await checks(daemon.api);

    expect(said).toMatch(/^good +Mycelium http:.*: answers in \d+ ms$/mu);
    expect(said).toContain(`mycelium://${daemon.publicKey}`);
    expect(said).toMatch(/^good +Mycelium topic "supervisor.rpc": taken from every node/mu);
    expect(said).not.toMatch(/^(?:warning|fault)/mu);
    await overlay.close();
  });

  test("gives the command that starts a daemon without root where there is none", async () => {
    const overlay = new SimulatedOverlay();
    const { api } = await overlay.createNode();
    await overlay.close();
    const { host, port } = new URL(api);

    const said = await checks(api);

    expect(said).toMatch(/^fault +Mycelium http:.*: no daemon at .*ECONNREFUSED/mu);
    expect(said).toContain(`mycelium -k /nonexistent/horus/mycelium.bin --no-tun --api-addr ${host} `);
    expect(said).toContain(`--jsonrpc-addr 127.0.0.1:${Number(port) + 1} --peers tcp://HOST:9651`);
  });

  test("warns of an old daemon, of one that others poll, and of a topic that nobody may send to", async () => {
    const overlay = new SimulatedOverlay();
    const daemon = await overlay.createNode();
    await fetch(`${daemon.api}/messages/topics`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify([...Buffer.from("supervisor.rpc")]),
    });
    const old = { nodeSubnet: "400::/64", nodeIp: daemon.address };
    daemon.intercept = (_method, path) => (path === "/admin" ? { status: 200, body: old } : undefined);

    expect(await checks(daemon.api)).toMatch(/^warning .*older than 0\.7\.8/mu);
    expect(await checks(daemon.api)).toMatch(/^fault .*nobody can send/mu);

    daemon.intercept = undefined;
    const over = new AbortController();
    const polling = longPoll(daemon.api, over.signal);
    expect(await checks(daemon.api)).toMatch(/^warning .*something else long-polls it/mu);
    over.abort();
    await polling;
    await overlay.close();
  });

  test("refuses a daemon that is not on loopback, unless the settings permit it", async () => {
    expect(await checks("http://192.0.2.1:8989/api/v1")).toMatch(/^fault .*not on loopback/mu);
  });
});

describe("supervisor demo-mycelium", () => {
  test("says how to get the daemon where it is not there", async () => {
    const { code, stderr } = await runLine(["demo-mycelium"], { env: { PATH: "/nonexistent" } });

    expect(code).toBe(1);
    expect(stderr).toMatch(/no mycelium on PATH.*releases.*cargo build --release.*MYCELIUM_BIN=/u);
  });

  test.skipIf(binary === "")("sends a signed job from one node and runs it at the other", async () => {
    const env = { PATH: process.env["PATH"], HOME: process.env["HOME"], MYCELIUM_BIN: binary };
    const { code, stderr } = await runLine(["demo-mycelium"], { env });

    expect(code).toBe(0);
    expect(stderr).toMatch(/serves the first node[\s\S]*completed[\s\S]*receipt: verified[\s\S]*stopped/u);
  });
});
