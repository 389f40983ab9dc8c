/** What the method table says of one method; the table itself is in methods.ts, handlers are in handlers/. */
import type { Static, TObject, TSchema } from "typebox";

import type { ErrorName } from "../errors.ts";

/** Roles of a key (spec: signing, "Policy"). */
export const ROLES = ["submitter", "runner", "registrar", "observer", "admin"] as const;
export type Role = (typeof ROLES)[number];

/**
 * How far a role reaches in a method. `own`: jobs of the caller's principal, or runner names granted to the key;
 * `all`: everybody's; `redacted`: everybody's without payload, environment and results.
 */
export type Reach = "own" | "redacted" | "all";

/**
 * `none`: anybody; `call`: `params.auth` signs this call; `signatures`: the job document carries its own; `login`:
 * `params.auth` signs a challenge.
 */
export type Credential = "none" | "call" | "signatures" | "login";

export interface Example {
  readonly params: Readonly<Record<string, unknown>>;
  readonly result: unknown;
}

export interface Method<Params extends TObject = TObject, Result extends TSchema = TSchema> {
  /** One line, no full stop. */
  readonly summary: string;
  readonly description: string;
  /** By name; without the credential, whose faults are all `unauthenticated`. */
  readonly params: Params;
  readonly result: Result;
  /** What it can answer beside the errors every method shares. */
  readonly errors: readonly ErrorName[];
  readonly credential: Credential;
  /** `change` is refused as a notification. */
  readonly effect: "read" | "change";
  /** Holds the call open on purpose: the name of the parameter with the longest wait, in ms. */
  readonly waits?: string;
  /** Deny by default: a role that is not here may not. Methods without a credential have no entry. */
  readonly access: Readonly<Partial<Record<Role, Reach>>>;
  readonly example: Example;
}

/** Declares a method, keeping the exact types of its schemas. */
export function defineMethod<Params extends TObject, Result extends TSchema>(
  method: Method<Params, Result>,
): Method<Params, Result> {
  return method;
}

export type ParamsOf<M> = M extends { readonly params: infer P extends TSchema } ? Static<P> : never;
export type ResultOf<M> = M extends { readonly result: infer R extends TSchema } ? Static<R> : never;
