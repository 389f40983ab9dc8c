/**
 * Claiming: one script a shard takes the best jobs of all the runner's queues. On a Cluster one shard may be away while
 * the others go on: jobs that were taken are given out, and a shard that may have taken some unheard is asked again.
 */
import { setTimeout as sleep } from "node:timers/promises";

import { SupervisorError } from "../errors.ts";
import type { ClaimedJob, Lease } from "../runner/source.ts";
import type { RedisAccess } from "./redis-access.ts";
import { asList, asNumber, asOneOf, asText } from "./reply.ts";

/** Jobs one script takes: a reply carries their documents. */
const BATCH = 16;
/** Scripts in a row that only cleared expired or stale entries away, before the next poll. */
const CLEARING_ROUNDS = 10;
/** Looks in one lease at what open claims took, while no slot is free. */
const GIVING_ROUNDS = 12;

export interface RedisClaimsOptions {
  readonly access: Pick<RedisAccess, "keys" | "scripts">;
  readonly runner: string;
  /** Its name and its groups. */
  readonly queues: readonly string[];
  readonly leaseMs: number;
  /** Gives back what an open claim took and nobody has a slot for. */
  readonly release: (lease: Lease) => Promise<unknown>;
}

/** One call of the script. A repeated one finds the same jobs. */
interface Batch {
  readonly shard: number;
  readonly token: string;
  readonly most: number;
}

export class RedisClaims {
  readonly #options: RedisClaimsOptions;
  /** Calls whose answer never came, while other shards had jobs to give. */
  readonly #open = new Set<Batch>();
  /** One look at the open ones at a time: what one of them keeps, another must not give back. */
  #look: Promise<unknown> = Promise.resolve();
  #isGivingBack = false;
  #calls = 0;

  constructor(options: RedisClaimsOptions) {
    this.#options = options;
  }

  /**
   * Takes up to `count` jobs. A round over the shards begins where the token says: fair over many claims, and the same
   * round for a repeated one, so that it finds the same jobs.
   * @throws SupervisorError("unavailable") when no shard gave a job and one failed.
   */
  async claim(count: number, token: string): Promise<readonly ClaimedJob[]> {
    const { keys } = this.#options.access;
    this.#calls += 1;
    const call = this.#calls;
    const jobs = [...(await this.#claimOpen(count, token))];
    const first = keys.shardOf(token);
    const failed: { readonly batch: Batch; readonly error: unknown }[] = [];
    for (let step = 0; step < keys.shards && jobs.length < count; step += 1) {
      const shard = (first + step) % keys.shards;
      for (let number = 0, isFull = true; isFull && jobs.length < count; number += 1) {
        // A script's claim is known by its token; further batches of one shard have tokens of their own.
        const batchToken = number === 0 ? token : `${token}.${number}`;
        const batch = { shard, token: batchToken, most: Math.min(BATCH, count - jobs.length) };
        const taken = await this.#claimBatch(batch).catch((error: unknown) => {
          failed.push({ batch, error });
          return [];
        });
        jobs.push(...taken);
        isFull = taken.length === BATCH;
      }
    }
    const [failure] = failed;
    if (failure !== undefined && jobs.length === 0) throw failure.error;
    // Repeated meanwhile, since this answer came too late: the shards were asked again, and what they gave may be running.
    if (call === this.#calls) this.#keepOpen(failed, jobs.length >= count);
    return jobs;
  }

  #keepOpen(failed: readonly { readonly batch: Batch; readonly error: unknown }[], isFull: boolean): void {
    for (const { batch, error } of failed) if (mayHaveTaken(error)) this.#open.add(batch);
    // No slot is free, and the next claim may be far: nobody would renew what they took.
    if (isFull && this.#open.size > 0) void this.#giveBack();
  }

  /** Until they have answered, or what they took has run out. */
  async #giveBack(): Promise<void> {
    if (this.#isGivingBack) return;
    this.#isGivingBack = true;
    const { leaseMs } = this.#options;
    for (let round = 0; round < GIVING_ROUNDS && this.#open.size > 0; round += 1) {
      await this.#claimOpen(0, "").catch(() => undefined);
      await sleep(leaseMs / GIVING_ROUNDS, undefined, { ref: false });
    }
    this.#isGivingBack = false;
  }

  async #claimOpen(count: number, token: string): Promise<readonly ClaimedJob[]> {
    const looked = this.#look.then(async () => this.#lookAtOpen(count, token));
    this.#look = looked.catch(() => undefined);
    return looked;
  }

  /** What the calls took whose answers never came; at most `count` of it is kept. */
  async #lookAtOpen(count: number, token: string): Promise<readonly ClaimedJob[]> {
    const kept: ClaimedJob[] = [];
    for (const batch of this.#open) {
      // The same claim repeated asks that shard again by itself.
      if (batch.token.split(".")[0] !== token) {
        const taken = await this.#claimBatch(batch).catch(() => undefined);
        if (taken === undefined) continue;
        const surplus = taken.slice(count - kept.length);
        kept.push(...taken.slice(0, count - kept.length));
        await Promise.all(surplus.map(async ({ lease }) => this.#options.release(lease)));
      }
      this.#open.delete(batch);
    }
    return kept;
  }

  async #claimBatch({ shard, token, most }: Batch): Promise<readonly ClaimedJob[]> {
    const { access, runner, queues, leaseMs } = this.#options;
    const { keys, scripts } = access;
    const declared = [
      keys.of(shard, "leases"),
      keys.claim(shard, token),
      keys.of(shard, "expiry"),
      keys.of(shard, "bytes"),
      ...queues.flatMap((queue) => [keys.queue(shard, queue), keys.delayed(shard, queue)]),
    ];
    for (let round = 0; round < CLEARING_ROUNDS; round += 1) {
      const reply = asList(await scripts.run("claim", declared, [runner, token, most, leaseMs, ...queues]));
      if (asOneOf(reply[0], ["claimed", "unregistered"]) === "unregistered") return [];
      const jobs = reply.slice(2).map((job) => parseClaimed(job, token));
      if (jobs.length > 0 || asNumber(reply[1]) === 0) return jobs;
    }
    return [];
  }
}

/** Sent, and no answer came: jobs may hang on it. */
function mayHaveTaken(error: unknown): boolean {
  return !(error instanceof SupervisorError) || error.data?.["applied"] !== "no";
}

function parseClaimed(reply: unknown, token: string): ClaimedJob {
  const [id, attempt, cancelling, queue, document, signatures, ticket] = asList(reply);
  return {
    lease: { id: asText(id), attempt: asNumber(attempt), token },
    document: asText(document),
    signatures: asText(signatures),
    ticket: asText(ticket),
    queue: asText(queue),
    isCancelling: cancelling === "1",
  };
}
