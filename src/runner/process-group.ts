/** The processes of a job: a group of their own, by the number of the process that leads it. */

/** Sends a signal to all of them. */
export function signalGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch {
    // Nobody is left in the group, or only what changed its user: both end without us.
  }
}
