/**
 * Carries the keyring into the store that supervisors share: what it revokes is carried out, whenever that was, and
 * digests are compared, since two supervisors with two keyrings would decide differently about one caller.
 */
import type { Audit } from "./audit.ts";
import type { Keyring } from "./auth/keyring.ts";
import type { Verifier } from "./auth/native-verifier.ts";
import { counted } from "./counted.ts";
import { errorText } from "./errors.ts";
import type { Log } from "./log.ts";
import { Revoker } from "./revoker.ts";
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
  readonly #revoker: Revoker;
  #problem: string | undefined;
  /** Keys that went missing while nobody looked. */
  #missing: string | undefined;
  #isFailing = false;
  /** Digest of the keyring whose removals are carried out. */
  #settled: string | undefined;
  #isSettling = false;
  #isStarted = false;
  /** What is under way: a stop waits for it. */
  readonly #running = new Set<Promise<void>>();

  constructor(options: KeyringSyncOptions) {
    this.#options = options;
    this.#revoker = new Revoker(options);
    const { keyring, audit } = options;
    this.#stops.push(
      keyring.onReplaced((change) => {
        audit.keyring(change);
        // The first reading of the file comes before the store is there to compare with.
        if (this.#isStarted) this.#run(this.compare());
      }),
      keyring.onRevoked((key) => {
        this.#revoker.add(key);
        this.#run(this.#revoker.carryOut());
      }),
    );
  }

  /** Each with its fix: health is red while there are any. */
  get problems(): readonly string[] {
    return [this.#problem, this.#missing].filter((problem) => problem !== undefined);
  }

  /**
   * Publishes what the file revokes, compares, and goes on comparing. Jobs of revoked keys end meanwhile: there may be
   * many, and none of them can be claimed any more.
   * @throws SupervisorError `unavailable`
   */
  async start(): Promise<void> {
    const { keyring, intervalMs = INTERVAL_MS } = this.#options;
    this.#isStarted = true;
    const revoked = keyring.all().filter((key) => key.revokedAtMs !== undefined);
    await this.#revoker.catchUp(revoked.map((key) => key.key));
    this.#run(this.#revoker.carryOut());
    await this.compare();
    const timer = setInterval(() => {
      this.#run(this.compare());
      this.#run(this.#revoker.carryOut());
    }, intervalMs).unref();
    this.#stops.push(() => clearInterval(timer));
  }

  /** Takes back what it said, so that a supervisor that stopped on purpose is not compared with. */
  async stop(): Promise<void> {
    for (const stop of this.#stops.splice(0)) stop();
    this.#revoker.stop();
    // One may begin another.
    while (this.#running.size > 0) await Promise.all(this.#running);
    await this.#options.store.keyrings.withdraw(this.#options.supervisor).catch(() => undefined);
  }

  /** One comparison. Never throws: a store that is away has a red health of its own. */
  async compare(): Promise<void> {
    const { keyring, store, supervisor, intervalMs = INTERVAL_MS, log } = this.#options;
    try {
      const { digest } = keyring;
      const enrolled = keyring.all().map(({ key }) => key);
      const others = await store.keyrings.compare({ supervisor, digest, keepMs: 3 * intervalMs });
      const other = others.find((each) => each !== digest);
      this.#judge(digest, other);
      if (other === undefined && this.#settled !== digest) this.#run(this.#settle(digest, enrolled));
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

  /**
   * All supervisors go by this keyring. What was enrolled when they last agreed and is neither here nor revoked went
   * missing while nobody looked: removed on purpose, or an old, foreign or cut file. Revocation is for ever, so a person
   * decides: health is red until the file says which.
   */
  async #settle(digest: string, enrolled: readonly string[]): Promise<void> {
    if (this.#isSettling) return;
    this.#isSettling = true;
    const { keyring, store } = this.#options;
    try {
      const missing = await this.#findMissing(enrolled);
      // Read again meanwhile: others may have agreed on that one, with keys that are new.
      if (keyring.digest !== digest) return;
      this.#tellMissing(missing);
      if (missing.length > 0) return;
      await store.keyrings.writeEnrolled(enrolled);
      this.#settled = digest;
    } catch (error) {
      this.#options.log.debug({ event: "keyring_not_settled", error: errorText(error) }, "compared again later");
    } finally {
      this.#isSettling = false;
    }
  }

  /** Health is for anybody to read, the log is not: only this one names the keys. */
  #tellMissing(keys: readonly string[]): void {
    const told = this.#missing;
    this.#missing = keys.length === 0 ? undefined : missingText(keys.length);
    if (this.#missing === undefined || this.#missing === told) return;
    this.#options.log.error({ event: "keys_missing", keys }, this.#missing);
  }

  async #findMissing(enrolled: readonly string[]): Promise<readonly string[]> {
    const { keyrings } = this.#options.store;
    const present = new Set(enrolled);
    const gone = (await keyrings.readEnrolled()).filter((key) => key !== "" && !present.has(key));
    // Those that were taken out under a running supervisor are revoked, or will be in a moment.
    const revoked = new Set(await keyrings.findRevoked(gone));
    return gone.filter((key) => !revoked.has(key) && !this.#revoker.isDue(key));
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

function missingText(count: number): string {
  return (
    `keys.toml lacks ${counted(count, "key")} that were enrolled before; the log names them. ` +
    "Is it the right file? Put their tables back; what shall be revoked gets a revoked_at."
  );
}
