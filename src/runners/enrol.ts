/** Enrolment of a runner: its own signature, its window, and the registrar's (or its own) right to bear the names. */
import { type Approvals, type Caller, isGranted } from "../auth/policy.ts";
import { SupervisorError } from "../errors.ts";
import type { Reach } from "../rpc/method.ts";
import type { RunnerDocument } from "../rpc/schema.ts";
import type { RunnerStore } from "../store/store.ts";

/** Longest `exp - iat` of a registration, in seconds. */
const MAX_WINDOW_SECONDS = 600;

export interface Enrolment {
  readonly registration: RunnerDocument;
  readonly signature: string;
  readonly caller: Caller & { readonly reach: Reach };
  /** The signed call, kept for offline checks of the registration. */
  readonly signedCall: string;
}

export interface EnrolOptions {
  readonly identity: string;
  readonly runners: Pick<RunnerStore, "register">;
  /** The whole verification rule over kind `runner`, key checks included: this is where the key is first seen. */
  verifyRegistration(registration: RunnerDocument, signature: string): boolean;
  /** Approvals that jobs sent to this runner or group need. */
  readonly requirementsFor: (name: string) => readonly Approvals[];
  /** UNIX ms, only to tell a refused caller the time: windows are judged by Redis' clock. */
  readonly now: () => number;
}

export type Enrol = (enrolment: Enrolment) => Promise<void>;

export function createEnrol(options: EnrolOptions): Enrol {
  return async ({ registration, signature, caller, signedCall }) => {
    if (registration.aud !== options.identity) {
      throw new SupervisorError("wrongAudience", { data: { identity: options.identity } });
    }
    checkWindow(registration, options);
    checkRight(registration, caller);
    checkRequirements(registration, options);
    // A forged registration says nothing about the caller, whose own signature was good.
    if (!options.verifyRegistration(registration, signature)) {
      throw new SupervisorError("forbidden", { message: "The registration is not signed by the runner's key" });
    }
    const registered = await options.runners.register(
      { body: registration, public_key: registration.key, signature },
      signedCall,
    );
    const { outcome } = registered;
    if (outcome === "stale") throw new SupervisorError("stale", { data: { now: registered.now } });
    if (outcome === "revoked") throw new SupervisorError("forbidden");
    if (outcome === "conflict") {
      const fix = "Names and groups are one namespace: choose another, or remove the present runner first.";
      throw new SupervisorError("conflict", { message: "The name is taken", data: { name: registration.name, fix } });
    }
  };
}

/** The part of the window that needs no clock. */
function checkWindow({ iat, exp }: RunnerDocument, { now }: EnrolOptions): void {
  if (exp >= iat && exp - iat <= MAX_WINDOW_SECONDS) return;
  throw new SupervisorError("stale", { data: { now: Math.floor(now() / 1000) } });
}

/** A registrar may register any runner; a runner's own key only itself, under names granted to it. */
function checkRight(registration: RunnerDocument, caller: Enrolment["caller"]): void {
  if (caller.reach === "all") return;
  const isItself = registration.key === caller.key;
  const isNamed = [registration.name, ...registration.groups].every((name) => isGranted(caller.runners, name));
  if (!isItself || !isNamed) throw new SupervisorError("forbidden");
}

/**
 * Approvals hang on the name a job is sent to. A runner that bears a name which needs them and another one which needs
 * fewer would take unapproved jobs through that other name.
 */
function checkRequirements({ name, groups }: RunnerDocument, { requirementsFor }: EnrolOptions): void {
  const names = [name, ...groups];
  const needed = new Set(names.flatMap((each) => requirementsFor(each)));
  const open = names.find((each) => requirementsFor(each).length < needed.size);
  if (open === undefined) return;
  const message = "A name of this runner lacks approvals that another has";
  const fix = "Cover all names of a runner by the same [[require]] tables, or take it out of the group.";
  throw new SupervisorError("forbidden", { message, data: { name: open, fix } });
}
