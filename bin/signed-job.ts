/** A signed job as a file that goes from signer to signer: read strictly, and written so that nothing is lost half-way. */
import { randomBytes } from "node:crypto";
import { open, readFile, rename, rm } from "node:fs/promises";

import { Compile } from "typebox/compile";

import { parseSignatures } from "../src/auth/credential.ts";
import type { SignedJob } from "../src/client/job.ts";
import { errorText } from "../src/errors.ts";
import { scanJson } from "../src/rpc/json-scan.ts";
import { JobDocument } from "../src/rpc/schema.ts";
import { UsageError } from "./command.ts";
import type { Terminal } from "./terminal.ts";

const Document = Compile(JobDocument);

/**
 * Reads `{"job": …, "signatures": […]}`; `-` is standard input. Whether the signatures are good is not looked at.
 * @throws Error naming the file and what is wrong with it.
 */
export async function readSignedJob(path: string, terminal: Pick<Terminal, "readInput">): Promise<SignedJob> {
  const text = path === "-" ? await terminal.readInput() : await readText(path);
  if (text === undefined) throw new UsageError("No signed job: name its file, or pipe it in.");
  const parsed = parse(text, path);
  const { job, signatures: given, ...others } = parsed;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw notSigned(path, `it has a member "${unknown}"`);
  if (!Document.Check(job)) {
    const [fault] = Document.Errors(job);
    throw notSigned(path, `its job${fault?.instancePath ?? ""} ${fault?.message ?? "is none"}`);
  }
  const signatures = parseSignatures(given);
  if (signatures === undefined) throw notSigned(path, "its signatures are not 1 to 16 by distinct keys");
  return { job, signatures: [...signatures] };
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const fix = "Name a file that is there, or make one with: supervisor submit --sign-only --out FILE";
    throw new UsageError(`${path} can not be read (${errorText(error)}). ${fix}`, { cause: error });
  }
}

/** Two members of one name are refused: what one signer saw must be what the next one signs. */
function parse(text: string, path: string): Readonly<Record<string, unknown>> {
  const scan = scanJson(text);
  if (!scan.ok) throw notSigned(path, scan.reason);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw notSigned(path, "it is not JSON", error);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw notSigned(path, "it is not an object");
  return { ...value };
}

function notSigned(path: string, fault: string, cause?: unknown): Error {
  return new Error(`${path} is no signed job: ${fault}. Make one with: supervisor submit --sign-only --out FILE`, {
    cause,
  });
}

/** Writes it to a file, in the place of the one that is there, mode 0600: payload and environment may be secrets. */
export async function writeSignedJob(path: string, signed: SignedJob): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.new`;
  try {
    {
      await using file = await open(temporary, "wx", 0o600);
      await file.writeFile(signedJobText(signed));
      await file.sync();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw new Error(`${path} can not be written (${errorText(error)}).`, { cause: error });
  }
}

export function signedJobText({ job, signatures }: SignedJob): string {
  return `${JSON.stringify({ job, signatures }, undefined, 2)}\n`;
}
