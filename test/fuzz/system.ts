/** The program under test as a process of its own, on a Redis of its own, with limits small enough to be met. */
import { once } from "node:events";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { readSeed } from "../../src/auth/key-file.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import type { Signer } from "../../src/client/index.ts";
import { dataPaths } from "../../src/data-directory.ts";
import { RedisKeys } from "../../src/store/redis-keys.ts";
import { type Build, build } from "../bench/build.ts";
import { assemble, type OnEnd } from "../support/assemble.ts";
import { endWithUs } from "../support/guard.ts";
import { RunningProcess, runProcess } from "../support/process.ts";
import { allKeys, startRedis } from "../support/redis.ts";
import { breakBuild } from "./breakages.ts";
import { heapBytes, INSPECTED, INSPECTOR_URL } from "./heap.ts";

export const RUNNER = "fuzz";
export const MAX_BODY_BYTES = 64 * 1024;
export const MAX_FRAGMENTS = 64;

/** Short, so that whoever says nothing is ended within a run; nothing of one address' limit, since all come from one. */
const SETTINGS = {
  SUPERVISOR_HTTP_MAX_BODY_BYTES: MAX_BODY_BYTES,
  SUPERVISOR_HTTP_HEADERS_MS: 2000,
  SUPERVISOR_HTTP_REQUEST_MS: 4000,
  SUPERVISOR_HTTP_KEEP_ALIVE_MS: 500,
  SUPERVISOR_WEBSOCKET_PING_MS: 1500,
  SUPERVISOR_WEBSOCKET_MAX_FRAGMENTS: MAX_FRAGMENTS,
  SUPERVISOR_RPC_ADDRESS_CALLS_PER_SECOND: 100_000_000,
  SUPERVISOR_RPC_ADDRESS_BURST: 100_000_000,
} as const;

export interface FuzzSystem extends AsyncDisposable {
  readonly port: number;
  readonly supervisor: string;
  readonly owner: Signer;
  readonly isUp: () => boolean;
  /** The same, for certain: where its port is closed already, the end of the process is waited for. */
  isServing(): Promise<boolean>;
  /** Everything the program wrote. */
  readonly output: () => string;
  heapBytes(): Promise<number>;
  /** Ids of all jobs in Redis, and names of all runners. */
  stored(): Promise<{ readonly jobs: ReadonlySet<string>; readonly runners: readonly string[] }>;
  /** Ends it in order. Resolves with exit code or signal. */
  stop(): Promise<number | NodeJS.Signals | null>;
}

export interface SystemOptions {
  /** See breakages.ts; nothing unless told. */
  readonly broken?: string | undefined;
  /** The compiled program; it is not changed. */
  readonly built?: Pick<Build, "directory"> | undefined;
}

/** Starts all of it; `await using` leaves no process and no file behind. */
export async function startFuzzSystem(options: SystemOptions = {}): Promise<FuzzSystem> {
  return assemble(async (onEnd) => startParts(options, onEnd));
}

async function startParts(options: SystemOptions, onEnd: OnEnd): Promise<Omit<FuzzSystem, keyof AsyncDisposable>> {
  const directory = await mkdtemp(join(tmpdir(), "horus-fuzz-"));
  onEnd(async () => rm(directory, { recursive: true, force: true }));
  const program = join(await theProgram(options, directory, onEnd), "bin/supervisor.js");
  const redis = await startRedis();
  onEnd(async () => redis.stop());
  const data = join(directory, "data");
  const paths = dataPaths(data);
  const env = {
    PATH: process.env["PATH"],
    HOME: directory,
    SUPERVISOR_REDIS_URL: redis.url,
    SUPERVISOR_DATA_DIR: data,
    SUPERVISOR_LOG_AUDIT_FILE: join(directory, "audit.log"),
    ...Object.fromEntries(Object.entries(SETTINGS).map(([name, value]) => [name, String(value)])),
  };
  const supervisor = new RunningProcess([process.execPath, INSPECTED, program, "--port", "0"], { env, cwd: directory });
  endWithUs(supervisor.child);
  onEnd(async () => supervisor.stop("SIGKILL"));
  const [, url = "", port = ""] = await supervisor.waitFor(/"(http:\/\/127\.0\.0\.1:(\d+))\/?"/u);
  const [, inspectorUrl = ""] = await supervisor.waitFor(INSPECTOR_URL);
  const registered = await runProcess([process.execPath, program, "runner", "register", RUNNER, "--to", url], { env });
  if (registered.code !== 0) throw new Error(`The runner was not registered: ${registered.stderr}`);
  return {
    port: Number(port),
    supervisor: createNativeSigner(await readSeed(paths.identity)).publicKey,
    owner: createNativeSigner(await readSeed(paths.owner)),
    isUp: () => supervisor.isUp,
    async isServing() {
      if (supervisor.isUp && (await isOpen(Number(port)))) return true;
      if (supervisor.isUp) await once(supervisor.child, "exit");
      return false;
    },
    output: () => supervisor.output,
    heapBytes: async () => heapBytes(inspectorUrl),
    async stored() {
      const client = redis.client();
      const keys = new RedisKeys({ prefix: "horus", shards: 1 });
      const prefix = keys.job("");
      const jobs = (await allKeys(client))
        .filter((key) => key.startsWith(prefix))
        .map((key) => key.slice(prefix.length));
      const runners = await client.hkeys(keys.of(0, "runners"));
      // What begins with "@" is the registry's own.
      return { jobs: new Set(jobs), runners: runners.filter((name) => !name.startsWith("@")) };
    },
    stop: async () => supervisor.stop(),
  };
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect({ port, host: "127.0.0.1" });
  try {
    await once(socket, "connect");
    return true;
  } catch {
    // Refused: nobody listens there any more.
    return false;
  } finally {
    socket.destroy();
  }
}

/** A directory with the compiled program, broken where that is wished for. */
async function theProgram({ broken, built }: SystemOptions, directory: string, onEnd: OnEnd): Promise<string> {
  const whole = built ?? (await ownBuild(onEnd));
  if (broken === undefined) return whole.directory;
  const copy = join(directory, "program");
  await cp(whole.directory, copy, { recursive: true, verbatimSymlinks: true });
  await breakBuild(copy, broken);
  return copy;
}

async function ownBuild(onEnd: OnEnd): Promise<Build> {
  const built = await build();
  onEnd(async () => built[Symbol.asyncDispose]());
  return built;
}
