/**
 * Carries the keyring into the store that supervisors share: revocations are published and their jobs ended, and digests
 * are compared, since two supervisors with two keyrings would decide differently about one caller.
 */
import type { Audit } from "./audit.ts";
import type { Keyring } from "./auth/keyring.ts";
import type { Verifier } from "./auth/native-verifier.ts";
import { errorText } from "./errors.ts";
import type { Log } from "./log.ts";
import type { Store } from "./store/store.ts";

/** Between two comparisons, in ms; what another supervisor said counts for three of them. */
const INTERVAL_MS = 10_000;
const SHOWN_DIGEST = 12;

export interface KeyringSyncOptions {
  readonly keyring: Keyring;
  readonly store: Pick<Store, "revocations" | "keyrings">;
  readonly verifier: Pick<Verifier, "forget">;
  readonly audit: Audit;
  readonly log: Log;
  /** Tells this process from others with the same identity. */
  readonly supervisor: string;
  /** Between two comparisons, in ms; 10 s unless told. */
  readonly intervalMs?: number;
}

/** Works from start() to stop(). */
export class KeyringSync {
  readonly #options: KeyringSyncOptions;
  readonly #stops: (() => void)[] = [];
  readonly #warned = new Set<string>();
  #problem: string | undefined;
  #isFailing = false;
  /** Revocations that are being carried out: a stop waits for them. */
  readonly #running = new Set<Promise<void>>();

  constructor(options: KeyringSyncOptions) {
    this.#options = options;
    const { keyring, audit } = options;
    this.#stops.push(
      keyring.onReplaced((change) => {
        audit.keyring(change);
        this.#run(this.compare());
      }),
      keyring.onRevoked((key) => this.#run(this.#revoke(key))),
    );
  }

  /** Each with its fix: health is red while there are any. */
  get problems(): readonly string[] {
    return this.#problem === undefined ? [] : [this.#problem];
  }

  /** Publishes what the file revokes, compares, and goes on comparing. @throws SupervisorError `unavailable` */
  async start(): Promise<void> {
    const { keyring, store, intervalMs = INTERVAL_MS } = this.#options;
    const revoked = keyring.all().filter((key) => key.revokedAtMs !== undefined);
    await store.revocations.revoke(revoked.map((key) => key.key));
    await this.compare();
    const timer = setInterval(() => this.#run(this.compare()), intervalMs).unref();
    this.#stops.push(() => clearInterval(timer));
  }

  /** Takes back what it said, so that a supervisor that stopped on purpose is not compared with. */
  async stop(): Promise<void> {
    for (const stop of this.#stops.splice(0)) stop();
    await Promise.all(this.#running);
    await this.#options.store.keyrings.withdraw(this.#options.supervisor).catch(() => undefined);
  }

  /** One comparison. Never throws: a store that is away has a red health of its own. */
  async compare(): Promise<void> {
    const { keyring, store, supervisor, intervalMs = INTERVAL_MS, log } = this.#options;
    try {
      const { digest } = keyring;
      const others = await store.keyrings.compare({ supervisor, digest, keepMs: 3 * intervalMs });
      this.#judge(
        digest,
        others.find((other) => other !== digest),
      );
      await this.#warnOfRevoked();
      this.#isFailing = false;
    } catch (error) {
      if (!this.#isFailing)
        log.warn({ event: "keyring_check_failed", error: errorText(error) }, "keyrings not compared");
      this.#isFailing = true;
    }
  }

  #judge(ours: string, other: string | undefined): void {
    const problem =
      other === undefined
        ? undefined
        : `keys.toml differs between the supervisors on this Redis (ours ${ours.slice(0, SHOWN_DIGEST)}, ` +
          `another's ${other.slice(0, SHOWN_DIGEST)}): one caller gets two answers. Copy one file to all of them.`;
    if (problem !== undefined && this.#problem === undefined) {
      this.#options.log.error({ event: "keyrings_differ", ours, other }, problem);
    }
    this.#problem = problem;
  }

  /** Enrolled, and revoked in Redis: every call of it is refused, and nothing in the file says why. */
  async #warnOfRevoked(): Promise<void> {
    const { keyring, store, log } = this.#options;
    const alive = keyring.all().filter(({ key }) => keyring.find(key) !== undefined);
    const revoked = new Set(await store.keyrings.findRevoked(alive.map(({ key }) => key)));
    for (const { key, name } of alive) {
      if (!revoked.has(key) || this.#warned.has(key)) continue;
      this.#warned.add(key);
      log.warn({ event: "key_is_revoked", key, name }, revokedForEver(name));
    }
  }

  /** Published first, so that every supervisor on this Redis refuses the key, then its jobs end. */
  async #revoke(key: string): Promise<void> {
    const { store, keyring, verifier, audit, log } = this.#options;
    verifier.forget(key);
    try {
      await store.revocations.revoke([key]);
      const entry = keyring.all().find((known) => known.key === key);
      const cancelled = await store.revocations.cancelJobsOf(key, entry?.cancelRunning ?? false);
      audit.revocation(key, { cancelled });
      log.info({ event: "key_revoked", key, cancelled }, "key revoked, its waiting jobs cancelled");
    } catch (error) {
      audit.revocation(key, { error });
      log.error(
        { event: "revoke_failed", key, error: errorText(error) },
        "a revocation could not be published; it holds in this process",
      );
    }
  }

  #run(work: Promise<void>): void {
    this.#running.add(work);
    void work.finally(() => this.#running.delete(work));
  }
}

/** What to do about a key that is enrolled again after it was revoked. */
export function revokedForEver(name: string): string {
  return (
    `key "${name}" is enrolled, but was revoked before, and that is for ever: all it signs is refused. Make a new one ` +
    "(supervisor keygen --out FILE), enrol it (supervisor keys add), and remove this one's table."
  );
}
