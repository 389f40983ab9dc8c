/** The demo's processes: Redis, a supervisor, a runner. */
import { join } from "node:path";

import type { Child } from "./child.ts";
import { freePort } from "./port.ts";
import { startDemoRedis } from "./redis.ts";
import type { Stage } from "./stage.ts";
import { waitUntil } from "./wait-until.ts";

/** Name of the demo's runner. */
export const RUNNER = "demo";

export interface DemoSystem {
  readonly url: string;
  readonly dataDirectory: string;
  readonly runner: Child;
  /** The daemon through which a `mycelium://` url is reached. */
  readonly mycelium?: { readonly api: string };
}

/** Starts one after the other, and says so. The port is another one where the wanted one is taken. */
export async function startDemoSystem(stage: Stage, wantedPort: number): Promise<DemoSystem> {
  const { terminal, directory, signal } = stage;
  const redis = await startDemoRedis({
    env: terminal.env,
    directory,
    say: (text) => stage.step(text),
    start: (name, argv) => stage.start(name, argv),
    signal,
  });
  stage.step(`Redis: ${redis.says}`);
  const port = await freePort(wantedPort);
  if (port !== wantedPort) stage.step(`port ${wantedPort} is taken, taking ${port}`);
  const url = `http://127.0.0.1:${port}`;
  const dataDirectory = join(directory, "data");
  // A prefix of its own: on a Redis that was given, other data stays untouched, and a new identity finds no old one.
  const prefix = redis.isOwn ? "horus" : `demo-${Date.now().toString(36)}`;
  if (!redis.isOwn) stage.step(`its keys begin with "${prefix}:" and stay there afterwards`);
  // The address of Redis goes by environment: a password in it would show in ps.
  const env = { SUPERVISOR_REDIS_URL: redis.url, SUPERVISOR_REDIS_PREFIX: prefix, SUPERVISOR_DATA_DIR: dataDirectory };
  const supervisor = stage.start("supervisor", [...terminal.program, "--port", String(port), "--log-pretty"], env);
  await waitUntil({ what: "the supervisor to be ready", isSo: async () => isReady(url), child: supervisor, signal });
  stage.step(`supervisor is ready at ${url}`);
  const words = ["runner", "start", RUNNER, "--exec", "bash -s", "--log-pretty"];
  const runner = stage.start("runner", [...terminal.program, ...words], { ...env, SUPERVISOR_URL: url });
  return { url, dataDirectory, runner };
}

async function isReady(url: string): Promise<boolean> {
  try {
    const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2000) });
    return answer.ok;
  } catch {
    // Not listening yet: asked again.
    return false;
  }
}
