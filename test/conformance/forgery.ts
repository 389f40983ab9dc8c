import { canonicalText } from "../../src/auth/canonical-json.ts";
import { digestOf, type Kind, signingInput } from "../../src/auth/signature.ts";
/** Records as somebody could write them who has Redis, and even keys: each wrong in what a forgery says, and right in all else. */
import { buildJob, type Signer, signJob } from "../../src/client/index.ts";
import type { JobDocument, SignatureEntry, TicketDocument } from "../../src/rpc/schema.ts";
import type { Candidate } from "./candidate.ts";
import { TestJob } from "./job.ts";
import { alice, identity, NOBODY } from "./site.ts";

export interface Forgery {
  /** Members beside those of an honest job. */
  readonly job?: Readonly<Record<string, unknown>> & Partial<JobDocument>;
  /** Changes the document's text before it is signed. */
  readonly text?: (canonical: string) => string;
  /** Changes the document's text after it was signed and got its ticket. */
  readonly after?: (signed: string) => string;
  /** Instead of alice's signature alone. */
  readonly signatures?: (input: Uint8Array, text: string) => Promise<readonly unknown[]>;
  /** Members of the ticket. */
  readonly ticket?: Partial<TicketDocument>;
  readonly ticketSigner?: Signer;
  /** The stored ticket, made of the honest one. */
  readonly storedTicket?: (signed: {
    readonly body: TicketDocument;
    readonly public_key: string;
    readonly signature: string;
  }) => string;
  /** Where the record says that it was queued; the document's own queue unless told. */
  readonly queue?: string;
}

/** One signature over a document's text. */
export async function entryBy(signer: Signer, text: string, kind: Kind = "job"): Promise<SignatureEntry> {
  return { public_key: signer.publicKey, signature: await signer.sign(signingInput(kind, text)) };
}

/**
 * Puts a job into the runner's queue past the supervisor: a record that was admitted for somebody else is written over.
 * The record's own `expires_at` is far away, whatever the document says.
 */
export async function forge(candidate: Candidate, forgery: Forgery & { readonly payload: string }): Promise<TestJob> {
  const { site } = candidate;
  const base = buildJob({
    supervisor: identity.publicKey,
    caller: alice.publicKey,
    runner: candidate.name,
    payload: "",
  });
  const carried = await signJob(alice, { ...base, runner: NOBODY, payload: "carried", max_attempts: 3 });
  await site.node.client("alice").submitJob(carried);
  const document = { ...base, payload: forgery.payload, ...forgery.job };
  const text = forgery.text?.(canonical(document)) ?? canonical(document);
  const input = signingInput("job", text);
  const signatures = (await forgery.signatures?.(input, text)) ?? [await entryBy(alice, text)];
  const queue = forgery.queue ?? document.runner;
  await putInQueue(TestJob.of(candidate, base.id), {
    document: forgery.after?.(text) ?? text,
    signatures: JSON.stringify(signatures),
    ticket: await ticketText(document, digestOf(input), forgery),
    queue,
  });
  return TestJob.of(candidate, base.id);
}

/** Puts a record into the runner's own queue, whatever state it had. */
export async function putInQueue(job: TestJob, fields: Readonly<Record<string, string>> = {}): Promise<void> {
  const { site, candidate, id } = job;
  const { redis, keys } = site;
  const shard = keys.shardOf(id);
  const { queue, state } = await job.record();
  await redis.zrem(keys.queue(shard, queue), id);
  await redis.zrem(keys.done(shard, state), id);
  await redis.zrem(keys.of(shard, "leases"), id);
  await redis.hset(keys.job(id), { expires_at: "9000000000", queue: candidate.name, ...fields, state: "pending" });
  await redis.zadd(keys.of(shard, "expiry"), 9e12, id);
  await redis.zadd(keys.queue(shard, candidate.name), 1, id);
  await redis.publish(keys.hintChannel(candidate.name), "");
}

async function ticketText(job: JobDocument, digest: string, forgery: Forgery): Promise<string> {
  const { ticketSigner = identity, storedTicket = JSON.stringify } = forgery;
  const body: TicketDocument = {
    v: 1,
    aud: identity.publicKey,
    job: digest,
    id: job.id,
    queue: job.runner,
    iat: job.created_at,
    exp: job.expires_at,
    ...forgery.ticket,
  };
  const { signature } = await entryBy(ticketSigner, canonical(body), "ticket");
  return storedTicket({ body, public_key: ticketSigner.publicKey, signature });
}

/** Also of documents that no job may be. */
function canonical(value: object): string {
  const written = canonicalText(value);
  if (!written.ok) throw new TypeError(`${written.path}: ${written.reason}`);
  return written.text;
}
