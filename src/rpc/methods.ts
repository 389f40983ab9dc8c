/** THE method table: the whole API on one screen. OpenRPC, validation, types and the policy matrix come from it. */
import type { ParamsOf, ResultOf } from "./method.ts";
import { cancelJob, createJob, deleteJob, getJob, getJobLogs, listJobs, waitJob } from "./methods/jobs.ts";
import { getRunnerStatus, listRunners, registerRunner, removeRunner } from "./methods/runners.ts";
import { authChallenge, authLogin, subscribeJob, unsubscribeJob } from "./methods/session.ts";
import { discover, getInfo, listPeers, whoami } from "./methods/system.ts";

export const METHODS = {
  create_job: createJob,
  get_job: getJob,
  list_jobs: listJobs,
  wait_job: waitJob,
  get_job_logs: getJobLogs,
  cancel_job: cancelJob,
  delete_job: deleteJob,
  register_runner: registerRunner,
  list_runners: listRunners,
  get_runner_status: getRunnerStatus,
  remove_runner: removeRunner,
  whoami,
  list_peers: listPeers,
  auth_challenge: authChallenge,
  auth_login: authLogin,
  subscribe_job: subscribeJob,
  unsubscribe_job: unsubscribeJob,
  get_info: getInfo,
  "rpc.discover": discover,
} as const;

export type MethodName = keyof typeof METHODS;
export type Params<Name extends MethodName> = ParamsOf<(typeof METHODS)[Name]>;
export type Result<Name extends MethodName> = ResultOf<(typeof METHODS)[Name]>;

/** Own properties only: `constructor` and `__proto__` are no methods. */
export function isMethodName(name: string): name is MethodName {
  return Object.hasOwn(METHODS, name);
}
