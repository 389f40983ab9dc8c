import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";

import { freePort } from "../../../bin/demo/port.ts";
import { runLine } from "../../support/command-line.ts";
import type { Ran } from "../../support/program.ts";
import { startRedis, type TestRedis } from "../../support/redis.ts";

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
    expect(stdout).not.toMatch(/^(?:fault|Mycelium)/mu);
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
    expect(stdout).toMatch(/^fault {3}Redis redis:\/\/:\*\*\*@127\.0\.0\.1:\d+: .*ECONNREFUSED.*Start Redis/mu);
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
