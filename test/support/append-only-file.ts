/** The file that a test's Redis appends to: what a power cut leaves is as much of it as was on disk. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import type { TestRedis } from "./redis.ts";

export class AppendOnlyFile {
  readonly #redis: TestRedis;
  readonly #path: string;

  private constructor(redis: TestRedis, path: string) {
    this.#redis = redis;
    this.#path = path;
  }

  /** Of a server that was started with `aof`. */
  static async of(redis: TestRedis): Promise<AppendOnlyFile> {
    const directory = dirname(redis.socket);
    const names = await readdir(directory, { recursive: true });
    const name = names.find((known) => known.endsWith(".incr.aof")) ?? "appendonly.aof";
    return new AppendOnlyFile(redis, join(directory, name));
  }

  /** What stands in it at this moment. */
  async read(): Promise<Buffer> {
    return readFile(this.#path);
  }

  /** Kills the server, leaves it this much of the file, and starts it again. */
  async cutPower(left: Uint8Array): Promise<void> {
    await this.#redis.kill("SIGKILL");
    await writeFile(this.#path, left);
    await this.#redis.restart();
  }
}
