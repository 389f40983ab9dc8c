/** Reads what an attempt wrote to `$HORUS_RESULT`, trusting neither its size nor what kind of file it is. */
import { isUtf8 } from "node:buffer";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";

import type { JobResult } from "../rpc/schema.ts";

/** Too large stands for every result that is not taken; the reason says which. */
export type ResultFile =
  | { readonly ok: true; readonly bytes: Uint8Array }
  | { readonly ok: false; readonly reason: string };

const EMPTY = new Uint8Array(0);

/** What a job itself can make of the path, in place of a file: a link, a socket, what its user may not read. */
const MADE_BY_JOB = ["ELOOP", "ENXIO", "EACCES", "EPERM", "ENOTDIR"];

/**
 * The bytes of the result file, empty where there is none. Opened without following a link (the job would have the
 * runner read a file it may not read itself) and without blocking (a FIFO nobody writes to would hold the runner).
 * @throws Error where it is not the job's doing: no descriptor is free, the disk fails
 */
export async function readResultFile(path: string, maxBytes: number): Promise<ResultFile> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return { ok: true, bytes: EMPTY };
    if (!MADE_BY_JOB.some((code) => isErrno(error, code))) throw error;
    return { ok: false, reason: "the result is not a regular file that can be read" };
  }
  try {
    const status = await file.stat();
    if (!status.isFile()) return { ok: false, reason: "the result is not a regular file that can be read" };
    if (status.size > maxBytes) return tooLarge(maxBytes, `${status.size}`);
    return await readUpTo(file, maxBytes);
  } finally {
    await file.close();
  }
}

/** The size is checked by reading: a process that outlived the kill could still be writing. */
async function readUpTo(file: FileHandle, maxBytes: number): Promise<ResultFile> {
  const buffer = Buffer.allocUnsafe(maxBytes + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
    length += bytesRead;
    if (length > maxBytes) return tooLarge(maxBytes, `at least ${length}`);
    if (bytesRead === 0) return { ok: true, bytes: Uint8Array.from(buffer.subarray(0, length)) };
  }
}

function tooLarge(maxBytes: number, present: string): ResultFile {
  return { ok: false, reason: `result too large: ${present} bytes, max_result_bytes is ${maxBytes}` };
}

/** The result as it is stored: text where the bytes are UTF-8, else base64; undefined where empty. */
export function toJobResult(bytes: Uint8Array): JobResult | undefined {
  if (bytes.length === 0) return undefined;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return isUtf8(buffer) ? { text: buffer.toString("utf8") } : { base64: buffer.toString("base64") };
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
