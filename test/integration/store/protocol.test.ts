/** The protocol page: its examples run as they stand there, and its Redis user is the one that is printed. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { describe, expect, test } from "vitest";

import { SIGNED_JOB } from "../../../src/rpc/examples.ts";
import { runnerUser, toAclLine } from "../../../src/store/redis-acl.ts";
import { expectNoFaults, startStore } from "../../support/store.ts";

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

  test("shows the Redis user of a runner that doctor prints", async () => {
    const [shown = ""] = await blocks("acl");
    const scope = { url: "redis://127.0.0.1", prefix: "horus" };
    const user = runnerUser(scope, { name: "build-1", groups: ["build"] });

    expect(shown.trim().split(/\s+/u)).toEqual(toAclLine(user).split(" "));
  });
});
