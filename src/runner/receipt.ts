import { nativeDigest } from "../auth/native-verifier.ts";
/** The runner's signed statement of what one attempt produced (kind `receipt`). */
import { signDocument, type Signer } from "../auth/signature.ts";
import type { JobDocument, ReceiptDocument, SignedReceipt } from "../rpc/schema.ts";

export interface ReceiptFacts {
  /** The pinned identity of the supervisor. */
  readonly supervisor: string;
  readonly job: Pick<JobDocument, "id" | "caller_id">;
  /** Digest of the job document. */
  readonly digest: string;
  readonly queue: string;
  readonly attempt: number;
  readonly status: ReceiptDocument["status"];
  readonly code: number;
  /** UNIX ms by the runner's clock. */
  readonly startedMs: number;
  readonly finishedMs: number;
  readonly result: Uint8Array;
  /** Head and count of the chain over the entries that were stored. */
  readonly logs: { readonly head: string; readonly count: number };
}

/** Builds and signs the receipt; the members are those of the spec's table (signing, "What is signed"). */
export async function signReceipt(signer: Signer, facts: ReceiptFacts): Promise<SignedReceipt> {
  const body: ReceiptDocument = {
    v: 1,
    aud: facts.supervisor,
    job: facts.digest,
    id: facts.job.id,
    caller_id: facts.job.caller_id,
    runner: signer.publicKey,
    queue: facts.queue,
    attempt: facts.attempt,
    status: facts.status,
    code: facts.code,
    started_ms: facts.startedMs,
    finished_ms: facts.finishedMs,
    result: nativeDigest(facts.result),
    result_len: facts.result.length,
    logs: facts.logs.head,
    logs_count: facts.logs.count,
  };
  const { signature } = await signDocument(signer, "receipt", body);
  return { body, public_key: signer.publicKey, signature };
}
