/** Builds that are broken on purpose: a fuzz that finds nothing wrong with them finds nothing at all. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

interface Change {
  /** Of the compiled copy. */
  readonly file: string;
  readonly what: string;
  readonly by: string;
}

const HANDLE = "const message = this.#parser.parse(bytes);";

/** By name, with the finding each must lead to; they change a compiled copy, never what ships. */
const BREAKAGES: Readonly<Record<string, Change>> = {
  /** Every signature of a job is good. */
  admitted: {
    file: "src/auth/authenticate.js",
    what: "if (!answers.every(Boolean))",
    by: "if (false)",
  },
  /** A parser's error ends the process. */
  crash: {
    file: "transports/http/listener.js",
    what: "#onClientError(error, socket) {",
    by: "#onClientError(error, socket) {\n        if (error.code === 'HPE_INVALID_METHOD') throw error;",
  },
  /** Arrays are never answered. */
  unanswered: {
    file: "src/rpc/dispatcher.js",
    what: HANDLE,
    by: `if (bytes[0] === 0x5b) await new Promise(() => {});\n            ${HANDLE}`,
  },
  /** None is. */
  refused: {
    file: "src/auth/authenticate.js",
    what: "if (!answers.every(Boolean))",
    by: "if (true)",
  },
  /** A handler's defect is told as an internal error. */
  internal: {
    file: "src/rpc/message.js",
    what: "parse(bytes) {",
    by: "parse(bytes) {\n        if (bytes[0] === 0x22) throw new Error('a defect');",
  },
  /** Every message is kept. */
  memory: {
    file: "src/rpc/dispatcher.js",
    what: HANDLE,
    by: `(globalThis.kept ??= []).push(Buffer.alloc(20_000, 1));\n            ${HANDLE}`,
  },
};

export const BREAKAGE_NAMES: readonly string[] = Object.keys(BREAKAGES);

/** Breaks a compiled copy of the program. @throws Error when there is no such breakage, or it finds nothing to change. */
export async function breakBuild(directory: string, name: string): Promise<void> {
  const change = BREAKAGES[name];
  if (change === undefined) {
    throw new RangeError(`"${name}" can not be broken. Choose of: ${BREAKAGE_NAMES.join(", ")}.`);
  }
  const path = join(directory, change.file);
  const before = await readFile(path, "utf8");
  const after = before.replace(change.what, () => change.by);
  if (after === before) throw new Error(`${change.file} has changed: say anew what breaking "${name}" means.`);
  await writeFile(path, after);
}
