/** Handlers of the runner methods. */
import { type Caller, isGranted } from "../../auth/policy.ts";
import { SupervisorError } from "../../errors.ts";
import type { Enrol } from "../../runners/enrol.ts";
import { toRunnerView } from "../../runners/runner.ts";
import type { RunnerRecord, RunnerStore } from "../../store/store.ts";
import type { Handlers } from "../context.ts";
import type { Reach } from "../method.ts";
import type { SignedRunner } from "../schema.ts";
import { afterWrite } from "./after-write.ts";
import { callerOf } from "./jobs.ts";

export type RunnerHandlers = Pick<Handlers, "register_runner" | "list_runners" | "get_runner_status" | "remove_runner">;

interface RunnerHandlerOptions {
  readonly runners: RunnerStore;
  readonly enrol: Enrol;
  readonly leaseMs: number;
}

export function createRunnerHandlers({ runners, enrol, leaseMs }: RunnerHandlerOptions): RunnerHandlers {
  return {
    register_runner: async ({ registration, signature }, context) => {
      await enrol({ registration, signature, caller: callerOf(context), signedCall: context.signedCall ?? "" });
      return afterWrite(async () => toRunnerView(present(await runners.get(registration.name)), leaseMs));
    },

    list_runners: async (_params, context) => {
      const caller = callerOf(context);
      const records = await runners.list();
      return {
        runners: records
          .filter(({ registration }) => isVisible(registration, caller))
          .map((record) => toRunnerView(record, leaseMs)),
      };
    },

    get_runner_status: async ({ name }, context) => {
      // First who it is and no more: missing and not granted are one answer after the same read.
      if (!isVisible(await runners.registration(name), callerOf(context))) throw new SupervisorError("notFound");
      const record = present(await runners.get(name));
      return { ...toRunnerView(record, leaseMs), registration: record.registration, enrolled_by: record.enrolledBy };
    },

    remove_runner: async ({ name, force = false }, context) => {
      const caller = callerOf(context);
      const registration = await runners.registration(name);
      // By the runner role: the runner itself, and nobody who merely is granted its name.
      const isMine = registration?.body.key === caller.key;
      if (registration === undefined || (caller.reach === "own" && !isMine)) throw new SupervisorError("notFound");
      const removed = await runners.remove(name, force);
      if (removed.outcome === "missing") throw new SupervisorError("notFound");
      if (removed.outcome === "has_jobs") {
        const data = { waiting: removed.waiting, fix: "Wait for them, or remove with force, which cancels them." };
        throw new SupervisorError("wrongState", { message: "Jobs wait that only this runner could take", data });
      }
      return { name, removed: true, cancelled: removed.cancelled };
    },
  };
}

/** `own` reaches the runners granted to the key, by name or by one of their groups. */
function isVisible(registration: SignedRunner | undefined, caller: Caller & { readonly reach: Reach }): boolean {
  if (registration === undefined) return false;
  if (caller.reach !== "own") return true;
  const { name, groups } = registration.body;
  return [name, ...groups].some((granted) => isGranted(caller.runners, granted));
}

/** Removed between two reads. */
function present(record: RunnerRecord | undefined): RunnerRecord {
  if (record === undefined) throw new SupervisorError("notFound");
  return record;
}
