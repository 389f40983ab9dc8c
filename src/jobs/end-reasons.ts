/** THE list of what ended jobs are counted by, beside their state: few and fixed, whatever text a runner gives as reason. */
import type { JobState, TerminalState } from "../rpc/schema.ts";

/**
 * For each state with more than one way to it, the ways that are told apart; `lua/lib/20-job.lua` knows which reason is
 * which. What fits none is `other`.
 */
export const END_REASONS = {
  failed: ["exit_code", "signal", "lost", "poison", "refused", "not_started", "bad_result", "runner_stopped"],
  cancelled: ["asked", "revoked", "runner_removed"],
} as const satisfies Partial<Record<TerminalState, readonly string[]>>;

/** `""`: the state says it all. */
export type EndReason = (typeof END_REASONS)[keyof typeof END_REASONS][number] | "other" | "";

/** How many jobs stand in a state for a reason. */
export interface JobCount {
  readonly state: JobState;
  readonly reason: EndReason;
  readonly jobs: number;
}
