/** What Redis may do to a runner. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { type Check, expectSame, seen, type Stage } from "../check.ts";
import { linesOf } from "../job.ts";
import type { Site } from "../site.ts";

/** Longer than any of these outages, so that no lease is lost by them. */
const LEASE_MS = 5000;
/** A line every tenth of a second. */
const LINES = 20;
const PAYLOAD = `for i in $(seq ${LINES}); do echo $i; sleep 0.1; done; echo 42 > $HORUS_RESULT`;

/** The supervisor's own way back to Redis, at the longest. */
const RECONNECT_MS = 30_000;

/** Is this connection another's than the runner's? */
type IsOther = (connection: string) => boolean;

/** While a job prints, something is done to Redis; its log is whole, and the next job runs. */
async function through(stage: Stage, site: Site, outage: (isOther: IsOther) => Promise<void>): Promise<void> {
  // Those of the supervisor and the kit: how they go on without is not what is looked at.
  const others = new Set(await site.connections());
  const candidate = await stage.own({}, site);
  const job = await candidate.submit({ payload: PAYLOAD });
  await job.when("the job has begun", ({ logCount }) => logCount > 0);
  await outage((connection) => others.has(connection));
  const ended = await job.ended("completed");
  expectSame("attempt and losses", [ended.view.attempt, ended.view.losses], [1, 0]);
  const lines = Array.from({ length: LINES }, (_, index) => String(index + 1));
  expectSame("lines", linesOf(ended), lines);
  expectSame("result", ended.view.result, { text: "42\n" });
  await candidate.expectGoesOn();
}

/** The kit looks through the supervisor, which dials Redis anew after a while of its own. */
async function supervisorReaches({ node }: Site): Promise<void> {
  const { jobs } = node.store;
  const answers = async () => jobs.get(randomUUID()).then(isDone, isAway);
  await seen("the supervisor reaches Redis again", answers, { ms: RECONNECT_MS });
}

const isDone = () => true;
const isAway = () => false;

export const OUTAGE_CHECKS: readonly Check[] = [
  {
    name: "redis-restart",
    clause: "What may be lost on the way",
    does: "Redis is killed while a job prints, and started again on the same data",
    sees: "completed by attempt 1, every line once, a receipt that holds; the next job runs",
    async run(stage) {
      const site = await stage.ownSite({ leaseMs: LEASE_MS, isDurable: true });
      await through(stage, site, async () => {
        await site.server.kill("SIGKILL");
        await site.server.restart();
        await supervisorReaches(site);
      });
    },
  },
  {
    name: "connections-cut",
    clause: "What may be lost on the way",
    does: "all connections of the runner are closed, several times, while a job prints",
    sees: "completed by attempt 1, every line once, a receipt that holds; the next job runs",
    async run(stage) {
      const site = await stage.ownSite({ leaseMs: LEASE_MS });
      await through(stage, site, async (isOther) => {
        for (let time = 0; time < 4; time += 1) {
          for (const id of await site.connections())
            if (!isOther(id)) await site.redis.call("CLIENT", "KILL", "ID", id);
          await sleep(200);
        }
      });
    },
  },
  {
    name: "no-script",
    clause: "Scripts",
    does: "the script cache is emptied (SCRIPT FLUSH) again and again while a job prints",
    sees: "completed by attempt 1, every line once, a receipt that holds; the next job runs",
    async run(stage) {
      const site = await stage.ownSite({ leaseMs: LEASE_MS });
      await through(stage, site, async () => {
        for (let time = 0; time < 20; time += 1) {
          await site.redis.script("FLUSH");
          await sleep(50);
        }
      });
    },
  },
];
