/** README.md's way from two machines with nothing to a signed job, word by word, where MYCELIUM_BIN names the daemon. */
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { freePort } from "../../bin/demo/port.ts";
import { MyceliumDaemon } from "../../transports/mycelium/daemon.ts";
import { until } from "../support/mycelium-harness.ts";
import { type Ran, RunningProcess, runProcess } from "../support/process.ts";
import { blocksOf, readReadme } from "../support/readme.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";

const binary = process.env["MYCELIUM_BIN"] ?? "";
const [, section = ""] = (await readReadme()).split("\n## Over Mycelium\n");
/** What is typed in each block of the section; what it prints stands between. */
const BLOCKS = blocksOf(section.split("\n## ", 1)[0] ?? "").map(({ text }) =>
  text
    .split("\n")
    .filter((line) => line.startsWith("$ "))
    .map((line) => line.slice(2)),
);
const [[startDaemon = ""] = [], [serve = "", startRunner = ""] = [], [keygen = "", inspect = ""] = []] = BLOCKS;
const [, , , [enrol = ""] = [], [makeDirectory = "", pin = "", doctor = "", submit = ""] = [], [byHand = ""] = []] =
  BLOCKS;

/** A home, the two programs, and a daemon's ports. */
interface Machine {
  readonly home: string;
  readonly api: string;
  readonly tcpPort: number;
  readonly env: Readonly<Record<string, string>>;
}

describe.skipIf(binary === "")("README.md's two machines", () => {
  let redis: TestRedis;
  let a: Machine;
  let b: Machine;
  const services: RunningProcess[] = [];
  const homes: string[] = [];

  beforeAll(async () => {
    redis = await startRedis({ port: true });
    a = await aMachine({ SUPERVISOR_REDIS_URL: redis.url, SUPERVISOR_HTTP_PORT: String(await freePort()) });
    b = await aMachine({});
  }, 60_000);

  afterAll(async () => {
    for (const service of services.toReversed()) await service.stop();
    await redis.stop();
    for (const home of homes) await rm(home, { recursive: true, force: true });
  });

  async function aMachine(env: Readonly<Record<string, string>>): Promise<Machine> {
    const home = await mkdtemp(join(tmpdir(), "horus-machine-"));
    homes.push(home);
    const [tcpPort, apiPort, rpcPort] = [await freePort(), await freePort(), await freePort()];
    const bin = join(home, "bin");
    await mkdir(bin);
    const program = fileURLToPath(new URL("../../dist/bin/supervisor.js", import.meta.url));
    const api = `127.0.0.1:${apiPort}`;
    // Both machines are this one: each daemon has ports of its own, and finds nobody by itself.
    const alone = `--tcp-listen-port ${tcpPort} --jsonrpc-addr 127.0.0.1:${rpcPort} --disable-quic --disable-peer-discovery`;
    const scripts = {
      supervisor: `exec "${process.execPath}" "${program}" "$@"`,
      mycelium: `case "$*" in *--no-tun*) exec "${binary}" --api-addr ${api} ${alone} "$@";; *) exec "${binary}" --api-addr ${api} "$@";; esac`,
    };
    for (const [name, text] of Object.entries(scripts)) {
      await writeFile(join(bin, name), `#!/bin/sh\n${text}\n`);
      await chmod(join(bin, name), 0o755);
    }
    const path = `${bin}:${process.env["PATH"] ?? ""}`;
    return {
      home,
      tcpPort,
      api: `http://${api}/api/v1`,
      env: { PATH: path, HOME: home, SUPERVISOR_MYCELIUM_API: `http://${api}/api/v1`, ...env },
    };
  }

  function start(on: Machine, line: string): RunningProcess {
    const service = new RunningProcess(["bash", "--norc", "-euc", `exec ${line}`], { cwd: on.home, env: on.env });
    services.push(service);
    return service;
  }

  async function type(on: Machine, line: string): Promise<Ran> {
    return runProcess(["bash", "--norc", "-euc", line], { cwd: on.home, env: on.env });
  }

  test("get from nothing to a signed job with the words that stand there", async () => {
    start(a, startDaemon.replace(/ --peers .*/u, ""));
    start(b, startDaemon.replace(/--peers .*/u, `--peers tcp://127.0.0.1:${a.tcpPort}`));
    for (const { api } of [a, b]) {
      const daemon = new MyceliumDaemon({ api });
      await until(
        async () =>
          daemon.admin().then(
            () => true,
            () => false,
          ),
        30_000,
      );
    }

    const supervisor = start(a, serve);
    const [, identity = ""] = await supervisor.waitFor(/identity (ed25519:[0-9a-f]{64})/u);
    const [, url = ""] = await supervisor.waitFor(/(mycelium:\/\/[0-9a-f]{64})/u);
    await start(a, startRunner).waitFor(/"event":"runner_started"/u);
    const key = (await type(b, keygen)).stdout.trim();
    const [, node = ""] = /"publicKey": "([0-9a-f]{64})"/u.exec((await type(b, inspect)).stdout) ?? [];

    expect(await type(a, enrol.replace("ed25519:14c5…", key).replace("fd40…", node))).toMatchObject({ code: 0 });
    const told = (line: string): string => line.replace("mycelium://b6c3…", url).replace("ed25519:293d…", identity);
    expect(await type(b, makeDirectory)).toMatchObject({ code: 0 });
    expect(await type(b, told(pin))).toMatchObject({ code: 0 });
    const known = await type(b, told(doctor));
    const ran = await type(b, told(submit));
    const answered = await type(b, byHand.replace("b6c3…", url.replace("mycelium://", "")));

    expect(known).toMatchObject({ code: 0, stderr: "" });
    expect(known.stdout).toMatch(/bob-laptop[\s\S]*bob[\s\S]*submitter/u);
    expect(ran.stdout).toMatch(/^hello from [0-9a-f-]{36}\n$/u);
    expect(ran.stderr).toMatch(/completed on demo exit code 0[\s\S]*receipt good/u);
    expect(answered.stdout).toContain(identity);
  }, 120_000);
});
