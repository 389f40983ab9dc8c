/**
 * What approvals a job needs by where it may run. A runner bears several names, and a job sent to one of them runs on the
 * same machine as those sent to another; so the approvals of all names count that share a runner with the one a job is
 * sent to. A registration that would open such a way is refused (enrol.ts); here it is shut where the requirement came
 * later than the runner.
 */
import type { Approvals } from "../auth/policy.ts";
import { errorText, SupervisorError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { RunnerStore } from "../store/store.ts";

/** Between two looks at the registry, in ms; a changed keyring is one as well. */
const INTERVAL_MS = 10_000;

export interface ApprovalScopeOptions {
  readonly runners: Pick<RunnerStore, "registrations">;
  readonly keyring: {
    readonly hasRequirements: boolean;
    requirementsFor(name: string): readonly Approvals[];
    onReplaced(callback: () => void): () => void;
  };
  readonly log: Log;
  /** Between two looks, in ms; 10 s unless told. */
  readonly intervalMs?: number;
}

/** Works from start() to stop(). */
export class ApprovalScope {
  readonly #options: ApprovalScopeOptions;
  /** To each name the names of all runners that bear it; undefined until the first look under a keyring that asks. */
  #related: ReadonlyMap<string, ReadonlySet<string>> | undefined;
  readonly #stops: (() => void)[] = [];
  readonly #warned = new Set<string>();

  constructor(options: ApprovalScopeOptions) {
    this.#options = options;
  }

  /** Looks once before anything is admitted. @throws SupervisorError `unavailable` */
  async start(): Promise<void> {
    const { keyring, intervalMs = INTERVAL_MS } = this.#options;
    await this.#look();
    const timer = setInterval(() => void this.#lookAgain(), intervalMs).unref();
    this.#stops.push(
      keyring.onReplaced(() => void this.#lookAgain()),
      () => clearInterval(timer),
    );
  }

  stop(): void {
    for (const stop of this.#stops.splice(0)) stop();
  }

  /**
   * Approvals that jobs sent to this runner or group need: each of these, once.
   * @throws SupervisorError `unavailable` where the keyring asks for approvals only since now, and nobody has looked yet.
   */
  requirementsFor(name: string): readonly Approvals[] {
    const { keyring } = this.#options;
    if (!keyring.hasRequirements) return [];
    if (this.#related === undefined) {
      throw new SupervisorError("unavailable", { data: { applied: "no", reason: "approvals_not_looked_at" } });
    }
    const names = this.#related.get(name) ?? [];
    return [...new Set([name, ...names].flatMap((each) => keyring.requirementsFor(each)))];
  }

  async #lookAgain(): Promise<void> {
    try {
      await this.#look();
    } catch (error) {
      // What was seen last goes on to count; a store that is away admits nothing.
      this.#options.log.debug({ event: "approvals_not_looked_at", error: errorText(error) }, "looked at again later");
    }
  }

  async #look(): Promise<void> {
    const { runners, keyring } = this.#options;
    if (!keyring.hasRequirements) {
      // What is seen now would be old by the time somebody asks.
      this.#related = undefined;
      return;
    }
    const related = new Map<string, Set<string>>();
    for (const { body } of await runners.registrations()) {
      const names = [body.name, ...body.groups];
      for (const name of names) related.set(name, new Set([...(related.get(name) ?? []), ...names]));
    }
    this.#related = related;
    for (const name of related.keys()) this.#warn(name);
  }

  /** Once a name: who sends there is asked for approvals that keys.toml does not show for it. */
  #warn(name: string): void {
    const { keyring, log } = this.#options;
    const more = this.requirementsFor(name).length - keyring.requirementsFor(name).length;
    if (more === 0 || this.#warned.has(name)) return;
    this.#warned.add(name);
    log.warn(
      { event: "approvals_widened", name },
      `jobs for "${name}" need the approvals of another name of its runners as well. Cover both by the same [[require]] ` +
        "tables, or take the runner out of the group.",
    );
  }
}
