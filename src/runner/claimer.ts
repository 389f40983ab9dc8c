/** Claims jobs with a random token, so that an answer that was lost can be asked for again and none is taken twice. */
import { randomBytes } from "node:crypto";

import type { ClaimedJob, JobSource } from "./source.ts";

/** A claim that was not answered, or whose answer is not dealt with yet. */
interface Asked {
  readonly token: string;
  readonly count: number;
  /** Monotonic, before it was first sent: no lease of it began earlier. */
  readonly sentMs: number;
}

/** Jobs and the moment from which their leases surely run. */
export interface Claim {
  readonly jobs: readonly ClaimedJob[];
  readonly sinceMs: number;
}

export interface ClaimerOptions {
  readonly source: Pick<JobSource, "leaseMs" | "claim" | "renew">;
  readonly monotonic: () => number;
}

export class Claimer {
  readonly #options: ClaimerOptions;
  #asked: Asked | undefined;

  constructor(options: ClaimerOptions) {
    this.#options = options;
  }

  /** Is there a claim whose answer never came? Jobs may hang on it. */
  get isOpen(): boolean {
    return this.#asked !== undefined;
  }

  /**
   * Takes up to `count` jobs; after a failure the same claim is repeated, whatever `count` is now.
   * @throws what the source throws: call again after a while.
   */
  async claim(count: number): Promise<Claim> {
    const { source, monotonic } = this.#options;
    this.#asked ??= { token: randomBytes(16).toString("hex"), count, sentMs: monotonic() };
    const { token, sentMs } = this.#asked;
    const jobs = await source.claim(this.#asked.count, token);
    // An answer that took long says nothing of the leases now: those that are still ours say so themselves.
    const isOld = jobs.length > 0 && monotonic() - sentMs > source.leaseMs / 3;
    const claim = isOld ? await this.#renewed(jobs) : { jobs, sinceMs: sentMs };
    this.#asked = undefined;
    return claim;
  }

  async #renewed(jobs: readonly ClaimedJob[]): Promise<Claim> {
    const sinceMs = this.#options.monotonic();
    const answers = await this.#options.source.renew(jobs.map((job) => job.lease));
    return { jobs: jobs.filter((_job, index) => answers[index]?.outcome === "renewed"), sinceMs };
  }
}
