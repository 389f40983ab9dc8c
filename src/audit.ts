/**
 * The audit trail: one structured line for each decision about who may do what. A line says who, what, about which job or
 * runner, from where and why; never payloads, environments, results or signatures.
 */
import type { EnrolledKey, KeyringChange } from "./auth/keyring.ts";
import { RateLimiter } from "./auth/rate-limit.ts";
import { errorText } from "./errors.ts";
import type { Log, LogLine } from "./log.ts";
import type { CallOutcome } from "./rpc/entry.ts";

/** Refusals of strangers that are written, a second and at once: anybody can cause them, and disks are finite. */
const STRANGERS_PER_SECOND = 20;
const STRANGERS_BURST = 200;

export interface AuditOptions {
  /** Where lines go, at level info. */
  readonly log: Pick<Log, "info">;
  /** UNIX ms. */
  readonly now: () => number;
}

/** What came of publishing a revocation. */
export type RevocationOutcome =
  | { readonly cancelled: number }
  /** It holds in this process, and others do not know of it yet. */
  | { readonly error: unknown };

export class Audit {
  readonly #log: Pick<Log, "info">;
  readonly #strangers: RateLimiter;
  #unwritten = 0;

  constructor({ log, now }: AuditOptions) {
    this.#log = log;
    this.#strangers = new RateLimiter({ perSecond: STRANGERS_PER_SECOND, burst: STRANGERS_BURST, maxEntries: 1, now });
  }

  /**
   * A finished call, where it was to change something or was refused. Reads that were answered are not decisions worth a
   * line. Refusals without a verified key are written as long as there are few; the next line says how many were not.
   */
  call(outcome: CallOutcome): void {
    const { method, effect, code, verified, subject, peer } = outcome;
    if (effect === undefined || (code === 0 && effect !== "change")) return;
    const [who] = verified;
    if (who === undefined && code !== 0 && this.#strangers.take("") > 0) {
      this.#unwritten += 1;
      return;
    }
    // Members that are undefined stay out of the line.
    this.#write({
      event: "audit",
      what: method,
      outcome: code === 0 ? "done" : "refused",
      code,
      claimed_key: who === undefined ? subject.claimedKey : undefined,
      key: who?.key,
      principal: who?.principal,
      job: subject.job,
      digest: subject.digest,
      traceparent: subject.traceparent,
      runner: subject.runner,
      transport: peer.transport,
      address: peer.address,
      node: peer.node,
      reason: outcome.reason,
      request_id: outcome.requestId,
      unwritten: this.#takeUnwritten(),
    });
  }

  /** What a new keys.toml changed: one line a key, and one where requirements did. */
  keyring({ added, changed, revoked, removed, hasOtherRequirements }: KeyringChange): void {
    for (const key of added) this.#key("key_added", key);
    for (const key of changed) this.#key(revoked.includes(key.key) ? "key_revoked" : "key_changed", key);
    for (const key of removed) this.#key("key_removed", key);
    if (hasOtherRequirements) this.#write({ event: "audit", what: "requirements_changed", outcome: "done" });
  }

  /** A key's rights ended, and what became of its jobs. */
  revocation(key: string, outcome: RevocationOutcome): void {
    this.#write({
      event: "audit",
      what: "revocation",
      key,
      ...("error" in outcome
        ? { outcome: "failed", reason: errorText(outcome.error) }
        : { outcome: "done", cancelled: outcome.cancelled }),
    });
  }

  #key(what: string, { key, name, principal, roles, runners }: EnrolledKey): void {
    this.#write({ event: "audit", what, outcome: "done", key, name, principal, roles, runners });
  }

  #takeUnwritten(): number | undefined {
    const unwritten = this.#unwritten;
    this.#unwritten = 0;
    return unwritten === 0 ? undefined : unwritten;
  }

  #write(line: LogLine & { readonly event: "audit" }): void {
    this.#log.info(line, "audit");
  }
}
