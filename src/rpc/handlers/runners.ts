/** Handlers of the runner methods. */
import { type Caller, isGranted } from "../../auth/policy.ts";
import { SupervisorError } from "../../errors.ts";
import type { Enrol } from "../../runners/enrol.ts";
import { toRunnerView } from "../../runners/runner.ts";
import type { RunnerRecord, RunnerStore } from "../../store/store.ts";
import type { Handlers } from "../context.ts";
import type { Reach } from "../method.ts";
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
      return afterWrite(async () =>
        toRunnerView(visible(await runners.get(registration.name), callerOf(context)), leaseMs),
      );
    },

    list_runners: async (_params, context) => {
      const caller = callerOf(context);
      const records = await runners.list();
      return {
        runners: records.filter((record) => isVisible(record, caller)).map((record) => toRunnerView(record, leaseMs)),
      };
    },

    get_runner_status: async ({ name }, context) => {
      const record = visible(await runners.get(name), callerOf(context));
      return { ...toRunnerView(record, leaseMs), registration: record.registration, enrolled_by: record.enrolledBy };
    },

    remove_runner: async ({ name, force = false }, context) => {
      const caller = callerOf(context);
      const record = await runners.get(name);
      // By the runner role: the runner itself, and nobody who merely is granted its name.
      const isMine = record?.registration.body.key === caller.key;
      if (record === undefined || (caller.reach === "own" && !isMine)) throw new SupervisorError("notFound");
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
function isVisible(record: RunnerRecord, caller: Caller & { readonly reach: Reach }): boolean {
  if (caller.reach !== "own") return true;
  const { name, groups } = record.registration.body;
  return [name, ...groups].some((granted) => isGranted(caller.runners, granted));
}

function visible(record: RunnerRecord | undefined, caller: Caller & { readonly reach: Reach }): RunnerRecord {
  if (record === undefined || !isVisible(record, caller)) throw new SupervisorError("notFound");
  return record;
}
