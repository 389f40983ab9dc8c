/** The only speller of key names: every key of the Redis store, in one place. */
import { createHash } from "node:crypto";

/** Names of a shard's keys that hold the shard's own state, beside those of jobs, queues, keys and runners. */
type ShardKey =
  | "leases"
  | "expiry"
  | "seq"
  | "jobs"
  | "bytes"
  | "revoked"
  | "names"
  | "reap"
  /** Which keyring each supervisor goes by: shard 0 alone. */
  | "keyrings"
  /** Keys that were enrolled when the supervisors last agreed: shard 0 alone. */
  | "enrolled"
  /** The registry: shard 0 alone. */
  | "runners"
  | "groups";

/** What encoding leaves as it is. */
const PLAIN_NAME = /^[A-Za-z0-9_.-]*$/u;

/**
 * Key names `<prefix>:{s<shard>}:…`: the hash tag puts a shard's keys on one node of a Cluster, so that one script may
 * touch them all (spec: jobs-and-redis, rule 1). The scripts make further names from the same tag.
 */
export class RedisKeys {
  readonly prefix: string;
  readonly shards: number;
  /** What each shard's keys begin with. */
  readonly #bases: readonly string[];

  /** @throws Error when the prefix could end the hash tag or hold a separator. */
  constructor(options: { readonly prefix: string; readonly shards: number }) {
    if (!/^[A-Za-z0-9_.-]{1,32}$/u.test(options.prefix)) {
      throw new Error(`redis.prefix "${options.prefix}" is not 1 to 32 letters, digits, "_", "." or "-".`);
    }
    this.prefix = options.prefix;
    this.shards = options.shards;
    this.#bases = this.allShards.map((shard) => `${this.prefix}:{s${shard}}`);
  }

  /** Identity, shard count, generation and what runners must know; it exists before the shard count is known. */
  static meta(prefix: string): string {
    return `${prefix}:meta`;
  }

  /** All shards: `[0, 1, …]`. */
  get allShards(): readonly number[] {
    return Array.from({ length: this.shards }, (_, shard) => shard);
  }

  /** First four bytes of SHA-256 of a job id (or nonce), mod the number of shards. */
  shardOf(id: string): number {
    // Where there is one, its number needs no hash: asked for several times a call.
    if (this.shards === 1) return 0;
    return createHash("sha256").update(id).digest().readUInt32BE(0) % this.shards;
  }

  of(shard: number, name: ShardKey): string {
    return `${this.#base(shard)}:${name}`;
  }

  job(id: string): string {
    return `${this.#base(this.shardOf(id))}:job:${id}`;
  }

  log(id: string): string {
    return `${this.#base(this.shardOf(id))}:log:${id}`;
  }

  tomb(id: string): string {
    return `${this.#base(this.shardOf(id))}:tomb:${id}`;
  }

  queue(shard: number, queue: string): string {
    return `${this.#base(shard)}:q:${queue}`;
  }

  delayed(shard: number, queue: string): string {
    return `${this.#base(shard)}:delayed:${queue}`;
  }

  /** Next start tags of the callers of a fair queue. */
  fair(shard: number, queue: string): string {
    return `${this.#base(shard)}:fair:${queue}`;
  }

  own(shard: number, principal: string): string {
    return `${this.#base(shard)}:own:${RedisKeys.owner(principal)}`;
  }

  done(shard: number, state: string): string {
    return `${this.#base(shard)}:done:${state}`;
  }

  signer(shard: number, key: string): string {
    return `${this.#base(shard)}:signer:${key}`;
  }

  claim(shard: number, token: string): string {
    return `${this.#base(shard)}:claim:${token}`;
  }

  /** Nonces are spread over the shards. */
  nonce(key: string, nonce: string): { readonly shard: number; readonly name: string } {
    const shard = this.shardOf(nonce);
    return { shard, name: `${this.#base(shard)}:nonce:${key}:${nonce}` };
  }

  /** A runner's evidence, beside the registry. */
  beat(runner: string): string {
    return `${this.#base(0)}:beat:${runner}`;
  }

  /** Live runners that serve a name, beside the registry. */
  live(name: string): string {
    return `${this.#base(0)}:live:${name}`;
  }

  /** Channel: something was queued. */
  hintChannel(queue: string): string {
    return `${this.prefix}:hint:${queue}`;
  }

  /** Channel: a job changed; the message is its id. */
  get eventsChannel(): string {
    return `${this.prefix}:events`;
  }

  /** Channel: a running job of this runner is to be cancelled; the message is its id. */
  cancelChannel(runner: string): string {
    return `${this.prefix}:cancel:${runner}`;
  }

  /** A principal is free text: braces and separators in it must not make another key. */
  static owner(principal: string): string {
    if (PLAIN_NAME.test(principal)) return principal;
    return encodeURIComponent(Buffer.from(principal, "utf8").toString("utf8"));
  }

  #base(shard: number): string {
    return this.#bases[shard] ?? `${this.prefix}:{s${shard}}`;
  }
}
