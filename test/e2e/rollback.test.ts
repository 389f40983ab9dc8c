/** Redis comes back without the last it was told (a power cut, a failover): what a runner had begun meanwhile. */
import { expect, test } from "vitest";

import { AppendOnlyFile } from "../support/append-only-file.ts";
import { aJobGate } from "../support/job-gate.ts";
import { startSystem } from "../support/system.ts";
import { waitUntil } from "../support/wait.ts";

test("a job whose claim Redis forgot runs again under the next number", async () => {
  await using system = await startSystem(undefined, { aof: "always" });
  await system.run(["runner", "register", "demo"]);
  const gate = aJobGate(system, "gate");
  const payload = `echo "attempt $HORUS_ATTEMPT"; [ "$HORUS_ATTEMPT" != 1 ] || { ${gate.script}; }`;
  const { id } = await system.json(["submit", "--runner", "demo", "--payload", payload]);
  const file = await AppendOnlyFile.of(system.redis);
  const beforeClaim = await file.read();
  // A place is free: it could begin again beside the first.
  await system.startRunner("demo", ["--exec", "bash -s", "--slots", "2"]);
  await gate.reached();

  await file.cutPower(beforeClaim);

  // The supervisor finds its Redis again in its own time; until then it says so.
  await waitUntil(async () => (await system.run(["job", "wait", String(id)])).code === 0);
  expect(await system.json(["job", "get", String(id)])).toMatchObject({ state: "completed", attempt: 2, losses: 0 });
  expect((await system.run(["job", "logs", String(id)])).stdout).toBe("attempt 2\n");
});
