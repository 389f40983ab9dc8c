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
  /** Keys whose rights ended with it. */
  readonly ended: readonly string[];
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

  /** SHA-256 over the meaning of the keyring, 64 hex: supervisors that share a Redis compare it. Comments and order do not count. */
  get digest(): string {
    return this.#digest;
  }

  /**
   * Swaps the keys and gives those whose rights ended with it: removed or revoked. Each callback hears of each of them.
   * Requirements stay as they are where none are given.
   * @throws AggregateError when callbacks threw; the swap holds and all callbacks were called.
   */
  replace(keys: readonly EnrolledKey[], requirements = this.#requirements): readonly string[] {
    const [known, required] = [this.#keys, this.#requirements];
    const before = this.all().filter((key) => this.#isAlive(key));
    this.#keys = byKey(keys);
    this.#requirements = requirements;
    this.#digest = digestOfContents(keys, requirements);
    const ended = before.map(({ key }) => key).filter((key) => this.find(key) === undefined);
    const added = keys.filter(({ key }) => !known.has(key));
    const change: KeyringChange = {
      added,
      changed: keys.filter((key) => !added.includes(key) && meaningOf(key) !== meaningOf(known.get(key.key) ?? key)),
      removed: [...known.values()].filter(({ key }) => !this.#keys.has(key)),
      ended,
      hasOtherRequirements: digestOfContents([], required) !== digestOfContents([], requirements),
    };
    this.#tell(ended, change);
    return ended;
  }

  /** Calls back after each `replace` with what it changed; returns the way to stop that. */
  onReplaced(callback: (change: KeyringChange) => void): () => void {
    this.#changeCallbacks.add(callback);
    return () => {
      this.#changeCallbacks.delete(callback);
    };
  }

  /** Calls back with each key whose rights a `replace` ended; returns the way to stop that. */
  onRevoked(callback: (key: string) => void): () => void {
    this.#callbacks.add(callback);
    return () => {
      this.#callbacks.delete(callback);
    };
  }

  #isAlive(key: EnrolledKey): boolean {
    return key.revokedAtMs === undefined && (key.notAfterMs === undefined || this.#now() <= key.notAfterMs);
  }

  #tell(ended: readonly string[], change: KeyringChange): void {
    const failures: unknown[] = [];
    const revoked = [...this.#callbacks].flatMap((callback) => ended.map((key) => () => callback(key)));
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
