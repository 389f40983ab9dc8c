/** Preloaded into a program: SIGUSR2 holds its event loop up for BLOCK_MS, and it says when that begins and ends. */
import { writeSync } from "node:fs";
import process from "node:process";
import { isMainThread } from "node:worker_threads";

if (isMainThread) {
  process.on("SIGUSR2", () => {
    writeSync(2, "event loop blocked\n");
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(process.env["BLOCK_MS"]));
    writeSync(2, "event loop free\n");
  });
}
