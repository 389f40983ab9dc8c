/** A job's log is followed while Redis is killed and comes back with its data: every line once, in its order. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { expect, test } from "vitest";

import { runLine, startLine } from "../support/command-line.ts";
import { startSystem } from "../support/system.ts";
import { waitUntil } from "../support/wait.ts";

const LINES = 120;
/** Lines before, during and after the outage; the last one is in a file beside it, since nobody else sees it meanwhile. */
const payload = (file: string): string =>
  `for n in $(seq 1 ${LINES}); do echo "line $n"; echo "$n" > '${file}'; sleep 0.05; done`;
/** What a person is told where an outage takes longer than they wait without wondering. */
const SILENCE = /^(?:no answer from .*|.* answers again)\n/gmu;
/** A long lease: the outage is not to cost the runner its job. */
const SETTINGS = "[jobs]\nlease_ms = 30000\n";

test.each(["http", "ws"])("a job is followed over %s though Redis is killed before its first line", async (scheme) => {
  await using system = await startSystem(SETTINGS, { aof: "always" });
  await system.run(["runner", "register", "demo"]);
  const env = { SUPERVISOR_URL: system.url.replace("http:", `${scheme}:`), SUPERVISOR_DATA_DIR: system.dataDirectory };
  const follower = startLine(["submit", "--runner", "demo", "--payload", "echo hello", "--follow"], { env });
  await waitUntil(() => /pending/u.test(follower.terminal.stderr));

  await system.redis.kill("SIGKILL");
  await waitUntil(async () => (await fetch(`${system.url}/readyz`)).status === 503);
  await system.redis.restart();
  await system.startRunner("demo");

  const code = await follower.ended;
  const { stdout, stderr } = follower.terminal;
  expect({ code, stdout, stderr }).toMatchObject({ code: 0, stdout: "hello\n" });
});

test.each(["http", "ws"])("every line is followed once over %s, through a Redis that is killed", async (scheme) => {
  await using system = await startSystem(SETTINGS, { aof: "always" });
  await system.startRunner("demo");
  const file = join(system.directory, "line");
  const written = async (): Promise<number> => Number(await readFile(file, "utf8"));
  const env = { SUPERVISOR_URL: system.url.replace("http:", `${scheme}:`), SUPERVISOR_DATA_DIR: system.dataDirectory };
  const submitted = await runLine(["submit", "--runner", "demo"], { env, input: payload(file) });
  const follower = startLine(["job", "logs", submitted.stdout.trim(), "--follow"], { env });
  const told = (): readonly string[] => follower.terminal.stdout.match(/line \d+/gu) ?? [];
  await waitUntil(() => told().length >= 10);

  await system.redis.kill("SIGKILL");
  const before = told().length;
  // The job goes on meanwhile: a fifth of it at least falls into the outage.
  const end = Math.max(before, await written()) + LINES / 5;
  await waitUntil(async () => (await written()) >= Math.min(end, LINES));
  await system.redis.restart();
  const code = await follower.ended;

  expect(before).toBeLessThan(LINES);
  expect(told()).toEqual(Array.from({ length: LINES }, (_, index) => `line ${index + 1}`));
  expect({ code, stderr: follower.terminal.stderr.replaceAll(SILENCE, "") }).toEqual({ code: 0, stderr: "" });
});
