/** A clock for one process that is wrong by as much as the test says, also while the process runs. Linux, with a C compiler. */
import { execFile } from "node:child_process";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import type { MachineTool } from "./machine.ts";

export const C_COMPILER: MachineTool = { probe: ["cc", "--version"], packages: ["gcc", "libc6-dev"] };

const SOURCE = fileURLToPath(new URL("wrong-clock.c", import.meta.url));

export class WrongClock implements AsyncDisposable {
  readonly #directory: string;
  readonly #file: string;

  private constructor(directory: string) {
    this.#directory = directory;
    this.#file = join(directory, "offset");
  }

  /** Right, until it is set. */
  static async create(offsetSeconds = 0): Promise<WrongClock> {
    const clock = new WrongClock(await mkdtemp(join(tmpdir(), "horus-clock-")));
    await promisify(execFile)("cc", ["-shared", "-fPIC", "-O1", "-o", clock.#library, SOURCE]);
    await writeFile(clock.#file, toBytes(offsetSeconds));
    return clock;
  }

  /** For the processes that go by it. */
  get env(): { readonly LD_PRELOAD: string; readonly WRONG_CLOCK: string } {
    return { LD_PRELOAD: this.#library, WRONG_CLOCK: this.#file };
  }

  /** Seconds it is fast (slow: less than 0) from now on. */
  async set(offsetSeconds: number): Promise<void> {
    // Into the same file, which the processes have mapped; eight bytes are written whole.
    await using file = await open(this.#file, "r+");
    await file.write(toBytes(offsetSeconds), 0, 8, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }

  get #library(): string {
    return join(this.#directory, "wrong-clock.so");
  }
}

function toBytes(offsetSeconds: number): Uint8Array {
  return new Uint8Array(BigInt64Array.of(BigInt(offsetSeconds)).buffer);
}
