/** ReplayStore over Redis: a nonce is good once. */
import type { RedisAccess } from "./redis-access.ts";
import { asList, asNumber, asOneOf } from "./reply.ts";
import type { NonceOutcome, ReplayStore } from "./store.ts";

export class RedisReplay implements ReplayStore {
  readonly #access: RedisAccess;

  constructor(access: RedisAccess) {
    this.#access = access;
  }

  async claimNonce(call: { key: string; nonce: string; iat: number; exp: number }): Promise<NonceOutcome> {
    const { keys, scripts } = this.#access;
    const { shard, name } = keys.nonce(call.key, call.nonce);
    const declared = [name, keys.of(shard, "revoked"), keys.of(shard, "reap")];
    const reply = await scripts.run("nonce", declared, [call.key, call.iat, call.exp]);
    const [word, now] = asList(reply);
    const outcome = asOneOf(word, ["fresh", "replay", "revoked", "stale"]);
    return outcome === "stale" ? { outcome, now: asNumber(now) } : { outcome };
  }
}
