import type { SignatureEntry } from "../../../src/rpc/schema.ts";
/** What a runner refuses though it stands in its queue. */
import type { Candidate } from "../candidate.ts";
import { type Check, CannotPerform, expectSame, expectThat, type Stage } from "../check.ts";
import { entryBy, forge, type Forgery, putInQueue } from "../forgery.ts";
import { linesOf, Proof, type TestJob } from "../job.ts";
import { alice, bob, identity, mallory, NOBODY } from "../site.ts";
import { byKeyOfOrderOne, byKeyWithTorsion, isTaken, malleated, withIdentityAsR } from "../weak-signatures.ts";

const CLAUSE = "What a runner must verify";
const FOREIGN = mallory.publicKey;

interface Row {
  readonly name: string;
  readonly does: string;
  readonly forgery: (candidate: { readonly name: string; readonly group: string }) => Forgery | Promise<Forgery>;
}

/** Alice's good signature and one more. */
function beside(other: (input: Uint8Array, text: string) => SignatureEntry | Promise<SignatureEntry>): Forgery {
  return { signatures: async (input, text) => [await entryBy(alice, text), await other(input, text)] };
}

/** @throws CannotPerform where this OpenSSL refuses it by itself: then it shows nothing about the runner. */
function weak(input: Uint8Array, entry: SignatureEntry): SignatureEntry {
  if (!isTaken(entry.public_key, entry.signature, input))
    throw new CannotPerform("OpenSSL here refuses this by itself");
  return entry;
}

/** Each is wrong in one thing, and right in all else. */
const FORGERIES: readonly Row[] = [
  {
    name: "payload-changed",
    does: "a document is changed after it was signed and got its ticket",
    forgery: () => ({ after: (text) => text.replace("echo forged", "echo FORGED") }),
  },
  {
    name: "not-canonical",
    does: "a document with a space in it, signed and admitted as it stands",
    forgery: () => ({ text: (text) => text.replace('{"aud"', '{ "aud"') }),
  },
  {
    name: "duplicate-member",
    does: "a document that says its payload twice, signed and admitted as it stands",
    forgery: () => ({ text: (text) => text.replace('"payload":', '"payload":"true","payload":') }),
  },
  {
    name: "unknown-member",
    does: "a document with a member that no job has",
    forgery: () => ({ job: { umask: "000" } }),
  },
  {
    name: "missing-member",
    does: "a document without its timeout",
    forgery: () => ({ text: (text) => text.replace(',"timeout":600', "") }),
  },
  {
    name: "another-job",
    does: "a good document of one id under another id",
    forgery: () => ({ job: { id: "01a20ae6-06a2-7251-be50-9887dc001f60" } }),
  },
  {
    name: "foreign-audience",
    does: "a job for another supervisor, with a ticket of ours",
    forgery: () => ({ job: { aud: FOREIGN } }),
  },
  {
    name: "queue-changed",
    does: "a job for the runner's group in the queue of the runner's name",
    forgery: ({ name, group }) => ({ job: { runner: group }, queue: name }),
  },
  {
    name: "foreign-queue",
    does: "a job for another runner, ticket and record included, in this runner's queue",
    forgery: () => ({ job: { runner: NOBODY } }),
  },
  {
    name: "not-allowed",
    does: "a job of a caller whom the supervisor admits and the runner's allow-list does not have",
    forgery: () => ({
      job: { caller_id: mallory.publicKey },
      signatures: async (_input, text) => [await entryBy(mallory, text)],
    }),
  },
  {
    name: "unsigned",
    does: "a document with an empty list of signatures",
    forgery: () => ({ signatures: async () => [] }),
  },
  {
    name: "signature-wrong",
    does: "a signature over another text, by the right key",
    forgery: () => ({ signatures: async () => [await entryBy(alice, "{}")] }),
  },
  {
    name: "signature-of-another-kind",
    does: "a signature over this text as a call, by the right key",
    forgery: () => ({ signatures: async (_input, text) => [await entryBy(alice, text, "call")] }),
  },
  {
    name: "caller-did-not-sign",
    does: "a document with a good signature by somebody else alone",
    forgery: () => ({ signatures: async (_input, text) => [await entryBy(bob, text)] }),
  },
  {
    name: "one-of-two-is-bad",
    does: "a good signature by the caller, and a bad one by a co-signer",
    forgery: () => beside(async () => entryBy(bob, "{}")),
  },
  {
    name: "signed-twice",
    does: "the caller's good signature, twice",
    forgery: () => beside(async (_input, text) => entryBy(alice, text)),
  },
  {
    name: "small-order-key",
    does: "beside the caller's a signature under a key of order 1, which fits every message",
    forgery: () => beside((input) => weak(input, byKeyOfOrderOne())),
  },
  {
    name: "key-with-torsion",
    does: "beside the caller's a signature under a key with a torsion part, which OpenSSL takes",
    forgery: () => beside((input) => weak(input, byKeyWithTorsion(input))),
  },
  {
    name: "small-order-r",
    does: "beside the caller's a signature whose R is of order 1, which OpenSSL takes",
    forgery: () => beside((input) => weak(input, withIdentityAsR(input))),
  },
  {
    name: "s-beyond-order",
    does: "beside the caller's a second spelling of a good signature: S + L",
    forgery: () => beside(async (_input, text) => malleated(await entryBy(bob, text))),
  },
  {
    name: "upper-case-hex",
    does: "a good signature in upper-case digits",
    forgery: () => ({
      signatures: async (_input, text) => {
        const { public_key, signature } = await entryBy(alice, text);
        return [{ public_key, signature: signature.toUpperCase() }];
      },
    }),
  },
  {
    name: "ticket-missing",
    does: "a signed job without a ticket",
    forgery: () => ({ storedTicket: () => "" }),
  },
  {
    name: "ticket-by-another",
    does: "a ticket signed by another key, under its own name",
    forgery: () => ({ ticketSigner: mallory }),
  },
  {
    name: "ticket-impersonated",
    does: "a ticket signed by another key, under the supervisor's name",
    forgery: () => ({
      ticketSigner: mallory,
      storedTicket: (signed) => JSON.stringify({ ...signed, public_key: identity.publicKey }),
    }),
  },
  {
    name: "ticket-for-another-audience",
    does: "a ticket of the supervisor's for another audience",
    forgery: () => ({ ticket: { aud: FOREIGN } }),
  },
  {
    name: "ticket-swapped",
    does: "the ticket of another document of the same id",
    forgery: () => ({ ticket: { job: "ab".repeat(32) } }),
  },
  {
    name: "ticket-of-another-id",
    does: "a ticket that names another job's id",
    forgery: () => ({ ticket: { id: "01a20ae6-06a2-7251-be50-9887dc001f60" } }),
  },
  {
    name: "ticket-for-another-queue",
    does: "a ticket for another queue",
    forgery: () => ({ ticket: { queue: NOBODY } }),
  },
  {
    name: "ticket-for-another-time",
    does: "a ticket that ends later than the document",
    forgery: () => ({ ticket: { exp: 9_000_000_000 } }),
  },
];

function toCheck({ name, does, forgery }: Row): Check {
  return {
    name,
    clause: CLAUSE,
    does,
    sees: "failed with code -1 and a reason, not retried; the payload did not run",
    async run(stage) {
      const candidate = await stage.common();
      const proof = new Proof(stage.site);
      const job = await forge(candidate, { ...(await forgery(candidate)), payload: `echo forged >> ${proof.path}` });
      await job.refused();
      expectSame("what ran", await proof.lines(), []);
    },
  };
}

/** A good job that is none at this time: neither run nor ended, and no failure counted. */
async function expectGivenBack(
  stage: Stage,
  candidate: Candidate,
  times: { readonly created_at?: number; readonly expires_at?: number; readonly not_before?: number },
): Promise<void> {
  const proof = new Proof(stage.site);
  const job = await forge(candidate, { job: times, payload: `echo ran >> ${proof.path}` });
  const { failures, losses } = await job.when("the job is given back", (record) => {
    if (record.state !== "pending" && record.state !== "running") return true;
    return record.state === "pending" && record.attempt > 0;
  });
  const { state } = await job.record();
  expectSame("failures and losses", [failures, losses], [0, 0]);
  expectThat(state === "pending" || state === "running", `the job ended ${state}`);
  await job.cancel();
  await candidate.expectGoesOn();
  expectSame("what ran", await proof.lines(), []);
}

/** A job whose first attempt runs, and whose record says that it never began. */
async function forgotten(
  stage: Stage,
  onLoss: "retry" | "fail",
): Promise<{ readonly job: TestJob; readonly proof: Proof }> {
  const candidate = await stage.common();
  const proof = new Proof(stage.site);
  const payload = `echo $HORUS_ATTEMPT >> ${proof.path}; [ "$HORUS_ATTEMPT" != 1 ] || sleep 60`;
  const job = await candidate.submit({ payload, on_loss: onLoss });
  await proof.pids(job);
  await putInQueue(job, { attempt: "0" });
  return { job, proof };
}

async function finishedOnce(stage: Stage, job: TestJob, proof: Proof): Promise<void> {
  await job.ended("completed");
  await putInQueue(job);
  const { reason = "" } = await job.when("the job is refused", ({ state }) => state === "failed");
  expectThat(reason !== "", "a refused job says no reason");
  expectSame("what ran", await proof.lines(), ["1"]);
}

export const VERIFICATION_CHECKS: readonly Check[] = [
  {
    name: "honest",
    clause: CLAUSE,
    does: "a job is put into the queue in the way of the forgeries, with nothing wrong, and co-signed",
    sees: "it runs: what is refused below is refused for what is wrong with it",
    async run(stage) {
      const candidate = await stage.common();
      const job = await forge(candidate, {
        ...beside(async (_input, text) => entryBy(bob, text)),
        payload: "echo honest",
      });
      await job.when("the job ends", ({ state }) => state === "completed");
      expectSame("lines", linesOf({ entries: await job.entries() }), ["honest"]);
    },
  },
  {
    name: "from-group",
    clause: "claim",
    does: "a job is sent to the runner's group",
    sees: "the runner takes it",
    async run(stage) {
      const candidate = await stage.common();
      const job = await candidate.submit({ payload: "true", runner: candidate.group });
      await job.ended("completed");
    },
  },
  ...FORGERIES.map(toCheck),
  {
    name: "finished-before",
    clause: CLAUSE,
    does: "a job that the runner finished is put back into its queue",
    sees: "refused with a reason; it ran once",
    async run(stage) {
      const candidate = await stage.common();
      const proof = new Proof(stage.site);
      const job = await candidate.submit({ payload: `echo $HORUS_ATTEMPT >> ${proof.path}` });
      await finishedOnce(stage, job, proof);
    },
  },
  {
    name: "attempt-run-before",
    clause: CLAUSE,
    does: "while an attempt runs, its record is put back as if that attempt had never begun",
    sees: "given back, and run as attempt 2, no loss counted: under no number it runs twice",
    async run(stage) {
      const { job, proof } = await forgotten(stage, "retry");
      const { view } = await job.ended("completed");
      expectSame("attempt and losses", [view.attempt, view.losses], [2, 0]);
      expectSame("what ran", await proof.lines(), ["1", "2"]);
    },
  },
  {
    name: "attempt-run-before-once",
    clause: CLAUSE,
    does: "while an attempt of a job with on_loss = fail runs, its record is put back as if it had never begun",
    sees: "refused with a reason: it must not begin twice",
    async run(stage) {
      const { job, proof } = await forgotten(stage, "fail");
      const { attempt, reason = "" } = await job.when("the job is refused", ({ state }) => state === "failed");
      expectSame("attempt", attempt, 1);
      expectThat(reason !== "", "a refused job says no reason");
      expectSame("what ran", await proof.lines(), ["1"]);
    },
  },
  {
    name: "finished-before-restart",
    clause: CLAUSE,
    does: "the runner is stopped and started again, then a job that it finished before is put back",
    sees: "refused with a reason: it is remembered on disk",
    async run(stage) {
      const candidate = await stage.own();
      const proof = new Proof(stage.site);
      const job = await candidate.submit({ payload: `echo $HORUS_ATTEMPT >> ${proof.path}` });
      await job.ended("completed");
      await candidate.stop();
      await candidate.start();
      await finishedOnce(stage, job, proof);
      await candidate.expectGoesOn();
    },
  },
  {
    name: "late-by-own-clock",
    clause: CLAUSE,
    does: "Redis hands out a good job whose expires_at passed a minute ago",
    sees: "given back: neither run nor ended, and no failure counted; the runner goes on",
    async run(stage) {
      const candidate = await stage.common();
      const now = Math.floor(Date.now() / 1000);
      await expectGivenBack(stage, candidate, { created_at: now - 600, expires_at: now - 60 });
    },
  },
  {
    name: "early-by-own-clock",
    clause: CLAUSE,
    does: "Redis hands out a good job whose not_before comes in half an hour",
    sees: "given back: neither run nor ended, and no failure counted; the runner goes on",
    async run(stage) {
      const candidate = await stage.common();
      await expectGivenBack(stage, candidate, { not_before: Math.floor(Date.now() / 1000) + 1800 });
    },
  },
];
