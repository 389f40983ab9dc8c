/** The enrolled keys: what keys.toml says, and which of them are good at this moment (spec: signing, "Policy"). */
import type { EnrolledKey, Requirement } from "./keyring-toml.ts";
import { isGranted } from "./policy.ts";
import { digestOf } from "./signature.ts";

export { type EnrolledKey, type KeyringContents, parseKeyring, type Requirement } from "./keyring-toml.ts";

/** What a `replace` changed. */
export interface KeyringChange {
  readonly added: readonly EnrolledKey[];
  /** As they are now. */
  readonly changed: readonly EnrolledKey[];
  /** As they were. */
  readonly removed: readonly EnrolledKey[];
  /** Keys that it revoked or removed, and those revoked before whose running jobs are now to end as well. */
  readonly revoked: readonly string[];
  readonly hasOtherRequirements: boolean;
}

/** Holds the enrolled keys; `replace` swaps all of them at once, so that no call sees half a file. */
export class Keyring {
  #keys: ReadonlyMap<string, EnrolledKey>;
  #requirements: readonly Requirement[];
  #digest: string;
  readonly #now: () => number;
  readonly #callbacks = new Set<(key: string) => void>();
  readonly #changeCallbacks = new Set<(change: KeyringChange) => void>();

  /** @param now UNIX ms. */
  constructor(keys: readonly EnrolledKey[], now: () => number, requirements: readonly Requirement[] = []) {
    this.#keys = byKey(keys);
    this.#requirements = requirements;
    this.#digest = digestOfContents(keys, requirements);
    this.#now = now;
  }

  /** The key's entry while it has rights: enrolled, not revoked, not past its `not_after`. */
  find(publicKey: string): EnrolledKey | undefined {
    const key = this.#keys.get(publicKey);
    return key !== undefined && this.#isAlive(key) ? key : undefined;
  }

  /** Every entry of the file, without regard to revocation and time. */
  all(): readonly EnrolledKey[] {
    return [...this.#keys.values()];
  }

  /** What jobs sent to this runner or group need beside the caller's grant: each of these. */
  requirementsFor(runner: string): readonly Requirement[] {
    return this.#requirements.filter((requirement) => isGranted([requirement.runner], runner));
  }

  get hasRequirements(): boolean {
    return this.#requirements.length > 0;
  }

  /** SHA-256 over the meaning of the keyring, 64 hex: supervisors that share a Redis compare it. Comments and order do not count. */
  get digest(): string {
    return this.#digest;
  }

  /**
   * Swaps the keys and gives those that it revoked: marked or removed, though they had expired before, since jobs they
   * signed may wait. A `not_after` that came to lie in the past revokes nothing: revocation is for ever, and a slip in a
   * date is not. Each callback hears of each key. Requirements stay as they are where none are given.
   * @throws AggregateError when callbacks threw; the swap holds and all callbacks were called.
   */
  replace(keys: readonly EnrolledKey[], requirements = this.#requirements): readonly string[] {
    const [known, required] = [this.#keys, this.#requirements];
    this.#keys = byKey(keys);
    this.#requirements = requirements;
    this.#digest = digestOfContents(keys, requirements);
    const added = keys.filter(({ key }) => !known.has(key));
    const removed = [...known.values()].filter(({ key }) => !this.#keys.has(key));
    const revoked = [
      ...keys.filter((key) => isRevocation(key, known.get(key.key))),
      ...removed.filter(({ revokedAtMs }) => revokedAtMs === undefined),
    ].map(({ key }) => key);
    const change: KeyringChange = {
      added,
      changed: keys.filter((key) => !added.includes(key) && meaningOf(key) !== meaningOf(known.get(key.key) ?? key)),
      removed,
      revoked,
      hasOtherRequirements: digestOfContents([], required) !== digestOfContents([], requirements),
    };
    this.#tell(change);
    return revoked;
  }

  /** Calls back after each `replace` with what it changed; returns the way to stop that. */
  onReplaced(callback: (change: KeyringChange) => void): () => void {
    this.#changeCallbacks.add(callback);
    return () => {
      this.#changeCallbacks.delete(callback);
    };
  }

  /** Calls back with each key that a `replace` revoked; returns the way to stop that. */
  onRevoked(callback: (key: string) => void): () => void {
    this.#callbacks.add(callback);
    return () => {
      this.#callbacks.delete(callback);
    };
  }

  #isAlive(key: EnrolledKey): boolean {
    return key.revokedAtMs === undefined && (key.notAfterMs === undefined || this.#now() <= key.notAfterMs);
  }

  #tell(change: KeyringChange): void {
    const failures: unknown[] = [];
    const revoked = [...this.#callbacks].flatMap((callback) => change.revoked.map((key) => () => callback(key)));
    const replaced = [...this.#changeCallbacks].map((callback) => () => callback(change));
    for (const call of [...revoked, ...replaced]) {
      try {
        call();
      } catch (error) {
        // A revocation must reach everybody, whoever fails first.
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, "A revocation was not carried out everywhere");
  }
}

/** Does the entry revoke its key, or ask for more of it, where the one before did not? */
function isRevocation(entry: EnrolledKey, before: EnrolledKey | undefined): boolean {
  if (entry.revokedAtMs === undefined) return false;
  return before?.revokedAtMs === undefined || (entry.cancelRunning && !before.cancelRunning);
}

function byKey(keys: readonly EnrolledKey[]): ReadonlyMap<string, EnrolledKey> {
  return new Map(keys.map((key) => [key.key, key]));
}

/** The same text for two entries that say the same. */
function meaningOf(key: EnrolledKey): string {
  return JSON.stringify([
    key.key,
    key.name,
    key.principal,
    key.roles.toSorted(),
    key.runners.toSorted(),
    key.notAfterMs,
    key.revokedAtMs,
    key.cancelRunning,
    key.overlay?.toSorted(),
    key.rate,
  ]);
}

function digestOfContents(keys: readonly EnrolledKey[], requirements: readonly Requirement[]): string {
  const enrolled = keys.map(meaningOf);
  const required = requirements.map(({ runner, principals, atLeast }) =>
    JSON.stringify(["require", runner, principals.toSorted(), atLeast]),
  );
  return digestOf(new TextEncoder().encode([...enrolled, ...required].toSorted().join("\n")));
}
