/** A job's log is followed while Redis is killed and comes back with its data: every line once, in its order. */
import { expect, test } from "vitest";

import { runLine, startLine } from "../support/command-line.ts";
import { startSystem } from "../support/system.ts";
import { waitUntil } from "../support/wait.ts";

const LINES = 120;
/** Lines before, during and after the outage. */
const PAYLOAD = `for n in $(seq 1 ${LINES}); do echo "line $n"; sleep 0.05; done`;
/** A long lease: the outage is not to cost the runner its job. */
const SETTINGS = "[jobs]\nlease_ms = 30000\n";

test.each(["http", "ws"])("every line is followed once over %s, through a Redis that is killed", async (scheme) => {
  await using system = await startSystem(SETTINGS, { aof: "always" });
  await system.startRunner("demo");
  const env = { SUPERVISOR_URL: system.url.replace("http:", `${scheme}:`), SUPERVISOR_DATA_DIR: system.dataDirectory };
  const submitted = await runLine(["submit", "--runner", "demo"], { env, input: PAYLOAD });
  const follower = startLine(["job", "logs", submitted.stdout.trim(), "--follow"], { env });
  const told = (): readonly string[] => follower.terminal.stdout.match(/line \d+/gu) ?? [];
  await waitUntil(() => told().length >= 10);

  await system.redis.kill("SIGKILL");
  const before = told().length;
  // The job goes on meanwhile: a fifth of it at least falls into the outage.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await system.redis.restart();
  const code = await follower.ended;

  expect(before).toBeLessThan(LINES);
  expect(told()).toEqual(Array.from({ length: LINES }, (_, index) => `line ${index + 1}`));
  expect({ code, stderr: follower.terminal.stderr }).toEqual({ code: 0, stderr: "" });
});
