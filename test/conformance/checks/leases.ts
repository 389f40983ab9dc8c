/** What happens to leases: kept, lost, frozen away, given back. */
import { setTimeout as sleep } from "node:timers/promises";

import { GRACE_SECONDS } from "../candidate.ts";
import { type Check, expectSame, expectThat, seen } from "../check.ts";
import { expectGone, linesOf, Proof, type TestJob } from "../job.ts";
import { Rival } from "../rival.ts";

/** From the end of the grace to the end of the process, in ms: a SIGKILL that may be needed, and what a busy machine takes. */
const STOP_MS = GRACE_SECONDS * 1000 + 20_000;

/** Says in the proof that it runs, and if ever it is asked to end instead of killed. */
function untilKilled(proof: Proof, each = ":"): string {
  return `trap 'echo asked >> ${proof.path}.asked' TERM; echo $$ >> ${proof.path}; while :; do ${each}; sleep 0.1; done`;
}

/** Ends when it is asked to, and says so in the proof. */
function polite(proof: Proof): string {
  return `trap 'echo asked >> ${proof.path}.asked; exit 1' TERM; echo $$ >> ${proof.path}; while :; do sleep 0.1; done`;
}

/** The job's process was killed, and not asked before: whoever has the lease may be running it already. */
async function expectKilled(job: TestJob, proof: Proof, ms: number): Promise<void> {
  await expectGone(await proof.pids(job), ms);
  expectSame("SIGTERM to a process whose lease is lost", await proof.asked(), []);
}

export const LEASE_CHECKS: readonly Check[] = [
  {
    name: "drain-gives-back",
    clause: "release",
    does: `a runner with ${GRACE_SECONDS} s of grace gets SIGTERM while an endless job runs, and one that must not run twice`,
    sees: "both get SIGTERM; the first waits again, with no failure and no loss counted; the second failed; the runner ends, its name is free",
    async run(stage) {
      const candidate = await stage.own({ slots: 2 });
      const [proof, once] = [new Proof(stage.site), new Proof(stage.site)];
      const job = await candidate.submit({ payload: polite(proof) });
      const single = await candidate.submit({ payload: polite(once), on_loss: "fail", max_attempts: 3 });
      const pids = [...(await proof.pids(job)), ...(await once.pids(single))];
      await candidate.stop(STOP_MS);
      await expectGone(pids, 1000);
      expectSame("who was asked to end", [await proof.asked(), await once.asked()], [["asked"], ["asked"]]);
      const { state, failures, losses } = await job.record();
      expectSame("the endless job", [state, failures, losses], ["pending", 0, 0]);
      const other = await single.record();
      expectSame("the job that must not run twice", [other.state, other.losses], ["failed", 0]);
      expectSame("the heartbeat's last word: detached", await candidate.evidence("detached"), "1");
    },
  },
  {
    name: "drain-lets-finish",
    clause: "heartbeat",
    does: "a runner with one slot gets SIGTERM while a short job runs and another waits",
    sees: "the running one ends or is given back, counted as neither lost nor failed; the waiting one is not claimed; it says draining; the runner ends",
    async run(stage) {
      const candidate = await stage.own();
      const proof = new Proof(stage.site);
      const payload = `echo $$ >> ${proof.path}; until [ -e ${proof.path}.go ]; do sleep 0.05; done`;
      const job = await candidate.submit({ payload });
      await proof.pids(job);
      const waiting = await candidate.submit({ payload: "true" });
      candidate.signal("SIGTERM");
      await seen("the heartbeat says draining", async () => (await candidate.evidence("draining")) === "1", {
        ms: candidate.patienceMs,
        signal: candidate.ended,
      });
      await proof.letGo();
      await seen("the runner ends", () => !candidate.isUp, { ms: STOP_MS });
      const { state, failures, losses } = await job.record();
      expectThat(state === "completed" || state === "pending", `the running job is ${state}`);
      expectSame("failures and losses", [failures, losses], [0, 0]);
      const other = await waiting.record();
      expectSame("the waiting job's state and attempt", [other.state, other.attempt], ["pending", 0]);
    },
  },
  {
    name: "frozen",
    clause: "renew",
    does: "a runner is stopped (SIGSTOP) beyond its lease with two jobs, one of which ends meanwhile; both are reaped, taken over, and it is thawed",
    sees: "the process that still ran is killed at once, nothing is written any more, the other's outcome stands, and the runner goes on",
    async run(stage) {
      const candidate = await stage.own({ slots: 2 });
      const rival = await Rival.of(candidate);
      const proof = new Proof(stage.site);
      const short = new Proof(stage.site);
      const runner = candidate.group;
      const job = await candidate.submit({ payload: untilKilled(proof, "echo tick"), runner });
      const waits = `echo $$ >> ${short.path}; until [ -e ${short.path}.go ]; do sleep 0.05; done; echo late`;
      const ends = await candidate.submit({ payload: `${waits}; echo own > $HORUS_RESULT`, runner });
      await proof.pids(job);
      const shortPids = await short.pids(ends);
      candidate.signal("SIGSTOP");
      await short.letGo();
      await expectGone(shortPids, candidate.patienceMs);
      for (const each of [job, ends]) {
        await each.when("the lease is reaped", ({ state, losses }) => state === "pending" && losses === 1);
      }
      await rival.claim([job, ends]);
      const stored = [(await job.record()).logCount, (await ends.record()).logCount];
      candidate.signal("SIGCONT");
      await expectKilled(job, proof, candidate.patienceMs);
      await sleep(stage.site.leaseMs);
      expectSame("log entries", [(await job.record()).logCount, (await ends.record()).logCount], stored);
      await rival.finish(job);
      await rival.finish(ends);
      for (const each of [job, ends]) {
        const { state, result, attempt } = await each.record();
        expectSame("outcome", [state, result, attempt], ["completed", '{"text":"by the rival"}', 2]);
      }
      await candidate.expectGoesOn();
    },
  },
  {
    name: "frozen-alone",
    clause: "renew",
    does: "a runner is stopped (SIGSTOP) beyond its lease, its job is reaped, nobody takes it over, and it is thawed",
    sees: "it claims the job again as attempt 2 and completes it, one loss counted",
    async run(stage) {
      const candidate = await stage.own();
      const proof = new Proof(stage.site);
      const payload = `echo $HORUS_ATTEMPT >> ${proof.path}; [ $HORUS_ATTEMPT -gt 1 ] || sleep 60`;
      const job = await candidate.submit({ payload });
      await proof.pids(job);
      candidate.signal("SIGSTOP");
      await job.when("the lease is reaped", ({ losses }) => losses === 1);
      candidate.signal("SIGCONT");
      const { view } = await job.ended("completed");
      expectSame("attempt and losses", [view.attempt, view.losses], [2, 1]);
      expectSame("what ran", await proof.lines(), ["1", "2"]);
    },
  },
  {
    name: "killed",
    clause: "attach",
    does: "a runner is killed (SIGKILL) while a job runs, and started again under its name",
    sees: "it waits until the name is free, runs the job again as attempt 2, one loss counted",
    async run(stage) {
      const candidate = await stage.own();
      const proof = new Proof(stage.site);
      const payload = `echo $HORUS_ATTEMPT >> ${proof.path}; [ $HORUS_ATTEMPT -gt 1 ] || sleep 60`;
      const job = await candidate.submit({ payload });
      await proof.pids(job);
      await candidate.kill();
      await candidate.start();
      const { view } = await job.ended("completed");
      expectSame("attempt and losses", [view.attempt, view.losses], [2, 1]);
    },
  },
  {
    name: "one-process-a-name",
    clause: "attach",
    does: "a second process of the name is started while the first runs a job in its only slot, and another job waits",
    sees: "for two leases the second takes neither the name nor the job",
    async run(stage) {
      const candidate = await stage.own();
      const proof = new Proof(stage.site);
      const job = await candidate.submit({
        payload: `echo $$ >> ${proof.path}; until [ -e ${proof.path}.go ]; do sleep 0.05; done`,
      });
      await proof.pids(job);
      const waiting = await candidate.submit({ payload: "true" });
      const before = await candidate.evidence("process");
      const others = new Set(await stage.site.connections());
      const second = candidate.spawn();
      await seen(
        "the second process asks Redis, or ends",
        async () => !second.isUp || (await stage.site.connections()).some((id) => !others.has(id)),
        { ms: candidate.patienceMs },
      );
      await sleep(stage.site.leaseMs * 2);
      expectSame("who has the name", await candidate.evidence("process"), before);
      const { state, attempt } = await waiting.record();
      expectSame("the waiting job's state and attempt", [state, attempt], ["pending", 0]);
      await second.stop("SIGKILL");
      await proof.letGo();
      await Promise.all([job.ended("completed"), waiting.ended("completed")]);
    },
  },
  {
    name: "removed",
    clause: "heartbeat",
    does: "the runner's registration is removed",
    sees: "the runner ends",
    async run(stage) {
      const candidate = await stage.own();
      await stage.site.node.client("ops").call("remove_runner", { name: candidate.name, force: true });
      await seen("the runner ends", () => !candidate.isUp, { ms: candidate.patienceMs });
    },
  },
  {
    name: "renewed",
    clause: "renew",
    does: "a job runs for two and a half leases",
    sees: "completed by attempt 1, no loss",
    async run(stage) {
      const candidate = await stage.common();
      const job = await candidate.submit({ payload: `sleep ${(stage.site.leaseMs * 2.5) / 1000}; echo slept` });
      const ended = await job.ended("completed");
      expectSame("attempt and losses", [ended.view.attempt, ended.view.losses], [1, 0]);
      expectSame("lines", linesOf(ended), ["slept"]);
    },
  },
  {
    name: "lease-stolen",
    clause: "renew",
    does: "the lease of a silent job goes to another attempt between two renewals",
    sees: "its process is killed at once and without SIGTERM, nothing is written for it, the other's outcome stands",
    async run(stage) {
      const candidate = await stage.common();
      const rival = await Rival.of(candidate);
      const proof = new Proof(stage.site);
      const job = await candidate.submit({ payload: untilKilled(proof) });
      await proof.pids(job);
      await rival.steal(job);
      // Renewals come three times a lease; a SIGKILL that waits for anything comes later.
      await expectKilled(job, proof, stage.site.leaseMs * 2);
      await rival.finish(job);
      const { state, result } = await job.record();
      expectSame("outcome", [state, result], ["completed", '{"text":"by the rival"}']);
      await candidate.expectGoesOn();
    },
  },
  {
    name: "slots",
    clause: "claim",
    does: "a runner registered for two jobs at a time has five in its queue",
    sees: "never more than two are claimed, and all are run",
    async run(stage) {
      const candidate = await stage.own({ slots: 2 });
      const payload = "sleep 0.3";
      const jobs = await Promise.all(Array.from({ length: 5 }, async () => candidate.submit({ payload })));
      let most = 0;
      await seen(
        "all jobs complete",
        async () => {
          const states = await Promise.all(jobs.map(async (job) => (await job.record()).state));
          most = Math.max(most, states.filter((state) => state === "running").length);
          return states.every((state) => state === "completed");
        },
        { ms: candidate.patienceMs, signal: candidate.ended },
      );
      expectThat(most <= 2, `${most} jobs were claimed at a time`);
    },
  },
  {
    name: "poll",
    clause: "claim",
    does: "a job becomes due while no hint is sent",
    sees: "it is taken all the same",
    async run(stage) {
      const candidate = await stage.common();
      const notBefore = Math.floor(Date.now() / 1000) + 2;
      const job = await candidate.submit({ payload: "true", not_before: notBefore });
      await job.ended("completed");
    },
  },
];
