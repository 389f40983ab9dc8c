/** What is worth knowing of a daemon that answers, each in one line with its fix; and how to start one of one's own. */

import type { NodeInfo } from "./daemon-answers.ts";
import type { DaemonPace } from "./daemon-pace.ts";

/** Where releases are. */
export const RELEASES = "https://github.com/threefoldtech/mycelium/releases";

/** Longer than any program but a long poll holds the lock. */
const LONG_LOCK_MS = 300;
/** An answer on this host that takes so long is a sign of trouble. */
const SLOW_ANSWER_MS = 1_000;

/** What was seen of a daemon. */
export interface DaemonFacts extends DaemonPace {
  /** Whether it is read by polls, so that others who hold its lock are no news. */
  readonly isPolled: boolean;
  readonly isRemote: boolean;
  /** Another program took messages of our topic. */
  readonly hasOtherReader: boolean;
  /** UNIX seconds, where it was restarted while this process used it. */
  readonly restartedAt?: number | undefined;
}

/** Where messages for a node go. */
export function urlOf({ publicKey, address }: NodeInfo): string {
  return `mycelium://${publicKey ?? `[${address}]`}`;
}

/** Nothing where all is well. */
export function daemonNotes(facts: DaemonFacts): readonly string[] {
  const { node, answerMs, lockMs, isPolled, isRemote, hasOtherReader, restartedAt } = facts;
  const notes: readonly (string | false)[] = [
    node.publicKey === undefined &&
      `the daemon is older than 0.7.8 and does not tell its key: update it from ${RELEASES}`,
    answerMs > SLOW_ANSWER_MS &&
      "the daemon answers slowly, though nobody holds its lock: is this host overloaded, or does the daemon send too much?",
    lockMs > LONG_LOCK_MS &&
      !isPolled &&
      'the daemon is shared, something else long-polls it: give the supervisor a daemon of its own, or set receive = "poll"',
    hasOtherReader &&
      "another program takes messages of this topic: give the supervisor a daemon or a topic of its own",
    isRemote && "the daemon's API is not on loopback: whoever reaches it reads and sends every message",
    restartedAt !== undefined &&
      `the daemon was restarted at ${new Date(restartedAt * 1000).toISOString()}: what waited in its inbox came again or is repeated by its callers`,
  ];
  return notes.filter((note) => note !== false);
}

/**
 * The command that starts a daemon for `api`, without root.
 * @param keyFile made by the daemon where it is not there
 */
export function daemonCommand(api: string, keyFile: string): string {
  const { hostname, port } = new URL(api);
  const apiPort = Number(port === "" ? 80 : port);
  const own = `--api-addr ${hostname}:${apiPort} --jsonrpc-addr ${hostname}:${apiPort + 1}`;
  return `mycelium -k ${keyFile} --no-tun ${own} --peers tcp://HOST:9651`;
}
