/** How a process is ended: cancel, timeout, and what it leaves behind. */
import { type Check, expectSame, expectThat, type Stage } from "../check.ts";
import { expectGone, type JobWishes, linesOf, Proof, type TestJob } from "../job.ts";

const CLAUSE = "How a process ends";
/** From the end of a job to the end of what it started, in ms: nothing of it may be waited for. */
const SOON_MS = 3000;

/** Says that it was asked to end, and ends. */
const POLITE = "trap 'echo asked; exit 7' TERM; echo ready; while :; do sleep 0.05; done";

/** Two processes of one group that do not hear SIGTERM. */
function stubborn(proof: Proof): string {
  return `trap '' TERM; (while :; do sleep 0.1; done) & echo $! >> ${proof.path}; echo $$ >> ${proof.path}; while :; do sleep 0.1; done`;
}

function leavingChild(proof: Proof): string {
  return `(trap '' TERM; sleep 300) & echo $! > ${proof.path}; echo done`;
}

interface Begun {
  readonly job: TestJob;
  readonly proof: Proof;
}

async function begin(
  stage: Stage,
  payload: (proof: Proof) => string,
  wishes: Omit<JobWishes, "payload">,
): Promise<Begun> {
  const candidate = await stage.common();
  const proof = new Proof(stage.site);
  return { proof, job: await candidate.submit({ ...wishes, payload: payload(proof) }) };
}

export const ENDING_CHECKS: readonly Check[] = [
  {
    name: "timeout-kills-group",
    clause: CLAUSE,
    does: "a job with a timeout of 1 s and its child ignore SIGTERM",
    sees: "timeout, a receipt that says so, both processes gone",
    async run(stage) {
      const { job, proof } = await begin(stage, stubborn, { timeout: 1 });
      const pids = await proof.pids(job, 2);
      const { view } = await job.ended("timeout");
      await expectGone(pids, SOON_MS);
      expectSame("code", view.code, 137);
    },
  },
  {
    name: "timeout-asks-first",
    clause: CLAUSE,
    does: "a job with a timeout of 1 s ends when it gets SIGTERM",
    sees: "timeout with the exit code, and the line it printed when it was asked",
    async run(stage) {
      const { job } = await begin(stage, () => POLITE, { timeout: 1 });
      const ended = await job.ended("timeout");
      expectSame("code", ended.view.code, 7);
      expectSame("lines", linesOf(ended), ["ready", "asked"]);
    },
  },
  {
    name: "timeout-is-retried",
    clause: CLAUSE,
    does: "a job with two attempts times out in the first",
    sees: "completed by attempt 2, one failure",
    async run(stage) {
      const payload = '[ "$HORUS_ATTEMPT" = 2 ] || sleep 60';
      const { job } = await begin(stage, () => payload, { timeout: 1, max_attempts: 2 });
      const { view } = await job.ended("completed");
      expectSame("attempt and failures", [view.attempt, view.failures], [2, 1]);
    },
  },
  {
    name: "cancel-kills-group",
    clause: CLAUSE,
    does: "a running job is cancelled; it and its child ignore SIGTERM",
    sees: "cancelled, both processes gone, not retried though more attempts are allowed",
    async run(stage) {
      const { job, proof } = await begin(stage, stubborn, { max_attempts: 3 });
      const pids = await proof.pids(job, 2);
      await job.cancel();
      const { view } = await job.ended("cancelled");
      await expectGone(pids, SOON_MS);
      expectSame("attempt", view.attempt, 1);
    },
  },
  {
    name: "cancel-asks-first",
    clause: CLAUSE,
    does: "a running job is cancelled and ends when it gets SIGTERM",
    sees: "cancelled with its exit code, and the line it printed when it was asked",
    async run(stage) {
      const { job } = await begin(stage, () => POLITE, {});
      await job.when("the job has begun", ({ logCount }) => logCount === 1);
      await job.cancel();
      const ended = await job.ended("cancelled");
      expectSame("code", ended.view.code, 7);
      expectSame("lines", linesOf(ended), ["ready", "asked"]);
    },
  },
  {
    name: "cancel-without-hint",
    clause: "renew",
    does: "a job is marked as to be cancelled and the hint is lost",
    sees: "cancelled: the renewal's answer says so",
    async run(stage) {
      const { job } = await begin(stage, () => POLITE, {});
      await job.when("the job has begun", ({ logCount }) => logCount === 1);
      const { redis, keys } = stage.site;
      await redis.hset(keys.job(job.id), { cancelling: "1", cancel_reason: "cancelled by the kit" });
      const { view } = await job.ended("cancelled");
      expectSame("reason", view.reason, "cancelled by the kit");
    },
  },
  {
    name: "group-ends-with-job",
    clause: CLAUSE,
    does: "a job exits and leaves a child behind that ignores SIGTERM and holds its output open",
    sees: "completed without waiting for the child, which is gone",
    async run(stage) {
      const { job, proof } = await begin(stage, leavingChild, {});
      const pids = await proof.pids(job);
      const ended = await job.ended("completed");
      await expectGone(pids, SOON_MS);
      expectThat(linesOf(ended).join() === "done", "a line is missing");
    },
  },
];
