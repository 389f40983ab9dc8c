/** A runner's health through its life, as people see it, and its job when it freezes. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { startSystem } from "../support/system.ts";
import { waitUntil } from "../support/wait.ts";

/** Long enough that a state between two others is seen. */
const SETTINGS = "[jobs]\nlease_ms = 5000\nreap_interval_ms = 250\n";

describe("The health of a runner", () => {
  test("goes by its evidence: online, busy, stale, offline, online again, draining", { timeout: 180_000 }, async () => {
    await using system = await startSystem(SETTINGS);
    const json = async (...words: readonly string[]): Promise<Record<string, unknown>> => system.json(words);
    const untilIs = async (name: string, state: string): Promise<Record<string, unknown>> => {
      let present: Record<string, unknown> = {};
      await waitUntil(async () => {
        present = await json("runner", "status", name);
        return present["state"] === state;
      }, 40_000);
      return present;
    };
    const gate = join(system.directory, "gate");
    const payload = `until [ -e '${gate}' ]; do sleep 0.1; done; echo end`;
    const one = await system.startRunner("one", ["--exec", "bash -s", "--group", "both"]);
    const fresh = await untilIs("one", "online");
    const job = await json("submit", "--runner", "both", "--payload", payload);
    const second = await json("submit", "--runner", "both", "--payload", "true");

    const busy = await untilIs("one", "busy");
    one.child.kill("SIGSTOP");
    const stale = await untilIs("one", "stale");
    const offline = await untilIs("one", "offline");
    // Its job goes back, and whoever is there takes it.
    await system.startRunner("two", ["--exec", "bash -s", "--group", "both", "--slots", "2"]);
    await waitUntil(async () => (await json("job", "get", String(job["id"])))["runner"] === "two", 40_000);
    one.child.kill("SIGCONT");
    await untilIs("one", "online");
    await writeFile(gate, "");
    await json("job", "wait", String(job["id"]));

    expect(fresh).toMatchObject({ running: 0, slots: 1 });
    expect(fresh).not.toHaveProperty("claimed_ms");
    expect(busy).toMatchObject({ running: 1, waiting: 1, oldest_waiting_ms: expect.any(Number) as unknown });
    expect(Number(busy["claimed_ms"])).toBeGreaterThan(0);
    expect(stale["heartbeat_ms"]).toBe(offline["heartbeat_ms"]);
    await expect(json("job", "get", String(job["id"]))).resolves.toMatchObject({
      state: "completed",
      attempt: 2,
      losses: 1,
      runner: "two",
    });
    await json("job", "wait", String(second["id"]));

    const last = await json("submit", "--runner", "one", "--payload", "sleep 300");
    await untilIs("one", "busy");
    one.child.kill("SIGTERM");
    expect(await untilIs("one", "draining")).toMatchObject({ running: 1 });
    await json("job", "cancel", String(last["id"]));
    await waitUntil(() => !one.isUp);
    expect(await untilIs("one", "offline")).toMatchObject({ running: 0 });
  });
});
