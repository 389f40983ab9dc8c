/**
 * What the stand-in's thread does. It *watches* while the runner's event loop speaks; once the loop has been silent for
 * too long it *stands in*: renews every lease, and ends the processes whose lease is gone or whose job is to be
 * cancelled. A loop that stays silent is taken for dead: then nothing is renewed any more, and the processes are ended.
 */
import { errorText } from "../errors.ts";
import type { Lease, Renewed, Renewer } from "./source.ts";
import { withDeadline } from "./wake.ts";

/** Looks at the event loop in one lease. */
export const LOOKS = 12;
/** Silence, in looks, before it stands in. The loop speaks every third of a lease: a renewal is late by a sixth at most. */
const PATIENCE = 5;
/** Silence, in looks, after which the loop is taken for dead: four leases. */
const MOST_SILENCE = 4 * LOOKS;

/** What the event loop says; each word is a sign of life. */
export type Word =
  | { readonly kind: "alive" }
  | { readonly kind: "hold"; readonly hold: number; readonly lease: Lease; readonly deadlineMs: number }
  | { readonly kind: "renewed"; readonly hold: number; readonly deadlineMs: number }
  /** The process group that ends with the lease; none: it is gone. */
  | { readonly kind: "group"; readonly hold: number; readonly group: number | undefined; readonly killGraceMs: number }
  | { readonly kind: "release"; readonly hold: number };

/** What was done in the loop's place, told before a signal is sent. */
export type Deed =
  | { readonly kind: "renewed"; readonly holds: readonly number[]; readonly sentMs: number }
  | { readonly kind: "ended"; readonly hold: number; readonly why: "lost" | "lapsed" | "cancelled" }
  | { readonly kind: "stood_in"; readonly forMs: number; readonly error?: string };

export interface LeaseWatchOptions {
  readonly leaseMs: number;
  readonly renewer: Renewer;
  /** The machine's monotonic clock, the same in each thread. */
  readonly machineMs: () => number;
  report(deed: Deed): void;
  /** Sends a signal to a process group; one that is gone is no failure. */
  signal(group: number, signal: NodeJS.Signals): void;
}

interface Watched {
  readonly lease: Lease;
  deadlineMs: number;
  group: number | undefined;
  killGraceMs: number;
  killTimer: NodeJS.Timeout | undefined;
}

export class LeaseWatch {
  readonly #options: LeaseWatchOptions;
  readonly #watched = new Map<number, Watched>();
  #timer: NodeJS.Timeout | undefined;
  /** Counted in looks and not in time: a process that was frozen as a whole has no loop that is blocked. */
  #silence = 0;
  #sinceMs: number | undefined;
  #error: string | undefined;
  #isRenewing = false;

  constructor(options: LeaseWatchOptions) {
    this.#options = options;
  }

  /** Something the event loop said. */
  hear(word: Word): void {
    this.#silence = 0;
    this.#stepBack();
    this.#note(word);
    if (this.#watched.size > 0) {
      this.#timer ??= setInterval(() => void this.look(), this.#options.leaseMs / LOOKS);
    } else {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }

  /** One look at the event loop; the timer's, or a test's. */
  async look(): Promise<void> {
    this.#silence += 1;
    if (this.#silence < PATIENCE) return;
    this.#sinceMs ??= this.#options.machineMs();
    const isDead = this.#silence >= MOST_SILENCE;
    for (const [hold, { deadlineMs }] of this.#watched) {
      if (isDead || this.#options.machineMs() >= deadlineMs) this.#end(hold, "lapsed");
    }
    if (!this.#isRenewing && this.#watched.size > 0) await this.#renew();
  }

  #note(word: Word): void {
    if (word.kind === "alive") return;
    if (word.kind === "hold") {
      const { lease, deadlineMs } = word;
      this.#watched.set(word.hold, { lease, deadlineMs, group: undefined, killGraceMs: 0, killTimer: undefined });
      return;
    }
    const watched = this.#watched.get(word.hold);
    if (watched === undefined) return;
    if (word.kind === "renewed") {
      watched.deadlineMs = Math.max(watched.deadlineMs, word.deadlineMs);
      return;
    }
    clearTimeout(watched.killTimer);
    if (word.kind === "group") Object.assign(watched, { group: word.group, killGraceMs: word.killGraceMs });
    else this.#watched.delete(word.hold);
  }

  /** The loop speaks again. */
  #stepBack(): void {
    if (this.#sinceMs === undefined) return;
    const forMs = Math.round(this.#options.machineMs() - this.#sinceMs);
    this.#options.report({ kind: "stood_in", forMs, ...(this.#error === undefined ? {} : { error: this.#error }) });
    this.#sinceMs = undefined;
    this.#error = undefined;
    void this.#options.renewer.stop();
  }

  async #renew(): Promise<void> {
    const { leaseMs, renewer, machineMs } = this.#options;
    const holds = [...this.#watched];
    const sentMs = machineMs();
    this.#isRenewing = true;
    try {
      const renewal = renewer.renew(holds.map(([, { lease }]) => lease));
      const answers = await withDeadline(renewal, leaseMs / 3, "renew");
      this.#answered(
        holds.map(([hold], index) => [hold, answers[index]]),
        sentMs,
      );
    } catch (error) {
      // One that was cut off because the loop speaks again was in nobody's way.
      if (this.#sinceMs !== undefined) this.#error = errorText(error);
    } finally {
      this.#isRenewing = false;
    }
  }

  /** No answer for one stands for a failed renewal: its deadline stays. */
  #answered(answers: readonly (readonly [number, Renewed | undefined])[], sentMs: number): void {
    const renewed: number[] = [];
    for (const [hold, answer] of answers) {
      const watched = this.#watched.get(hold);
      if (watched === undefined || answer === undefined) continue;
      if (answer.outcome === "lost") {
        this.#end(hold, "lost");
        continue;
      }
      watched.deadlineMs = Math.max(watched.deadlineMs, sentMs + this.#options.leaseMs);
      renewed.push(hold);
      if (answer.isCancelling) this.#cancel(hold, watched);
    }
    this.#options.report({ kind: "renewed", holds: renewed, sentMs });
  }

  /** At once: the lease is gone, and the outcome would be nobody's. */
  #end(hold: number, why: "lost" | "lapsed"): void {
    const { group, killTimer } = this.#watched.get(hold) ?? {};
    this.#watched.delete(hold);
    clearTimeout(killTimer);
    this.#options.report({ kind: "ended", hold, why });
    if (group !== undefined) this.#options.signal(group, "SIGKILL");
  }

  /** As the event loop does: SIGTERM, and SIGKILL after the grace. Once: the job keeps its lease until it has ended. */
  #cancel(hold: number, watched: Watched): void {
    const { group } = watched;
    if (group === undefined || watched.killTimer !== undefined) return;
    this.#options.report({ kind: "ended", hold, why: "cancelled" });
    this.#options.signal(group, "SIGTERM");
    watched.killTimer = setTimeout(() => this.#options.signal(group, "SIGKILL"), watched.killGraceMs);
  }
}
