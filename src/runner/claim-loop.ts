/**
 * The loop that keeps a runner's slots filled: *claiming* while slots are free, *waiting* for a hint, a freed slot or
 * the next poll when there was nothing, *backing off* while the source fails or this runner can not run anything.
 */
import { errorText } from "../errors.ts";
import { Backoff } from "./backoff.ts";
import type { Claimer } from "./claimer.ts";
import type { ClaimedJob } from "./source.ts";
import { pause, Wake } from "./wake.ts";

export interface ClaimLoopOptions {
  readonly claimer: Claimer;
  readonly pollMs: number;
  readonly random: () => number;
  /** Slots free now. */
  free(): number;
  /** Starts a job whose lease surely began at `sinceMs` (monotonic) or later. */
  begin(job: ClaimedJob, sinceMs: number): void;
  onSourceDown(reason: string): void;
  onSourceUp(): void;
}

export class ClaimLoop {
  readonly #options: ClaimLoopOptions;
  readonly #wake = new Wake();
  readonly #sourceBackoff: Backoff;
  readonly #unfitBackoff: Backoff;
  readonly #stopping = new AbortController();
  #isSourceUp = true;
  #isUnfit = false;
  #loop: Promise<void> | undefined;

  constructor(options: ClaimLoopOptions) {
    this.#options = options;
    this.#sourceBackoff = new Backoff(options.random);
    this.#unfitBackoff = new Backoff(options.random);
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** Something may be there to claim. */
  wake(): void {
    this.#wake.ring();
  }

  /** A job ended and its slot is free. Unfit: through a fault of this runner's own, which the next job would meet too. */
  freed(isUnfit: boolean): void {
    if (isUnfit) this.#isUnfit = true;
    else this.#unfitBackoff.reset();
    this.#wake.ring();
  }

  /** Claims no more; resolves when the claim that is under way is over. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#wake.ring();
    await this.#loop;
  }

  /** A claim nobody answered may hold jobs: they are asked for again, so that they can be given back. */
  async closeClaim(ms: number): Promise<void> {
    const deadline = AbortSignal.timeout(ms);
    while (this.#options.claimer.isOpen && !deadline.aborted) {
      await this.#claim(0);
      await pause(this.#sourceBackoff.next(), deadline);
    }
  }

  async #run(): Promise<void> {
    const { pollMs, random } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const free = this.#options.free();
      if (this.#isUnfit) {
        this.#isUnfit = false;
        await pause(this.#unfitBackoff.next(), signal);
      } else if (free === 0) {
        await this.#wake.wait();
      } else if ((await this.#claim(free)) === "none") {
        await this.#wake.wait(pollMs * (0.75 + random() / 2));
      }
    }
  }

  async #claim(free: number): Promise<"some" | "none" | "failed"> {
    const { claimer } = this.#options;
    try {
      const { jobs, sinceMs } = await claimer.claim(free);
      this.#sourceBackoff.reset();
      this.#changeSource(true, "");
      for (const job of jobs) this.#options.begin(job, sinceMs);
      return jobs.length > 0 ? "some" : "none";
    } catch (error) {
      this.#changeSource(false, errorText(error));
      await pause(this.#sourceBackoff.next(), this.#stopping.signal);
      return "failed";
    }
  }

  #changeSource(isUp: boolean, reason: string): void {
    if (this.#isSourceUp === isUp) return;
    this.#isSourceUp = isUp;
    if (isUp) this.#options.onSourceUp();
    else this.#options.onSourceDown(reason);
  }
}
