/** A runner's evidence of life, every third of a lease. */
import { errorText } from "../errors.ts";
import type { Log } from "../log.ts";
import type { JobSource } from "./source.ts";
import { Wake } from "./wake.ts";

const BEATS = 3;

export interface HeartbeatOptions {
  readonly source: Pick<JobSource, "leaseMs" | "heartbeat">;
  readonly log: Log;
  state(): { readonly running: number; readonly isDraining: boolean };
  /** The registration is gone, or another process took the name over. */
  onRemoved(): Promise<void>;
}

export class Heartbeat {
  readonly #options: HeartbeatOptions;
  readonly #wake = new Wake();
  #isStopping = false;
  #loop: Promise<void> | undefined;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  /** Something changed that others wait to see. */
  beat(): void {
    this.#wake.ring();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#wake.ring();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { source, log } = this.#options;
    const intervalMs = source.leaseMs / BEATS;
    while (!this.#isStopping) {
      try {
        const answer = await source.heartbeat(this.#options.state());
        if (answer === "removed" && !this.#isStopping) await this.#options.onRemoved();
      } catch (error) {
        log.debug({ event: "heartbeat_failed", error: errorText(error) }, "no heartbeat");
      }
      await this.#wake.wait(this.#isStopping ? 0 : intervalMs);
    }
  }
}
