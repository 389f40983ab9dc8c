/**
 * Carries revocations out: published first, so that every supervisor on the store refuses the key, then its jobs end.
 * What fails stays *due* until it was done.
 */
import type { Audit } from "./audit.ts";
import type { Keyring } from "./auth/keyring.ts";
import type { Verifier } from "./auth/native-verifier.ts";
import { errorText } from "./errors.ts";
import type { Log } from "./log.ts";
import type { Store } from "./store/store.ts";

export interface RevokerOptions {
  readonly keyring: Pick<Keyring, "all">;
  readonly store: Pick<Store, "revocations" | "keyrings">;
  readonly verifier: Pick<Verifier, "forget">;
  readonly audit: Audit;
  readonly log: Log;
}

/** A revocation that is not carried out in full yet. */
interface Due {
  readonly key: string;
  /** Published before: worth a line of the audit trail only where jobs ended. */
  readonly isOld: boolean;
  isWorking: boolean;
  /** Told again while it was worked on: the keyring may say more now. */
  isMore: boolean;
  hasFailed: boolean;
}

export class Revoker {
  readonly #options: RevokerOptions;
  readonly #due = new Map<string, Due>();
  /** Done by this process: a key that is revoked signs nothing new. */
  readonly #done = new Set<string>();
  #isStopped = false;

  constructor(options: RevokerOptions) {
    this.#options = options;
  }

  /** A key that has just been revoked, or whose running jobs are now meant too. */
  add(key: string): void {
    this.#options.verifier.forget(key);
    this.#done.delete(key);
    const due = this.#due.get(key);
    if (due === undefined) this.#takeUp(key, false);
    else due.isMore = true;
  }

  /**
   * Keys whose rights ended while this process did not look: publishes them at once, and takes up those with something
   * left to do, which a look or two finds out.
   * @throws SupervisorError `unavailable`
   */
  async catchUp(keys: readonly string[]): Promise<void> {
    const { revocations, keyrings } = this.#options.store;
    const open = keys.filter((key) => !this.#due.has(key) && !this.#done.has(key));
    const old = new Set(await keyrings.findRevoked(open));
    await revocations.revoke(open);
    const withJobs = new Set(await revocations.findWithJobs(open));
    for (const key of open) if (!old.has(key) || withJobs.has(key)) this.#takeUp(key, old.has(key));
  }

  /** Works on everything that is due. Never rejects: what fails stays due. */
  async carryOut(): Promise<void> {
    const idle = [...this.#due.values()].filter(({ isWorking }) => !isWorking);
    for (const due of idle) due.isWorking = true;
    for (const due of idle) {
      if (this.#isStopped) due.isWorking = false;
      else await this.#revoke(due);
    }
  }

  /** Begins on nothing more: what is due is found at the next start. */
  stop(): void {
    this.#isStopped = true;
  }

  isDue(key: string): boolean {
    return this.#due.has(key);
  }

  #takeUp(key: string, isOld: boolean): void {
    if (this.#due.has(key) || this.#done.has(key)) return;
    this.#due.set(key, { key, isOld, isWorking: false, isMore: false, hasFailed: false });
  }

  async #revoke(due: Due): Promise<void> {
    const { key } = due;
    const { store, keyring, audit, log } = this.#options;
    try {
      await store.revocations.revoke([key]);
      let cancelled = 0;
      do {
        due.isMore = false;
        const entry = keyring.all().find((known) => known.key === key);
        cancelled += await store.revocations.cancelJobsOf(key, entry?.cancelRunning ?? false);
      } while (due.isMore);
      this.#due.delete(key);
      this.#done.add(key);
      if (due.isOld && !due.hasFailed && cancelled === 0) return;
      audit.revocation(key, { cancelled });
      log.info({ event: "key_revoked", key, cancelled }, "key revoked, its waiting jobs cancelled");
    } catch (error) {
      due.isWorking = false;
      this.#failed(due, error);
    }
  }

  /** Told once: an outage lasts for many tries. */
  #failed(due: Due, error: unknown): void {
    const { audit, log } = this.#options;
    if (due.hasFailed) return;
    due.hasFailed = true;
    audit.revocation(due.key, { error });
    log.error(
      { event: "revoke_failed", key: due.key, error: errorText(error) },
      "a revocation could not be carried out; it holds in this process, and is tried again",
    );
  }
}
