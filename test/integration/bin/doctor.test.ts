import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";

import { freePort } from "../../../bin/demo/port.ts";
import { type Console, runLine, startConsole } from "../../support/command-line.ts";
import type { Ran } from "../../support/program.ts";
import { startCluster } from "../../support/redis-cluster.ts";
import { startRedis, type TestRedis } from "../../support/redis.ts";
import { waitUntil } from "../../support/wait.ts";

let redis: TestRedis;
let dataDirectory = "";
beforeAll(async () => {
  redis = await startRedis({ aof: "everysec" });
});
afterAll(async () => {
  await redis.stop();
});
beforeEach(async () => {
  const directory = await mkdtemp(join(tmpdir(), "horus-doctor-"));
  onTestFinished(async () => rm(directory, { recursive: true, force: true }));
  dataDirectory = join(directory, "data");
});

/** Looks at this file's Redis and the test's data directory, unless the words say otherwise. */
async function doctor(...words: readonly string[]): Promise<Ran> {
  return runLine(["doctor", ...words], {
    env: { SUPERVISOR_REDIS_URL: redis.url, SUPERVISOR_DATA_DIR: dataDirectory },
  });
}

async function init(): Promise<void> {
  await runLine(["init", "--data-dir", dataDirectory]);
}

describe("supervisor doctor", () => {
  test("finds all well after init, and exits 0", async () => {
    await init();

    const { code, stdout } = await doctor();

    expect(code).toBe(0);
    expect(stdout).toMatch(/^good {4}identity key: .*identity\.key$/mu);
    expect(stdout).toMatch(/^good {4}owner key: .*owner\.key$/mu);
    expect(stdout).toMatch(/^good {4}keys\.toml: 1 key$/mu);
    expect(stdout).toMatch(/^good {4}Redis unix:.*: answers, durability everysec$/mu);
    expect(stdout).toMatch(/^good {4}clock: Redis' is \d+ ms (?:ahead of|behind) ours$/mu);
    expect(stdout).toMatch(
      /^good {4}Redis server: (?:Redis|Valkey) [\d.]+, maxmemory-policy noeviction, append-only file on, everysec$/mu,
    );
    expect(stdout).toMatch(/^good {4}Redis memory: \d+ MiB of \d+ MiB in the machine, no maxmemory$/mu);
    expect(stdout).toMatch(/^good {4}Redis round trip: [\d.]+ ms in the median of 20, [\d.]+ ms at most$/mu);
    expect(stdout).toMatch(/^good {4}Redis user: has every right of a supervisor$/mu);
    expect(stdout).not.toMatch(/^(?:fault|Mycelium)/mu);
  });

  test("tells whose data a Redis holds: a supervisor does not start on those of another one", async () => {
    await using theirs = await startConsole();
    const own = await theirs.run(["doctor"]);
    await init();

    const { code, stdout } = await doctor("--redis-url", theirs.redis.url);

    expect(own.stdout).toMatch(/^good {4}Redis data under "horus": belong to this supervisor$/mu);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^fault {3}Redis data under "horus": belong to the supervisor ed25519:\w+, not to .*--redis-url/mu,
    );
  });

  test("prints JSON for scripts", async () => {
    await init();

    const { stdout } = await doctor("--json");

    const checks: unknown = JSON.parse(stdout);
    expect(checks).toContainEqual({ what: "keys.toml", verdict: "good", says: "1 key" });
  });

  test("warns, and no more, where nothing was started yet", async () => {
    const { code, stdout } = await doctor();

    expect(code).toBe(0);
    for (const what of ["identity key", "owner key", "keys.toml"]) {
      expect(stdout).toMatch(
        new RegExp(`^warning ${what}: .* is not there\\. A first start makes it, or: supervisor init$`, "mu"),
      );
    }
  });

  test("finds Redis away, naming the fix", async () => {
    await init();
    const port = await freePort();

    const { code, stdout } = await doctor("--redis-url", `redis://:hunter2@127.0.0.1:${port}`);

    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^fault {3}Redis redis:\/\/:\*\*\*@127\.0\.0\.1:\d+: cannot connect to Redis \(.*ECONNREFUSED.*Start Redis/mu,
    );
    expect(stdout).not.toContain("hunter2");
  });

  test("finds a Redis that may evict keys", async () => {
    await init();
    const evicting = await startRedis({ settings: ["--maxmemory", "8mb", "--maxmemory-policy", "allkeys-lru"] });

    const { code, stdout } = await doctor("--redis-url", evicting.url);

    expect(code).toBe(1);
    expect(stdout).toMatch(/^fault {3}.*noeviction/mu);
    expect(stdout).toMatch(/^warning .*appendonly/mu);
  });

  test("finds a Redis whose memory is full, and one where it is nearly full", async () => {
    await init();
    const full = await startRedis();
    const client = full.client();
    await client.setrange("ballast", 40 * 1024 ** 2, "x");
    const used = Number(/used_memory:(\d+)/u.exec(await client.info("memory"))?.[1]);
    await client.config("SET", "maxmemory", Math.round(used * 1.1));
    const nearly = await doctor("--redis-url", full.url);
    await client.config("SET", "maxmemory", Math.round(used * 0.9));

    const { code, stdout } = await doctor("--redis-url", full.url);

    expect(nearly.code).toBe(0);
    expect(nearly.stdout).toMatch(/^warning Redis memory: \d+ MiB of \d+ MiB \(maxmemory\): nearly full\. Raise it/mu);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^fault {3}Redis memory: \d+ MiB of \d+ MiB \(maxmemory\): full, new jobs are refused\. Raise it/mu,
    );
  });

  test.each([
    {
      rules: ["~horus:*", "&*", "+@all", "-sadd", "-config"],
      verdict: "fault",
      lacks: "sadd, config\\|get|config\\|get, sadd",
    },
    { rules: ["~horus:*", "&other:*", "+@all"], verdict: "fault", lacks: "subscribe, publish" },
    { rules: ["~horus:*", "&*", "+@all", "-config"], verdict: "warning", lacks: "config\\|get" },
    { rules: ["~other:*", "&*", "+@all"], verdict: "fault", lacks: "eval, evalsha, .*hset.*" },
    { rules: ["~horus:*", "&*", "+@all", "-eval", "-evalsha"], verdict: "fault", lacks: "eval" },
  ])("finds a Redis user with the rules $rules lacking rights", async ({ rules, verdict, lacks }) => {
    await init();
    const guarded = await startRedis({ port: true, settings: ["--user", "sup", "on", ">pw", ...rules] });

    const { stdout } = await doctor("--redis-url", `redis://sup:pw@127.0.0.1:${guarded.port}`);

    expect(stdout).toMatch(
      new RegExp(`^${verdict} +Redis user: may not (?:${lacks}) on horus:\\*, .*supervisor doctor --acl$`, "mu"),
    );
  });

  test("finds slots of a Cluster that no master has", async () => {
    await init();
    const cluster = await startCluster();
    const whole = await doctor("--redis-url", cluster.url);
    const clients = cluster.nodes.map((node) => node.client());
    // The owner's last packets may give the slot back to the others: they are told until all say the same.
    await waitUntil(async () => {
      for (const client of clients.toReversed())
        await client.call("CLUSTER", "DELSLOTS", 16_383).catch(() => undefined);
      const infos = await Promise.all(clients.map(async (client) => String(await client.call("CLUSTER", "INFO"))));
      return infos.every((info) => info.includes("cluster_slots_assigned:16383"));
    });
    const holey = await doctor("--redis-url", cluster.url);

    expect(whole.stdout).toMatch(/^good {4}Redis Cluster: all 16384 slots on 3 masters$/mu);
    expect(holey.stdout).toMatch(/^fault {3}Redis Cluster: 16383 of 16384 slots .*Run: redis-cli --cluster fix/mu);
  });

  test("finds a master of a Cluster that is away, before and after the others have noticed", async () => {
    await init();
    const cluster = await startCluster();
    const [first, , last] = cluster.nodes;
    const client = first?.client();
    await last?.kill("SIGKILL");
    const atOnce = await doctor("--redis-url", cluster.url);
    await waitUntil(async () => /cluster_slots_fail:[1-9]/u.test(String(await client?.call("CLUSTER", "INFO"))));
    const later = await doctor("--redis-url", cluster.url);

    for (const { code, stdout } of [atOnce, later]) {
      expect(code).toBe(1);
      expect(stdout).toMatch(/^fault {3}Redis 127\.0\.0\.1:\d+: does not answer \((?:no connection|.*ECONN.*)\)$/mu);
      expect(stdout).toMatch(/^fault {3}Redis Cluster: the master of 5462 slots does not answer.*Start it again/mu);
    }
  });

  test("finds a keys.toml with a fault, one that others may write, and one that is missing beside its keys", async () => {
    await init();
    const keyring = join(dataDirectory, "keys.toml");

    await chmod(keyring, 0o666);
    const open = await doctor();
    await chmod(keyring, 0o600);
    await writeFile(keyring, '[[key]]\nname = "a"\n');
    const bad = await doctor();
    await rm(keyring);
    const missing = await doctor();

    expect([open.code, bad.code, missing.code]).toEqual([1, 1, 1]);
    expect(open.stdout).toMatch(/^fault {3}keys\.toml: .*Run: chmod go-w /mu);
    expect(bad.stdout).toMatch(/^fault {3}keys\.toml: .*keys\.toml: /mu);
    expect(missing.stdout).toMatch(/^fault {3}keys\.toml: .* is missing\. Put it back, or: supervisor init --force$/mu);
  });

  test("finds a secret that others can read, and one that is no secret", async () => {
    await init();
    const identity = join(dataDirectory, "identity.key");
    await chmod(identity, 0o640);
    await writeFile(join(dataDirectory, "owner.key"), "not a seed\n");

    const { code, stdout } = await doctor();

    expect(code).toBe(1);
    expect(stdout).toMatch(/^fault {3}identity key: .*Run: chmod 600 /mu);
    await chmod(identity, 0o600);
    await writeFile(identity, "");
    expect((await doctor()).stdout).toMatch(/^fault {3}identity key: .*Restore it from the backup/mu);
    expect(stdout).toMatch(/^fault {3}owner key: .*is not one line of ed25519-seed:/mu);
  });

  test("asks the Mycelium daemon where it is used", async () => {
    await init();
    const api = `http://127.0.0.1:${await freePort()}/api/v1`;

    const { code, stdout } = await doctor("--mycelium", "--mycelium-api", api);

    expect(code).toBe(1);
    expect(stdout).toContain(`fault   Mycelium ${api}: no daemon at ${api} (ECONNREFUSED). Start `);
  });

  test("shows its verdicts in colour on a terminal alone", async () => {
    await init();
    const env = { SUPERVISOR_REDIS_URL: redis.url, SUPERVISOR_DATA_DIR: dataDirectory };

    const piped = await runLine(["doctor"], { env, isInteractive: true, colours: { err: true } });
    const seen = await runLine(["doctor"], { env, colours: { out: true } });

    expect(piped.stdout).not.toContain("\u001B");
    expect(seen.stdout).toContain("\u001B[32mgood");
  });
});

/** Looks on a machine that only sends jobs: no Redis is named, and the data directory is the test's own. */
async function there(...words: readonly string[]): Promise<Ran> {
  return runLine(["doctor", ...words], { env: { SUPERVISOR_DATA_DIR: dataDirectory } });
}

/** A key made there, and its public half. */
async function aKey(): Promise<{ readonly file: string; readonly key: string }> {
  const file = join(dataDirectory, "bob.key");
  return { file, key: (await runLine(["keygen", "--out", file])).stdout.trim() };
}

describe("supervisor doctor on a machine that only sends jobs", () => {
  let system: Console;
  let identity = "";
  beforeAll(async () => {
    system = await startConsole();
    identity = String((await system.json(["init"]))["identity"]);
  });
  afterAll(async () => {
    await system[Symbol.asyncDispose]();
  });

  test("says in one line that no supervisor runs there, and asks for no Redis and no files", async () => {
    await expect(there()).resolves.toEqual({
      code: 0,
      stdout:
        "good    supervisor: none runs on this host (yet), so its store was not looked at: --redis-url URL does that; supervisor init makes one, --to URL looks at another's\n",
      stderr: "",
    });
  });

  test("looks at the daemon alone with --mycelium", async () => {
    const api = `http://127.0.0.1:${await freePort()}/api/v1`;

    const { code, stdout } = await there("--mycelium", "--mycelium-api", api);

    expect(code).toBe(1);
    expect(stdout.match(/^fault.*$/gmu)).toEqual([expect.stringContaining(`Mycelium ${api}: no daemon`)]);
    expect(stdout).not.toMatch(/Redis|^warning/mu);
  });

  test("looks at Redis where one is named, and where a runner keeps its key", async () => {
    const named = await there("--redis-url", "redis://localhost:6379");
    await mkdir(join(dataDirectory, "runners"), { recursive: true });
    const runner = await there();

    for (const { stdout } of [named, runner]) expect(stdout).toMatch(/^\w+ +Redis redis:\/\/localhost:6379: /mu);
  });

  test("finds a supervisor elsewhere, its pin, the key and what the key may do", async () => {
    const { file, key } = await aKey();
    const grant = ["--role", "submitter", "--runner", "demo"];
    await system.run(["keys", "add", "--name", "bob-laptop", "--principal", "bob", "--key", key, ...grant]);
    await system.supervisor.terminal.waitFor(/"event":"keyring_loaded".*"keys":2|"keys":2.*"event":"keyring_loaded"/u);
    await writeFile(join(dataDirectory, "known_supervisors"), `${system.url} ${identity}\n`);

    const { code, stdout } = await there("--to", system.url, "--key", file);

    expect(code).toBe(0);
    expect(stdout.split("\n").slice(1)).toEqual([
      `good    key ${file}: ${key}`,
      `good    identity of ${system.url}: ${identity}`,
      `good    supervisor ${system.url}: answers, as ${identity}`,
      "good    whoami: bob-laptop of bob, roles submitter, runners demo",
      "",
    ]);
  });

  test("finds a key that is open to others, one that is nobody's, and an identity that is not known", async () => {
    const { file } = await aKey();
    const unknown = await there("--to", system.url, "--key", file);
    const stranger = await there("--to", system.url, "--key", file, "--supervisor", identity);
    await chmod(file, 0o644);
    const open = await there("--to", system.url, "--key", file, "--supervisor", identity);

    expect([unknown.code, stranger.code, open.code]).toEqual([1, 1, 1]);
    expect(unknown.stdout).toMatch(/^fault {3}identity of http.*is not known here.*known_supervisors/mu);
    expect(unknown.stdout).toMatch(/^good {4}supervisor http.*: answers, as ed25519:/mu);
    expect(stranger.stdout).toMatch(/^fault {3}whoami: the supervisor answered -3\d+: .*supervisor's keys\.toml/mu);
    expect(open.stdout).toMatch(/^fault {3}key .*bob\.key is a secret that others may read.*chmod 600/mu);
    expect(open.stdout).not.toContain("whoami");
  });

  test("finds another identity than the pinned one, and nobody at all", async () => {
    const { file, key } = await aKey();
    const other = await there("--to", system.url, "--key", file, "--supervisor", key);
    const url = `http://127.0.0.1:${await freePort()}`;
    const nobody = await there("--to", url, "--key", file, "--supervisor", identity);

    expect([other.code, nobody.code]).toEqual([1, 1]);
    expect(other.stdout).toMatch(
      /^fault {3}supervisor http.*: answers as ed25519:.*which is not the pinned one\. Pin/mu,
    );
    expect(nobody.stdout).toContain(`fault   supervisor ${url}: The supervisor is not running at ${url}.`);
  });

  test("looks at this side alone where the daemon of a mycelium:// address is away", async () => {
    const { file } = await aKey();
    const api = `http://127.0.0.1:${await freePort()}/api/v1`;
    const to = `mycelium://${"ab".repeat(32)}`;

    const { code, stdout } = await there("--to", to, "--key", file, "--supervisor", identity, "--mycelium-api", api);

    expect(code).toBe(1);
    expect(stdout.match(/^\w+ +(?=\w)/gmu)?.map((word) => word.trim())).toEqual(["good", "fault", "good", "good"]);
    expect(stdout).toContain(`fault   Mycelium ${api}: no daemon`);
  });

  test("refuses an address that is none", async () => {
    await expect(there("--to", "ftp://host")).resolves.toMatchObject({ code: 2 });
  });
});
