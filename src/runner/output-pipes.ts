/**
 * Named pipes for what jobs print. Node's own pipes to a child are sockets, and a socket can not be opened by name:
 * `echo oops > /dev/stderr` and `tee /dev/stdout` would fail in every job. Where none can be made, node's serve.
 */
import { type ChildProcess, execFile } from "node:child_process";
import { closeSync, constants, openSync } from "node:fs";
import { mkdir, mkdtemp, rmdir, unlink } from "node:fs/promises";
import { Socket } from "node:net";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { promisify } from "node:util";

import { errorText } from "../errors.ts";
import type { Log } from "../log.ts";

/** Made at a time: `mkfifo` costs a process. */
const BATCH = 16;

/** Both ends of one pipe. */
interface OpenPipe {
  readonly readFd: number;
  readonly writeFd: number;
}

/** Where one child prints to. */
export interface OutputPair {
  /** stdout and stderr as `spawn` takes them. */
  readonly stdio: readonly [number | "pipe", number | "pipe"];
  /** To be called once the child is there: gives what it prints. */
  readers(child: ChildProcess): { readonly stdout: Readable; readonly stderr: Readable };
  /** There is no child: lets go of both. */
  discard(): void;
}

class NamedPair implements OutputPair {
  readonly stdio: readonly [number, number];
  readonly #stdout: Socket;
  readonly #stderr: Socket;

  constructor(stdout: OpenPipe, stderr: OpenPipe) {
    this.stdio = [stdout.writeFd, stderr.writeFd];
    this.#stdout = new Socket({ fd: stdout.readFd, readable: true, writable: false });
    this.#stderr = new Socket({ fd: stderr.readFd, readable: true, writable: false });
  }

  readers(): { readonly stdout: Readable; readonly stderr: Readable } {
    // The child has its own copies: only without these does the end of a pipe show.
    for (const fd of this.stdio) closeSync(fd);
    return { stdout: this.#stdout, stderr: this.#stderr };
  }

  discard(): void {
    const { stdout, stderr } = this.readers();
    stdout.destroy();
    stderr.destroy();
  }
}

const NODE_PAIR: OutputPair = {
  stdio: ["pipe", "pipe"],
  readers: ({ stdout, stderr }) => {
    if (stdout === null || stderr === null) throw new Error("node made no pipes");
    return { stdout, stderr };
  },
  discard: () => undefined,
};

/** Keeps a few pipes ready, open and without a name, so that no other process finds them. */
export class PipePool {
  readonly #parent: string;
  readonly #log: Log;
  #ready: OpenPipe[] = [];
  #refill: Promise<boolean> | undefined;
  #isClosed = false;
  #isWarned = false;

  /** `parent`: where the names are made for a moment. */
  constructor(parent: string, log: Log) {
    this.#parent = parent;
    this.#log = log;
  }

  /** Pipes for one child; node's where none can be made now: no `mkfifo`, no room, no descriptor. */
  async take(): Promise<OutputPair> {
    while (this.#ready.length < 2 && !this.#isClosed) {
      this.#refill ??= this.#make();
      if (!(await this.#refill)) break;
    }
    if (this.#ready.length < 2) return NODE_PAIR;
    const [stdout, stderr] = this.#ready.splice(0, 2);
    return stdout === undefined || stderr === undefined ? NODE_PAIR : new NamedPair(stdout, stderr);
  }

  /** Closes what was not taken. */
  close(): void {
    this.#isClosed = true;
    for (const { readFd, writeFd } of this.#ready.splice(0)) {
      closeSync(readFd);
      closeSync(writeFd);
    }
  }

  /** False where it failed, which the next one who takes tries again. */
  async #make(): Promise<boolean> {
    try {
      await mkdir(this.#parent, { recursive: true, mode: 0o700 });
      const directory = await mkdtemp(join(this.#parent, "horus-pipes-"));
      const paths = Array.from({ length: BATCH }, (_, index) => join(directory, String(index)));
      try {
        await promisify(execFile)("mkfifo", ["-m", "600", ...paths]);
        for (const path of paths) this.#ready.push(openPipe(path));
      } finally {
        // By their names: a directory can not be listed without a descriptor.
        await Promise.allSettled(paths.map(async (path) => unlink(path)));
        await rmdir(directory);
      }
      this.#isWarned = false;
      return true;
    } catch (error) {
      this.#warn(error);
      return false;
    } finally {
      this.#refill = undefined;
      if (this.#isClosed) this.close();
    }
  }

  /** Once, until it succeeds again. */
  #warn(error: unknown): void {
    if (this.#isWarned) return;
    this.#isWarned = true;
    this.#log.warn(
      { event: "no_pipes", error: errorText(error) },
      "no named pipes here: jobs can not open /dev/stdout and /dev/stderr by name",
    );
  }
}

/** The reader first, without waiting for a writer; then the writer need not wait for a reader. */
function openPipe(path: string): OpenPipe {
  const readFd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    return { readFd, writeFd: openSync(path, constants.O_WRONLY) };
  } catch (error) {
    closeSync(readFd);
    throw error;
  }
}
