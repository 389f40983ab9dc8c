/** A Redis for the demo: the one of REDIS_URL, or a server of its own with its data in a temporary directory. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { connect } from "node:net";

import type { Child } from "./child.ts";
import { findProgram } from "./find-program.ts";
import { freePort } from "./port.ts";
import { waitUntil } from "./wait-until.ts";

const PROGRAMS = ["redis-server", "valkey-server"] as const;

export interface DemoRedis {
  readonly url: string;
  /** What was found, for the person watching. */
  readonly says: string;
  /** Started for the demo, and empty: other people's data is not in it. */
  readonly isOwn: boolean;
}

export interface DemoRedisOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly directory: string;
  readonly say: (line: string) => void;
  /** Starts a process that the demo stops at its end. */
  readonly start: (name: string, argv: readonly string[]) => Child;
  readonly signal: AbortSignal;
}

/** @throws Error with the one command to run, where there is no Redis and it may not be installed from here. */
export async function startDemoRedis(options: DemoRedisOptions): Promise<DemoRedis> {
  const { env, directory, say, start, signal } = options;
  const given = env["REDIS_URL"];
  if (given !== undefined && given !== "") return { url: given, says: "the one of REDIS_URL", isOwn: false };
  const program = findProgram(PROGRAMS, env) ?? install(env, say);
  const port = await freePort();
  const place = ["--port", String(port), "--bind", "127.0.0.1", "--dir", directory];
  const child = start("redis", [program, ...place, "--appendonly", "yes", "--save", ""]);
  await waitUntil({ what: "Redis to answer", isSo: async () => answersPing(port), child, signal });
  return { url: `redis://127.0.0.1:${port}`, says: `${program} on port ${port}`, isOwn: true };
}

/** As root on Debian the package is a command away; anybody else gets the command to run. */
function install(env: DemoRedisOptions["env"], say: (line: string) => void): string {
  const isDebianRoot = process.getuid?.() === 0 && existsSync("/usr/bin/apt-get");
  const advice =
    "There is no redis-server or valkey-server on PATH. Run: sudo apt-get install -y redis-server — or set REDIS_URL.";
  if (!isDebianRoot) throw new Error(advice);
  say("installing redis-server (apt-get) …");
  const quiet = { encoding: "utf8", env: { ...env, DEBIAN_FRONTEND: "noninteractive" } } as const;
  // The package would start a server of its own on 6379; the demo brings one on a free port.
  const apt = (words: readonly string[]) => spawnSync("apt-get", [...words], quiet);
  const words = ["install", "-y", "--no-install-recommends", "redis-server"];
  const installed = apt(words).status === 0 || (apt(["update"]).status === 0 && apt(words).status === 0);
  const program = installed ? findProgram(PROGRAMS, env) : undefined;
  if (program === undefined) throw new Error(`apt-get could not install redis-server. ${advice}`);
  return program;
}

/** Redis' inline protocol: a PING needs no client. */
async function answersPing(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
    const end = (isUp: boolean): void => {
      socket.destroy();
      resolve(isUp);
    };
    socket.setTimeout(1000, () => end(false));
    socket.on("data", (data) => end(data.toString("latin1").startsWith("+PONG")));
    socket.on("error", () => end(false));
  });
}
