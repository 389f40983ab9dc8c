/** Where a bench takes place: a Redis, a data directory, and the supervisors on both. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { readSeed } from "../../src/auth/key-file.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { dataPaths } from "../../src/data-directory.ts";
import type { OnEnd } from "../support/assemble.ts";
import { type PartOptions, Program } from "./part.ts";
import { RedisServer } from "./redis-server.ts";
import type { JobsFor } from "./signed-jobs.ts";

/** Variables of the supervisor beside those of every bench. */
export type Environment = Readonly<Record<string, string>>;

export class Site {
  readonly redis: RedisServer;
  readonly dataDirectory: string;
  /** For the supervisor's command line. */
  readonly env: Environment;
  readonly #onEnd: OnEnd;

  private constructor(onEnd: OnEnd, parts: Pick<Site, "redis" | "dataDirectory" | "env">) {
    this.#onEnd = onEnd;
    this.redis = parts.redis;
    this.dataDirectory = parts.dataDirectory;
    this.env = parts.env;
  }

  static async start(onEnd: OnEnd, more: Environment = {}): Promise<Site> {
    const dataDirectory = await mkdtemp(join(tmpdir(), "horus-bench-data-"));
    onEnd(async () => rm(dataDirectory, { recursive: true, force: true }));
    const redis = await RedisServer.start();
    onEnd(async () => redis[Symbol.asyncDispose]());
    const env = {
      SUPERVISOR_REDIS_URL: `unix://${redis.socket}`,
      SUPERVISOR_DATA_DIR: dataDirectory,
      // All calls come from one address: its limit is not what is measured.
      SUPERVISOR_RPC_ADDRESS_CALLS_PER_SECOND: "1000000",
      SUPERVISOR_RPC_ADDRESS_BURST: "1000000",
      // A connection has to wait for its turn, on a busy machine for long.
      SUPERVISOR_HTTP_KEEP_ALIVE_MS: "600000",
      ...more,
    };
    return new Site(onEnd, { redis, dataDirectory, env });
  }

  /** The first one makes the identity that others take over. */
  async startSupervisor(options: PartOptions = {}): Promise<{ readonly pid: number; readonly port: number }> {
    const ready = /"http:\/\/127\.0\.0\.1:(\d+)\/?"/u;
    const { program, match } = await Program.start(["--port", "0"], ready, { env: this.env, ...options });
    this.#onEnd(async () => program[Symbol.asyncDispose]());
    return { pid: program.pid, port: Number(match[1]) };
  }

  /** What jobs for a runner or group are signed with, once a supervisor has started. */
  async jobsFor(runner: string): Promise<JobsFor> {
    const paths = dataPaths(this.dataDirectory);
    return {
      supervisor: createNativeSigner(await readSeed(paths.identity)).publicKey,
      seed: await readSeed(paths.owner),
      runner,
    };
  }
}
