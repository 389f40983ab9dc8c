/** The protocol page: its examples run as they stand there, and its Redis user is enough for a runner, and not for more. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { describe, expect, test } from "vitest";

import { SIGNED_JOB } from "../../../src/rpc/examples.ts";
import { aToken, expectNoFaults, startStore } from "../../support/store.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

/** Fenced blocks of a language. */
async function blocks(language: string): Promise<readonly string[]> {
  const page = await readFile(new URL("../../../src/store/README.md", import.meta.url), "utf8");
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gmsu"))].map(([, text = ""]) => text);
}

describe("The protocol page", () => {
  test("has examples that answer what it says", async () => {
    const fixture = await startStore(
      { leaseMs: 15_000, backoff: { baseMs: 1000, maxMs: 60_000 }, maxLogBytes: 10_485_760 },
      { port: true },
    );
    const { id } = SIGNED_JOB.job;
    await fixture.admit({
      id,
      maxAttempts: 2,
      document: '{"payload":"…"}',
      signatures: '[{"public_key":"…","signature":"…"}]',
      ticket: '{"body":{…},"public_key":"…","signature":"…"}',
    });
    const examples = await blocks("bash");
    const script = examples.map((example) => `${example}\necho "--- end of example"`).join("\n");

    const { stdout } = await promisify(execFile)("bash", ["-euc", script], {
      cwd: ROOT,
      env: { PATH: process.env["PATH"], REDIS_URL: fixture.redis.url, LANG: "C.UTF-8" },
    });

    const said = stdout.split("--- end of example\n").slice(0, examples.length);
    const promised = examples.map((example) =>
      [...example.matchAll(/^#> (.*)$/gmu)].map(([, line = ""]) => `${line}\n`).join(""),
    );
    expect(promised.filter((text) => text !== "").length).toBeGreaterThanOrEqual(8);
    expect(said).toEqual(promised);
    expect(await fixture.store.jobs.get(id)).toMatchObject({ state: "pending", failures: 1, logCount: 1 });
    await expectNoFaults(fixture);
  });

  test.each([1, 4])("names a Redis user that serves a runner on %i shards, and can not admit", async (shards) => {
    const fixture = await startStore({ shards }, { port: true });
    const [rules = ""] = await blocks("acl");
    await fixture.client.call("ACL", "SETUSER", "build-1", ">pw", ...rules.trim().split(/\s+/u));
    const url = `redis://build-1:pw@127.0.0.1:${fixture.redis.port}`;
    const source = await fixture.source({ url });
    const failed = await fixture.running(source, { maxAttempts: 2 });
    await source.append(failed, [{ attempt: 1, seq: 1, time_ms: 1, stream: "stdout", text: "x" }]);
    expect(await source.renew([failed])).toEqual([{ outcome: "renewed", isCancelling: false }]);
    expect(await source.finish(failed, { status: "failed", code: 1, isRetryable: true })).toMatchObject({
      state: "pending",
    });
    await fixture.store.jobs.cancel(failed.id, {}, "x");
    const released = await fixture.running(source);
    expect(await source.release(released)).toBe("released");
    const [again] = await source.claim(1, aToken());
    await fixture.store.jobs.cancel(released.id, {}, "x");
    expect(
      await source.finish(again?.lease ?? released, { status: "cancelled", code: 0, isRetryable: true }),
    ).toMatchObject({ state: "cancelled" });
    const delayed = await fixture.admit({ queue: "build-1" });
    await fixture.client.hset(fixture.keys.job(delayed.id), "expires_at", 1);
    expect(await source.claim(1, aToken())).toEqual([]);
    expect(await fixture.store.jobs.head(delayed.id)).toMatchObject({ state: "expired" });
    expect(await source.heartbeat({ running: 0, isDraining: true })).toBe("ok");
    await source.detach();
    await expectNoFaults(fixture);

    const asRunner = await fixture.another({ url }).catch((error: unknown) => error);
    expect(asRunner).toMatchObject({ name: "unavailable", data: { reason: "not_permitted" } });
    const user = fixture.redis.client();
    await user.auth("build-1", "pw");
    const { keys } = fixture;
    for (const command of [
      ["ZADD", keys.of(0, "jobs"), "1", "x"],
      ["INCR", keys.of(0, "seq")],
      ["SREM", keys.of(0, "revoked"), "x"],
      ["HSET", keys.of(0, "runners"), "x", "{}"],
      ["HSET", keys.of(0, "names"), "x", "1"],
      ["HSET", "horus:meta", "identity", "x"],
      ["ZADD", keys.queue(0, "other"), "1", "x"],
      ["ZRANGE", keys.queue(0, "other"), "0", "-1"],
    ] as const) {
      const [name, ...args] = command;
      await expect(user.call(name, ...args)).rejects.toThrow(/NOPERM/u);
    }
  });
});
