/** How often an address or a key may call. */
import type { Keyring } from "./auth/keyring.ts";
import type { Caller } from "./auth/policy.ts";
import { type Charge, RateLimiter } from "./auth/rate-limit.ts";
import type { Config } from "./config.ts";
import type { Peer } from "./rpc/transport.ts";

/** By node, or by network: asked before any signature work. */
export function createAddressLimit({ rpc }: Config, now: () => number): (peer: Peer, cost: number) => number {
  const limiter = new RateLimiter({
    perSecond: rpc.address_calls_per_second,
    burst: rpc.address_burst,
    maxEntries: 10_000,
    now,
  });
  return (peer, cost) => limiter.take(peer.node ?? networkOf(peer.address ?? peer.transport), cost);
}

const FREE: Charge = { waitMs: 0, giveBack: () => undefined };

/** Only keys with a `rate` are limited; a bucket of their own each, two seconds deep. */
export class KeyLimit {
  readonly #keyring: Keyring;
  readonly #now: () => number;
  readonly #limiters = new Map<number, RateLimiter>();

  constructor(keyring: Keyring, now: () => number) {
    this.#keyring = keyring;
    this.#now = now;
  }

  /** Takes one call from the key's allowance: ms to wait before the next try, 0 for go. */
  take({ key }: Caller): number {
    return this.#limiterOf(key)?.take(key) ?? 0;
  }

  /** The same, for a call that may turn out to cost nothing. */
  charge({ key }: Caller): Charge {
    return this.#limiterOf(key)?.charge(key) ?? FREE;
  }

  #limiterOf(key: string): RateLimiter | undefined {
    const rate = this.#keyring.find(key)?.rate;
    if (rate === undefined) return undefined;
    let limiter = this.#limiters.get(rate);
    if (limiter === undefined) {
      limiter = new RateLimiter({ perSecond: rate, burst: Math.max(1, rate * 2), maxEntries: 10_000, now: this.#now });
      this.#limiters.set(rate, limiter);
    }
    return limiter;
  }
}

/** A host has a /64 of IPv6 addresses to choose from: it is counted as one. */
function networkOf(address: string): string {
  if (!address.includes(":") || address.startsWith("::ffff:")) return address;
  const [head = "", tail = ""] = address.split("::");
  const groups = head.split(":").filter(Boolean);
  const missing = address.includes("::") ? 8 - groups.length - tail.split(":").filter(Boolean).length : 0;
  return [...groups, ...Array.from({ length: missing }, () => "0"), ...tail.split(":")].slice(0, 4).join(":");
}
