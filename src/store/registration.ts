/** A registry entry as Redis holds it (JSON made by a script), and back. */
import type { SignedRunner } from "../rpc/schema.ts";

export interface Registration {
  readonly registration: SignedRunner;
  readonly enrolledBy: string;
  readonly registeredMs: number;
  readonly version: number;
  readonly key: string;
  readonly groups: readonly string[];
  /** Since when it is being removed. */
  readonly removingMs?: number;
}

/** What must be equal for a registration to be "the same again": times and signature may differ. */
export function fingerprint({ body }: SignedRunner): string {
  return JSON.stringify([body.groups.toSorted(), body.executors.toSorted(), body.slots]);
}

/** @throws Error when the text is not what the register script stores. */
export function parseRegistration(text: string): Registration {
  const stored: unknown = JSON.parse(text);
  if (!isStored(stored)) throw new Error("A stored runner registration is none");
  const registration: unknown = JSON.parse(stored.registration);
  if (!isSignedRunner(registration)) throw new Error("A stored runner document is none");
  return {
    registration,
    enrolledBy: stored.enrolled_by,
    registeredMs: stored.registered_ms,
    version: stored.version,
    key: stored.key,
    groups: stored.groups.split(" ").filter((group) => group !== ""),
    ...(stored.removing_ms === undefined ? {} : { removingMs: stored.removing_ms }),
  };
}

interface Stored {
  readonly registration: string;
  readonly enrolled_by: string;
  readonly registered_ms: number;
  readonly version: number;
  readonly key: string;
  readonly groups: string;
  readonly removing_ms?: number;
}

function isStored(value: unknown): value is Stored {
  const { registration, enrolled_by, registered_ms, version, key, groups, removing_ms } = members(value);
  return (
    [registration, enrolled_by, key, groups].every((text) => typeof text === "string") &&
    [registered_ms, version].every((number) => typeof number === "number") &&
    (removing_ms === undefined || typeof removing_ms === "number")
  );
}

/** Written by a supervisor after full validation; this only guards against foreign data. */
function isSignedRunner(value: unknown): value is SignedRunner {
  const { body, public_key, signature } = members(value);
  const { name, key, groups, executors, slots } = members(body);
  return (
    [public_key, signature, name, key].every((text) => typeof text === "string") &&
    [groups, executors].every(Array.isArray) &&
    Number.isSafeInteger(slots)
  );
}

function members(value: unknown): { readonly [name: string]: unknown } {
  return typeof value === "object" && value !== null ? { ...value } : {};
}
