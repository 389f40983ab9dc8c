/** Another runner of the same group, played by the kit: it takes over what the runner under test lost. */
import { randomBytes } from "node:crypto";

import { registerRunner } from "../support/registration.ts";
import type { Candidate } from "./candidate.ts";
import { expectThat } from "./check.ts";
import type { TestJob } from "./job.ts";

/** Longer than any check, so that it need not renew. */
const LEASE_MS = 600_000;

export class Rival {
  readonly #candidate: Candidate;
  readonly #token = randomBytes(16).toString("hex");
  readonly #attempts = new Map<string, number>();

  private constructor(candidate: Candidate) {
    this.#candidate = candidate;
  }

  get #name(): string {
    return `${this.#candidate.name}-rival`;
  }

  /** Registers it in the runner's group. */
  static async of(candidate: Candidate): Promise<Rival> {
    await registerRunner(candidate.site.node, `${candidate.name}-rival`, { groups: [candidate.group] });
    return new Rival(candidate);
  }

  /** Takes a lease over as a reaper and a claim between two renewals would: another attempt, another token. */
  async steal(job: TestJob): Promise<void> {
    const { redis, keys } = job.site;
    const attempt = (await job.record()).attempt + 1;
    this.#attempts.set(job.id, attempt);
    const fence = { attempt: String(attempt), token: this.#token, attempt_log_count: "0", attempt_log_bytes: "0" };
    await redis
      .multi()
      .hset(keys.job(job.id), { ...fence, runner: this.#name })
      .zadd(keys.of(keys.shardOf(job.id), "leases"), Date.now() + LEASE_MS, job.id)
      .exec();
  }

  /** Claims jobs that wait in the group's queue. */
  async claim(jobs: readonly TestJob[]): Promise<void> {
    const { site, group } = this.#candidate;
    const { keys } = site;
    for (const shard of new Set(jobs.map(({ id }) => keys.shardOf(id)))) {
      const declared = [keys.of(shard, "leases"), keys.claim(shard, this.#token), keys.of(shard, "expiry")];
      const queues = [keys.queue(shard, group), keys.delayed(shard, group)];
      await site.call(
        "claim",
        [...declared, keys.of(shard, "bytes"), ...queues],
        [this.#name, this.#token, 16, LEASE_MS, group],
      );
    }
    for (const job of jobs) {
      const { attempt, runner } = await job.record();
      expectThat(runner === this.#name, "the kit could not take a job over");
      this.#attempts.set(job.id, attempt);
    }
  }

  /** Hands in an outcome, with its own result and no receipt. */
  async finish(job: TestJob): Promise<void> {
    const { site } = job;
    const { keys } = site;
    const declared = [keys.job(job.id), keys.of(keys.shardOf(job.id), "leases")];
    const fence = [job.id, this.#attempts.get(job.id) ?? 0, this.#token];
    const outcome = ["completed", 0, "", "0", 1, 1, 0, JSON.stringify({ text: "by the rival" }), ""];
    const answer = await site.call("finish", declared, [...fence, ...outcome]);
    expectThat(JSON.stringify(answer) === '["accepted","completed"]', `the rival's outcome: ${JSON.stringify(answer)}`);
  }
}
