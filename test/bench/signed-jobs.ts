/** Jobs signed before the clock starts, each as the bytes of one HTTP request. */
import { type Static, Type } from "typebox";
import { Check } from "typebox/schema";

import { canonicalText } from "../../src/auth/canonical-json.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { buildJob, signJob } from "../../src/client/job.ts";
import { JobDocument } from "../../src/rpc/schema.ts";

/** Whose jobs, for which supervisor and runner. */
export const JobsFor = Type.Object({
  /** Identity of the supervisor. */
  supervisor: Type.String(),
  /** The caller's secret. */
  seed: Type.String(),
  runner: Type.String(),
});
export type JobsFor = Static<typeof JobsFor>;

/** A short script's worth. */
export const PAYLOAD = "x".repeat(256);
/** Signed at a time, so that a batch keeps the thread pool busy and no more. */
const BATCH = 256;

export interface SignedRequest {
  /** The job's. */
  readonly id: string;
  /** Head and body. */
  readonly bytes: Buffer;
}

/** Signs `count` new jobs for the server at `host`. */
export async function signRequests(count: number, host: string, wanted: JobsFor): Promise<readonly SignedRequest[]> {
  const signer = createNativeSigner(wanted.seed);
  const sign = async (): Promise<SignedRequest> => {
    const job = buildJob({
      supervisor: wanted.supervisor,
      caller: signer.publicKey,
      runner: wanted.runner,
      payload: PAYLOAD,
    });
    const params = await signJob(signer, inCanonicalOrder(job));
    return { id: job.id, bytes: toRequest({ jsonrpc: "2.0", id: job.id, method: "create_job", params }, host) };
  };
  const requests: SignedRequest[] = [];
  while (requests.length < count) {
    requests.push(...(await Promise.all(Array.from({ length: Math.min(BATCH, count - requests.length) }, sign))));
  }
  return requests;
}

/** The bare server writes the parsed job as it stands; in this order that is the text that was signed. */
function inCanonicalOrder(job: JobDocument): JobDocument {
  const canonical = canonicalText(job);
  if (!canonical.ok) throw new TypeError(`${canonical.path}: ${canonical.reason}`);
  const sorted: unknown = JSON.parse(canonical.text);
  if (!Check(JobDocument, sorted)) throw new TypeError("not a job");
  return sorted;
}

/** A call as the bytes of an HTTP request. */
export function toRequest(body: object, host: string): Buffer {
  const text = JSON.stringify(body);
  const head = [
    "POST / HTTP/1.1",
    `Host: ${host}`,
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(text)}`,
  ];
  return Buffer.from(`${head.join("\r\n")}\r\n\r\n${text}`);
}
