/** The runner library: everything a program needs to take jobs from a JobSource, run them and answer for them. */

// Runner
export { createRunner, type Runner, type RunnerEvent, type RunnerOptions } from "./runner.ts";
export { RunnerError } from "./registration.ts";
export type { AttemptEnd } from "./attempt.ts";
export { DEFAULT_LIMITS, type AttemptLimits, type RunnerLimits } from "./limits.ts";

// What it runs
export { createExecutor, parseExec, type Executor } from "./executor.ts";
export { commandFault } from "./command-fault.ts";
export type { HostEnvironment } from "./job-environment.ts";

// What it trusts and remembers
export { createJobVerifier, type JobVerifier, type JobVerifierOptions, type Verdict } from "./job-verifier.ts";
export { loadAllowList, parseAllowList, type AllowList } from "./allow-list.ts";
export { openSeenJobs, type SeenJobs } from "./seen-jobs.ts";

// Where jobs come from
export { serveStandIn } from "./stand-in-thread.ts";
export type {
  Appended,
  Attached,
  ClaimedJob,
  Finish,
  Finished,
  JobSource,
  Lease,
  Renewed,
  Renewer,
  RenewerRecipe,
  RunnerHello,
} from "./source.ts";
