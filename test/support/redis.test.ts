/** What is used again of a test's Redis, and what is not. */
import { Redis } from "ioredis";
import { describe, expect, onTestFinished, test } from "vitest";

import { startRedis, type TestRedis } from "./redis.ts";
import { isGone } from "./runner-harness.ts";

const SCRIPT = "return 7";
const LIBRARY = "#!lua name=left\nredis.register_function('left', function() return 7 end)";

/** A client that nobody closes with the server, as of a supervisor that goes on. */
async function stranger(redis: TestRedis): Promise<Redis> {
  const client = new Redis({ path: redis.socket, retryStrategy: () => 1, maxRetriesPerRequest: 0, lazyConnect: true });
  client.on("error", () => undefined);
  onTestFinished(() => client.disconnect());
  await client.connect();
  return client;
}

/** What makes a server one that is not used again. */
const LEFT: readonly (readonly [title: string, deed: (redis: TestRedis) => Promise<unknown>])[] = [
  ["was signalled", async (redis) => redis.kill("SIGSTOP").then(async () => redis.kill("SIGCONT"))],
  ["was started again", async (redis) => redis.restart()],
  ["has another setting", async (redis) => redis.client().config("SET", "maxmemory", "100mb")],
  ["has another user", async (redis) => redis.client().call("ACL", "SETUSER", "left", "on", "nopass", "+@all")],
  ["has a password", async (redis) => redis.client().config("SET", "requirepass", "left")],
  ["wrote a file", async (redis) => redis.client().call("SAVE")],
  ["has somebody connected", stranger],
];

describe("A Redis of a test", () => {
  test("serves the next test as if it were new, under another address", async () => {
    const first = await startRedis();
    const { pid } = first;
    const client = first.client();
    await client.set("left", "behind");
    await client.eval(SCRIPT, 0);
    await client.function("LOAD", LIBRARY);
    const sha = String(await client.script("LOAD", SCRIPT));
    await expect(client.call("ACL", "DRYRUN")).rejects.toThrow(/wrong number/u);
    await first.stop();

    const second = await startRedis();
    const asked = second.client();

    expect(second.pid).toBe(pid);
    expect(second.url).not.toBe(first.url);
    expect(await asked.keys("*")).toEqual([]);
    expect(await asked.script("EXISTS", sha)).toEqual([0]);
    expect(await asked.function("LIST")).toEqual([]);
    expect(await asked.info("errorstats")).not.toContain("errorstat_ERR");
    expect(await asked.info("commandstats")).not.toMatch(/cmdstat_(?:set|eval)\b/u);
  });

  test("is out of reach for who had it before", async () => {
    const first = await startRedis();
    const client = first.client();
    await client.ping();
    const leftover = await stranger(first);
    leftover.disconnect(true);
    leftover.disconnect();
    await first.stop();
    const second = await startRedis();
    await second.client().set("mine", "1");

    await first.stop();
    await first.kill("SIGKILL");

    expect(client.status).toBe("end");
    expect(first.pid).toBe(0);
    await expect(first.restart()).rejects.toThrow("was stopped");
    await expect(stranger(first)).rejects.toThrow(/ENOENT|closed/u);
    expect(await second.client().get("mine")).toBe("1");
  });

  test("keeps its address and its data through a restart after it was used before", async () => {
    await (await startRedis()).stop();
    const redis = await startRedis();
    await redis.client().call("CONFIG", "SET", "save", "3600 1");
    await redis.client().set("mine", "1");
    await redis.client().call("SAVE");

    await redis.restart();

    expect(await redis.client().get("mine")).toBe("1");
  });

  test.each(LEFT)("is not used again when it %s", async (_, deed) => {
    const first = await startRedis();
    await deed(first);
    const { pid } = first;
    await first.stop();

    expect(await isGone(pid)).toBe(true);
    expect((await startRedis()).pid).not.toBe(pid);
  });

  test("with wishes is not used again, nor does it get a used one", async () => {
    await (await startRedis()).stop();
    const first = await startRedis({ aof: "everysec" });
    const { pid } = first;
    expect(await first.client().config("GET", "appendonly")).toEqual(["appendonly", "yes"]);
    await first.stop();

    expect(await isGone(pid)).toBe(true);
  });
});
