/** Who may do what: pure, deny by default, over the access entries of the method table (spec: signing, "Policy"). */
import type { Reach, Role } from "../rpc/method.ts";

/** An enrolled key as the policy sees it, once its signature was found good. */
export interface Caller {
  readonly key: string;
  /** The key's name in keys.toml. */
  readonly name: string;
  /** The owner: jobs belong to it, so keys rotate without losing access. */
  readonly principal: string;
  readonly roles: readonly Role[];
  /** Granted runner patterns: a name, or a prefix ending in `*`. */
  readonly runners: readonly string[];
}

const RANK: Readonly<Record<Reach, number>> = { own: 1, redacted: 2, all: 3 };

/** The farthest reach any of the roles has in a method; undefined: not granted. */
export function reachOf(roles: readonly Role[], access: Readonly<Partial<Record<Role, Reach>>>): Reach | undefined {
  let best: Reach | undefined;
  for (const role of roles) {
    const reach = access[role];
    if (reach !== undefined && (best === undefined || RANK[reach] > RANK[best])) best = reach;
  }
  return best;
}

/** Approvals that jobs for a runner need (`[[require]]` of keys.toml). */
export interface Approvals {
  readonly principals: readonly string[];
  readonly atLeast: number;
}

/**
 * How many approvals are missing for one requirement, 0 when it is met: counted are distinct principals of its list,
 * however many keys each of them signed with.
 */
export function missingApprovals({ principals, atLeast }: Approvals, signers: readonly string[]): number {
  const approved = new Set(signers.filter((principal) => principals.includes(principal)));
  return Math.max(0, atLeast - approved.size);
}

/** Does one of the patterns grant this runner or group name? */
export function isGranted(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => (pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : pattern === name));
}
