/** The environment of a job's process: built from nothing, so that nothing of the host's slips in. */
import type { JobDocument } from "../rpc/schema.ts";
import type { Executor } from "./executor.ts";

/** What may pass of the host's environment (spec: jobs-and-redis, "Executors"), and what stands in where it has none. */
export interface HostEnvironment {
  readonly PATH?: string | undefined;
  readonly HOME?: string | undefined;
  readonly LANG?: string | undefined;
}

export const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEFAULT_LANG = "C.UTF-8";

/**
 * Names that turn data into code in the loader, a shell or an interpreter, or that are the runner's own: a pattern never
 * lets them through, only their literal name does.
 */
const GUARDED = /^(?:LD_.*|PATH|BASH_ENV|ENV|IFS|NODE_OPTIONS|PYTHON.*|HORUS_.*)$/u;

export interface JobEnvironmentOptions {
  readonly job: JobDocument;
  readonly attempt: number;
  readonly executor: Executor;
  readonly host: HostEnvironment;
  readonly resultPath: string;
}

export type JobEnvironment =
  | { readonly ok: true; readonly env: Readonly<Record<string, string>> }
  /** Names every variable that does not pass, never its value. */
  | { readonly ok: false; readonly reason: string };

/**
 * Host's minimum, then the job's own variables, then what the runner says: a job can not change its own id. One variable
 * that does not pass fails the job, since running it without would be running something else.
 */
export function jobEnvironment({ job, attempt, executor, host, resultPath }: JobEnvironmentOptions): JobEnvironment {
  const asked = Object.entries(job.env_vars ?? {});
  const refused = asked.map(([name]) => name).filter((name) => !passes(executor.env, name));
  if (refused.length > 0) {
    return {
      ok: false,
      reason: `executor "${executor.name}" does not let the environment through: ${refused.toSorted().join(", ")}`,
    };
  }
  // Node would refuse it as well, and show the value.
  const cut = asked.filter(([, value]) => value.includes("\0")).map(([name]) => name);
  if (cut.length > 0) {
    return {
      ok: false,
      reason: `executor "${executor.name}" can hand no value with a NUL in it to a process: ${cut.toSorted().join(", ")}`,
    };
  }
  const env = {
    PATH: host.PATH ?? DEFAULT_PATH,
    HOME: host.HOME ?? "/",
    LANG: host.LANG ?? DEFAULT_LANG,
    ...Object.fromEntries(asked),
    ...(job.traceparent === undefined ? {} : { TRACEPARENT: job.traceparent }),
    HORUS_JOB_ID: job.id,
    HORUS_ATTEMPT: String(attempt),
    HORUS_RESULT: resultPath,
  };
  return { ok: true, env };
}

function passes(patterns: readonly string[], name: string): boolean {
  if (patterns.includes(name)) return true;
  if (GUARDED.test(name)) return false;
  return patterns.some((pattern) => pattern.endsWith("*") && name.startsWith(pattern.slice(0, -1)));
}
