/** Somebody who can write to Redis puts something else there: each is refused with its reason, and the runner goes on. */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { rename } from "node:fs/promises";
import { join } from "node:path";

import { afterEach, describe, expect, test } from "vitest";

import { createVerifier } from "../../../src/auth/native-verifier.ts";
import { parseAllowList } from "../../../src/runner/allow-list.ts";
import { createJobVerifier } from "../../../src/runner/job-verifier.ts";
import { openSeenJobs } from "../../../src/runner/seen-jobs.ts";
import { aQueuedJob, harnessSlot, type JobWishes } from "../../support/runner-harness.ts";
import { aSigner, VECTORS } from "../../support/signing.ts";

const { create, start, stop } = harnessSlot();

afterEach(async () => stop());

const now = Math.floor(Date.now() / 1000);
const EXPIRED = { created_at: now - 7200, expires_at: now - 60 };

const forgeries: readonly { name: string; wishes: () => Promise<JobWishes>; reason: string }[] = [
  {
    name: "a changed payload",
    wishes: async () => ({ stored: { document: (await honest()).document.replace('"echo ran"', '"echo owned"') } }),
    reason: "the document is another job's",
  },
  {
    name: "a changed payload under its own id",
    wishes: async () => {
      const job = await honest();
      return { stored: { ...job, document: job.document.replace("echo ran", "echo own") } };
    },
    reason: `the signature by ${VECTORS.keys.caller} is not good`,
  },
  {
    name: "another job's ticket",
    wishes: async () => ({ stored: { ticket: (await honest()).ticket } }),
    reason: "its ticket is another job's",
  },
  {
    name: "a ticket by a key that is not the supervisor's",
    wishes: async () => ({ ticketSigner: aSigner("supervisorB") }),
    reason: "its ticket is by another supervisor",
  },
  {
    name: "a ticket that only names the supervisor's key",
    wishes: async () => {
      const job = await aQueuedJob({ ticketSigner: aSigner("supervisorB") });
      return { stored: { ...job, ticket: job.ticket.replace(VECTORS.keys.supervisorB, VECTORS.keys.supervisorA) } };
    },
    reason: "the signature of its ticket is not good",
  },
  {
    name: "a ticket for other content under the same id",
    wishes: async () => ({ ticket: { job: "0".repeat(64) } }),
    reason: "its ticket is another job's",
  },
  {
    name: "a ticket for the same content under another id",
    wishes: async () => ({ ticket: { id: "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b" } }),
    reason: "its ticket is another job's",
  },
  {
    name: "another supervisor's ticket",
    wishes: async () => ({ ticket: { aud: VECTORS.keys.supervisorB } }),
    reason: "its ticket is by another supervisor",
  },
  {
    name: "another queue's ticket",
    wishes: async () => ({ ticket: { queue: "build-1" } }),
    reason: "its ticket is for another queue",
  },
  {
    name: "a ticket that ends at another time",
    wishes: async () => ({ ticket: { exp: now + 10 } }),
    reason: "its ticket is another job's",
  },
  {
    name: "no ticket",
    wishes: async () => ({ stored: { ticket: "" } }),
    reason: "its ticket is malformed",
  },
  {
    name: "a ticket beyond all bounds",
    wishes: async () => ({ stored: { ticket: `${(await honest()).ticket}${" ".repeat(16 * 1024)}` } }),
    reason: "its ticket is malformed",
  },
  {
    name: "a job of a queue that is not this runner's",
    wishes: async () => ({ runner: "gpu" }),
    reason: 'queue "gpu" is not one of this runner\'s',
  },
  {
    name: "a job moved from another queue",
    wishes: async () => ({ runner: "gpu", stored: { queue: "build" } }),
    reason: 'it was found in queue "build" and belongs to "gpu"',
  },
  {
    name: "a job for another supervisor",
    wishes: async () => ({ aud: VECTORS.keys.supervisorB }),
    reason: "it is for another supervisor",
  },
  {
    name: "an expired job with another queue's ticket",
    wishes: async () => ({ ...EXPIRED, ticket: { queue: "build-1" } }),
    reason: "its ticket is for another queue",
  },
  {
    name: "a job without its caller's signature",
    wishes: async () => ({ signers: [aSigner("approver")] }),
    reason: "its caller did not sign it",
  },
  {
    name: "a job signed twice by one key",
    wishes: async () => ({ signers: [aSigner(), aSigner()] }),
    reason: "a key signed it twice",
  },
  {
    name: "a job without signatures",
    wishes: async () => ({ stored: { signatures: "[]" } }),
    reason: "its signatures are malformed",
  },
];

async function honest(): Promise<Awaited<ReturnType<typeof aQueuedJob>>> {
  return aQueuedJob({ payload: "echo ran" });
}

describe("Forgeries", () => {
  test.each(forgeries)("$name is refused, and the next job runs", async ({ wishes, reason }) => {
    const { run } = await start();

    const forged = await run({ payload: "echo ran", ...(await wishes()) });
    const next = await run({ payload: "true" });

    expect(forged.state).toBe("failed");
    expect(forged.logs).toEqual([]);
    expect(forged.finishes[0]).toMatchObject({ code: -1, isRetryable: false, reason: `refused: ${reason}` });
    expect(next.state).toBe("completed");
  });

  test("a refusal carries a receipt of an attempt in which nothing ran", async () => {
    const { run } = await start();

    const job = await run({ runner: "gpu" });

    expect(job.finishes[0]?.receipt?.body).toMatchObject({
      status: "failed",
      code: -1,
      result_len: 0,
      logs_count: 0,
      logs: "0".repeat(64),
      attempt: 1,
    });
  });

  test.each([
    { name: "no JSON", document: "{" },
    { name: "another spelling", document: '{"v": 1}' },
    { name: "no job", document: '{"v":1}' },
    { name: "beyond all bounds", document: "x".repeat(16 * 1024 * 1024 + 1) },
  ])("a document that is $name is refused without a receipt", async ({ document }) => {
    const { run } = await start();

    const job = await run({ stored: { document } });

    expect(job.finishes[0]).toMatchObject({ status: "failed", code: -1, isRetryable: false });
    expect(job.finishes[0]?.receipt).toBeUndefined();
  });

  test.each([
    { name: "queue", stored: { queue: "No Name" } },
    { name: "attempt", stored: { firstAttempt: 0 } },
    { name: "fraction of an attempt", stored: { firstAttempt: 1.5 } },
  ])(
    "a malformed $name is refused without a receipt, and reaches neither the disk nor a signature",
    async ({ stored }) => {
      const { run, directory } = await start();

      const job = await run({ payload: "echo ran", stored });

      expect(job.finishes[0]).toMatchObject({ reason: "refused: its queue or its attempt is malformed" });
      expect(job.finishes[0]?.receipt).toBeUndefined();
      expect(existsSync(join(directory, "seen"))).toBe(false);
    },
  );

  test("a job that two keys signed runs when both signatures are good", async () => {
    const { run } = await start();

    expect((await run({ payload: "true", signers: [aSigner("approver"), aSigner()] })).state).toBe("completed");
  });
});

describe("Replays", () => {
  test("a finished job that is put back is refused, without a receipt that would contradict the first", async () => {
    const { run, source, ended } = await start();
    const job = await run({ payload: "echo once" });

    source.add({ ...job.queued, firstAttempt: 2 });
    await ended(2);

    const replayed = source.jobs.get(job.queued.id);
    expect(replayed?.finishes[0]).toMatchObject({ reason: "refused: this runner has finished it already" });
    expect(replayed?.finishes[0]?.receipt).toBeUndefined();
    expect(replayed?.logs).toEqual([]);
  });

  test.each([
    ["comes again under the next number, and runs", "retry", { state: "completed", attempt: 2, released: 1 }, 1],
    ["is refused where it must not begin twice", "fail", { state: "failed", attempt: 1, released: 0 }, 0],
  ] as const)("an attempt that the source forgot %s", async (_, onLoss, expected, lines) => {
    const { queue, source, events } = await start({ limits: { graceMs: 0 } });
    const payload = 'echo up; [ "$HORUS_ATTEMPT" != 1 ] || sleep 60';
    const job = await queue({ payload, on_loss: onLoss });
    await source.until(() => job.logs.length === 1);

    source.loseLease(job.queued.id);
    const forgotten = source.add({ ...job.queued, firstAttempt: 1 });
    source.hintCancel(job.queued.id);
    await source.until(() => forgotten.finishes.length === 1);

    expect(events.find((event) => event.kind === "ended")).toMatchObject({ end: { kind: "lost" } });
    expect(forgotten).toMatchObject(expected);
    expect(forgotten.logs).toHaveLength(lines);
    const reason = onLoss === "fail" ? "refused: an attempt of this number began here before" : undefined;
    expect(forgotten.finishes[0]?.reason).toBe(reason);
  });

  test("a restart does not forget", async () => {
    const { run, directory } = await start();
    const job = await run({ payload: "true" });
    // As a crash leaves it: the first process never closes its file.
    await rename(join(directory, "seen"), join(directory, "seen-before"));

    const seen = await openSeenJobs({ path: join(directory, "seen-before"), now: Date.now });

    expect(seen.recall(job.queued.id, 2)).toBe("finished");
    await seen.close();
  });

  test("what an earlier process of the name finished while this one waited for it is not forgotten", async () => {
    const { runner, run, directory } = await create();
    const { id, expiresAt } = { id: randomUUID(), expiresAt: Math.floor(Date.now() / 1000) + 3600 };
    const earlier = await openSeenJobs({ path: join(directory, "seen"), now: Date.now });
    await earlier.accepted({ id, attempt: 1, expiresAt });
    await earlier.close();
    await runner.start();

    const job = await run({ id, stored: { firstAttempt: 2 } });

    expect(job.finishes[0]).toMatchObject({ reason: "refused: this runner has finished it already" });
  });

  test("a memory that can not be written lets nothing start: the job is given back", async () => {
    const { queue, seen, source, events, ended } = await start();
    await seen.close();

    const job = await queue({ payload: "echo ran" });
    await ended(1);
    source.jobs.clear();

    expect(events[1]).toMatchObject({ kind: "ended", end: { kind: "unfit" } });
    expect(job).toMatchObject({ released: 1, logs: [] });
  });
});

describe("A job whose time it is not by this runner's clock, and that came all the same", () => {
  test("is given back, since either of two clocks may be wrong, and never run", async () => {
    const { queue, source, events, ended } = await start();

    const job = await queue({ payload: "echo ran", ...EXPIRED });
    await ended(1);
    source.jobs.clear();

    const reason = "it has expired by this machine's clock and not by that of Redis. Set the clock, if it is this one";
    expect(events[1]).toMatchObject({ kind: "ended", end: { kind: "unfit", reason } });
    expect(job).toMatchObject({ released: 1, logs: [], finishes: [] });
  });

  test("is given back before its time too", async () => {
    const { queue, source, events, ended } = await start();

    const job = await queue({ payload: "echo ran", not_before: now + 120 });
    await ended(1);
    source.jobs.clear();

    const reason = "its time has come by Redis' clock and not by this machine's. Set the clock, if it is this one";
    expect(events[1]).toMatchObject({ kind: "ended", end: { kind: "unfit", reason } });
    expect(job).toMatchObject({ released: 1, logs: [], finishes: [] });
  });

  test("runs here once the clock is right", async () => {
    let aheadMs = 7_200_000;
    const verifyJob = createJobVerifier({
      supervisor: VECTORS.keys.supervisorA,
      queues: ["build-1", "build"],
      verifier: createVerifier({ crypto: "native", maxInFlight: 64 }),
      now: () => Date.now() + aheadMs,
    });
    const { queue, ended } = await start({ verifyJob });
    const job = await queue({ payload: "echo ran" });
    await ended(1);

    aheadMs = 0;
    await ended(2);

    expect(job).toMatchObject({ state: "completed", released: 1 });
  });

  test("is ended where this runner finished it before", async () => {
    const { seen, run } = await start();
    const queued = await aQueuedJob(EXPIRED);
    await seen.accepted({ id: queued.id, attempt: 1, expiresAt: now + 60 });

    const job = await run({ ...EXPIRED, id: queued.id, stored: { ...queued, firstAttempt: 2 } });

    expect(job.finishes[0]).toMatchObject({ reason: "refused: this runner has finished it already" });
  });
});

describe("Allow-list", () => {
  test("only jobs of its keys run, whatever the supervisor admits", async () => {
    const allowList = parseAllowList(`[[allow]]\nprincipal = "bob"\nkey = "${VECTORS.keys.approver}"\n`, "allow.toml");
    const { run } = await start({ allowList });

    const refused = await run({ payload: "true" });
    const allowed = await run({
      payload: "true",
      caller_id: VECTORS.keys.approver,
      signers: [aSigner("approver")],
    });

    expect(refused.finishes[0]?.reason).toBe("refused: its caller is not on this runner's allow-list");
    expect(allowed.state).toBe("completed");
  });
});
