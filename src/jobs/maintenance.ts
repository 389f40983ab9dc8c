/** The maintenance loop: lost leases, expired jobs, retention. One `tick`, one loop around it. */
import { setTimeout as sleep } from "node:timers/promises";

import { errorText } from "../errors.ts";
import type { Log, LogLine } from "../log.ts";
import type { Maintained, MaintenanceStore, RetentionLimits } from "../store/store.ts";

export interface MaintenanceOptions {
  readonly store: MaintenanceStore;
  readonly retention: RetentionLimits;
  /** Between two ticks, in ms; jitter keeps several supervisors apart. */
  readonly intervalMs: number;
  readonly log: Log;
  /** Hears what each tick did. */
  onDone?(done: Maintained): void;
}

/** Runs from start() to stop(). A failing tick is logged once for each outage, never ends the loop. */
export class Maintenance {
  readonly #options: MaintenanceOptions;
  readonly #stopping = new AbortController();
  #loop: Promise<void> | undefined;
  #isFailing = false;

  constructor(options: MaintenanceOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
  }

  /** One look at everything that is due; tests step time with it. */
  async tick(): Promise<Maintained> {
    const done = await this.#options.store.maintain(this.#options.retention);
    this.#options.onDone?.(done);
    if (done.reaped + done.expired + done.retired > 0) {
      this.#options.log.info({ event: "maintained", ...done }, "jobs reaped, expired or retired");
    }
    return done;
  }

  async #run(): Promise<void> {
    const { intervalMs, log } = this.#options;
    while (!this.#stopping.signal.aborted) {
      try {
        await this.tick();
        this.#isFailing = false;
      } catch (error) {
        const fields: LogLine = { event: "maintenance_failed", error: errorText(error) };
        if (!this.#isFailing) log.warn(fields, "maintenance waits for the store");
        this.#isFailing = true;
      }
      await this.#pause(intervalMs * (0.9 + Math.random() * 0.2));
    }
  }

  async #pause(ms: number): Promise<void> {
    try {
      await sleep(ms, undefined, { signal: this.#stopping.signal });
    } catch {
      // Aborted: the loop's condition ends it.
    }
  }
}
