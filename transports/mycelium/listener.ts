/** Serves a request handler to peers of the overlay through the local Mycelium daemon. */

import { join } from "node:path";

import { errorText } from "../../src/errors.ts";
import type { Log, LogLine } from "../../src/log.ts";
import type { Listener, ListenerStatus, PeerSeen, RequestHandler } from "../../src/rpc/transport.ts";
import { canonicalSubnet } from "./address.ts";
import { AnswerCache } from "./answer-cache.ts";
import type { NodeInfo, OverlayMessage } from "./daemon-answers.ts";
import { daemonNotes, urlOf } from "./daemon-notes.ts";
import { type DaemonPace, measurePace } from "./daemon-pace.ts";
import { DaemonError } from "./daemon-request.ts";
import { DEFAULT_MAX_MESSAGE_BYTES, DEFAULT_TOPIC, MyceliumDaemon } from "./daemon.ts";
import { Governor, governorOptions } from "./governor.ts";
import { InFlightNotes } from "./in-flight-notes.ts";
import { Inbox } from "./inbox.ts";
import { Intake, type IntakeLimits } from "./intake.ts";
import { LateReplies } from "./late-replies.ts";
import { pause } from "./pause.ts";
import { Peers } from "./peers.ts";
import { ReplyQueue } from "./reply-queue.ts";
import { RoundTrips } from "./round-trips.ts";

/** Settings of the listener, as `[mycelium]` in the configuration has them. */
export interface MyceliumListenerSettings {
  /** Base URL of the daemon's REST API. Default `http://127.0.0.1:8989/api/v1`. */
  readonly api?: string;
  /** Permits an API that is not on loopback. Default false. */
  readonly allowRemoteApi?: boolean;
  /** How long the daemon may take to answer what waits for nothing, in ms. Default 10,000. */
  readonly deadlineMs?: number;
  /** Default `supervisor.rpc`. */
  readonly topic?: string;
  /**
   * `hold`: a read waits in the daemon for up to a second, and holds its only lock meanwhile; for a daemon of our own.
   * `poll`: asks every 10 ms while messages come, growing to 100 ms; for a daemon shared with others. Default `hold`.
   */
  readonly receive?: "hold" | "poll";
  /** Largest request and answer, in bytes. Default 1 MiB. */
  readonly maxMessageBytes?: number;
  /** Sustained replies a second. Default 12; ignored where a governor is given. */
  readonly messagesPerSecond?: number;
  /** Replies a second to all that is not authenticated or malformed together; five seconds' worth at once. Default 2. */
  readonly unauthenticatedPerSecond?: number;
  /** Subnets that may send to the topic. Empty, the default: the daemon's own configuration decides. */
  readonly sources?: readonly string[];
  /** Where the notes of messages in flight are kept, in the folder `mycelium-in-flight`. Absent: none are kept. */
  readonly dataDir?: string;
  /** A call that takes longer is taken at once and answered when done, in ms. Default 1,000. */
  readonly detachAfterMs?: number;
}

/** What the listener needs beside its settings. */
export interface MyceliumListenerParts {
  readonly handler: RequestHandler;
  readonly log: Log;
  /** Shared by all that send through the same daemon in this process. Default: its own, from the settings. */
  readonly daemon?: MyceliumDaemon;
  readonly governor?: Governor;
  /** UNIX milliseconds. Default `Date.now`. */
  readonly now?: () => number;
}

const LIMITS: Omit<IntakeLimits, "maxMessageBytes"> = {
  maxWaitMs: 240_000,
  detachAfterMs: 1_000,
  detachSoonerMs: 50,
  maxDetached: 256,
  maxDetachedPerNode: 16,
};
const BACKOFF_FIRST_MS = 200;
const BACKOFF_LAST_MS = 10_000;
/** How often late replies are drained and the daemon's start time is looked at. */
const CHORES_EVERY_MS = 5_000;

/**
 * One loop. States: *trying* (no daemon: again after a pause that grows from 0.2 to 10 s, with jitter), *serving*
 * (peek → handle → reply → take), *stopping* (nothing new; what was taken is answered). Trying becomes serving when
 * `/admin` answers and the topic's sources are set; serving becomes trying at the first request that fails, and when
 * the daemon turns out to have been restarted.
 */
export class MyceliumListener implements Listener {
  readonly name = "mycelium";
  readonly #settings: MyceliumListenerSettings;
  readonly #topic: string;
  readonly #daemon: MyceliumDaemon;
  readonly #isDaemonShared: boolean;
  readonly #log: Log;
  readonly #peers: Peers;
  readonly #roundTrips: RoundTrips;
  readonly #notes: InFlightNotes;
  readonly #replies: ReplyQueue;
  readonly #intake: Intake;
  readonly #inbox: Inbox;
  readonly #lateReplies: LateReplies;
  readonly #endRevocations: () => void;
  readonly #stopping = new AbortController();
  #status: ListenerStatus = { name: "mycelium", isUp: false, detail: "not started" };
  #node: NodeInfo | undefined;
  #restartedAt: number | undefined;
  #hasOtherReader = false;
  #notesTold: ReadonlySet<string> = new Set();
  #loop: Promise<void> | undefined;
  #failures = 0;
  #choresAt = 0;

  /** @throws Error when a setting is unusable: `api` not on loopback, a source that is not a subnet */
  constructor(settings: MyceliumListenerSettings, parts: MyceliumListenerParts) {
    this.#settings = settings;
    this.#topic = settings.topic ?? DEFAULT_TOPIC;
    assertSubnets(settings.sources ?? []);
    const daemon = parts.daemon ?? new MyceliumDaemon(settings);
    const now = parts.now ?? Date.now;
    const governor = parts.governor ?? new Governor(governorOptions(settings.messagesPerSecond));
    const cache = new AnswerCache();
    this.#daemon = daemon;
    this.#isDaemonShared = parts.daemon !== undefined;
    this.#log = parts.log;
    this.#peers = new Peers(now);
    const { dataDir } = settings;
    this.#notes = new InFlightNotes(dataDir === undefined ? undefined : join(dataDir, "mycelium-in-flight"), now);
    this.#roundTrips = new RoundTrips({
      ask: (id, signal) => daemon.delivery(id, signal),
      onMeasured: (nodeKey, ms) => this.#peers.measured(nodeKey, ms),
      now: () => performance.now(),
    });
    this.#replies = new ReplyQueue({
      send: (id, nodeKey, bytes) => this.#reply(id, nodeKey, bytes),
      governor,
      log: parts.log,
      now: () => performance.now(),
      unauthenticatedPerSecond: settings.unauthenticatedPerSecond ?? 2,
    });
    const isPolled = settings.receive === "poll";
    this.#inbox = new Inbox({ daemon, topic: this.#topic, isPolled, log: parts.log });
    this.#lateReplies = new LateReplies(daemon, !isPolled);
    this.#intake = new Intake({
      handler: parts.handler,
      replies: this.#replies,
      cache,
      notes: this.#notes,
      peers: this.#peers,
      log: parts.log,
      limits: {
        ...LIMITS,
        maxMessageBytes: settings.maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES,
        detachAfterMs: settings.detachAfterMs ?? LIMITS.detachAfterMs,
      },
    });
    this.#endRevocations = parts.handler.onRevoked((key) => cache.revoke(key));
  }

  /** Begins to try; a daemon that is not there yet is waited for. */
  async start(): Promise<void> {
    try {
      await this.#notes.load();
    } catch (error) {
      const fields: LogLine = { event: "mycelium_note", error: errorText(error) };
      this.#log.warn(fields, "Cannot read the notes of messages in flight: a message that kills is met again.");
    }
    this.#loop = this.#run();
  }

  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopping.abort();
    this.#status = { name: "mycelium", isUp: false, detail: "stopped" };
    const cut = (): void => this.#closeDaemon();
    deadline.addEventListener("abort", cut);
    if (deadline.aborted) {
      cut();
    }
    await this.#loop;
    await this.#intake.close(deadline);
    await this.#replies.close(deadline);
    this.#roundTrips.close();
    deadline.removeEventListener("abort", cut);
    this.#endRevocations();
    this.#closeDaemon();
  }

  async #reply(id: string, nodeKey: string, bytes: Uint8Array): Promise<void> {
    await this.#daemon.reply(id, nodeKey, bytes);
    this.#roundTrips.sent(id, nodeKey, bytes.length);
  }

  #closeDaemon(): void {
    if (!this.#isDaemonShared) {
      this.#daemon.close();
    }
  }

  status(): ListenerStatus {
    return this.#status;
  }

  peersSeen(): readonly PeerSeen[] {
    return this.#peers.list();
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      try {
        await this.#connect();
        await this.#serve();
      } catch (error) {
        await this.#retryLater(error);
      }
    }
  }

  async #connect(): Promise<void> {
    const pace = await measurePace(this.#daemon, this.#stopping.signal);
    const { node } = pace;
    await this.#applySources();
    await this.#lateReplies.drain(this.#stopping.signal);
    const before = this.#node?.startedAt;
    const isRestarted = before !== undefined && node.startedAt !== before;
    this.#node = node;
    // What a take did not find had gone with the daemon's memory; another reader will be met again.
    this.#hasOtherReader &&= !isRestarted;
    this.#restartedAt = isRestarted ? node.startedAt : this.#restartedAt;
    this.#choresAt = performance.now() + CHORES_EVERY_MS;
    this.#noteDaemon(pace);
    if (this.#failures === 0) {
      this.#tellUp();
    }
  }

  #tellUp(): void {
    const { url } = this.#status;
    this.#log.info({ event: "mycelium_up", url, api: this.#daemon.api }, `Peers reach this node at ${url}`);
  }

  /** The present state, once it serves, with what is to be known of the daemon; each note is logged once while it holds. */
  #noteDaemon(pace: DaemonPace): void {
    const notes = daemonNotes({
      ...pace,
      isPolled: this.#settings.receive === "poll",
      isRemote: this.#daemon.isRemote,
      hasOtherReader: this.#hasOtherReader,
      restartedAt: this.#restartedAt,
    });
    for (const note of notes) {
      if (!this.#notesTold.has(note)) {
        this.#log.warn({ event: "mycelium_daemon", api: this.#daemon.api }, `Mycelium: ${note}.`);
      }
    }
    this.#notesTold = new Set(notes);
    // After a failure only what it gives out shows that it is of use again.
    if (this.#failures === 0) {
      this.#showUp(pace.node);
    }
  }

  #showUp(node: NodeInfo): void {
    const detail = [...this.#notesTold].join("; ");
    this.#status = { name: "mycelium", isUp: true, url: urlOf(node), ...(detail === "" ? {} : { detail }) };
  }

  /** The daemon forgets them when it restarts; and it keeps every subnet as often as it is told. */
  async #applySources(): Promise<void> {
    const wanted = new Set((this.#settings.sources ?? []).map(canonicalSubnet));
    if (wanted.size === 0) {
      return;
    }
    const listed = new Set((await this.#daemon.sources(this.#topic)) ?? []);
    for (const subnet of wanted) {
      if (subnet !== undefined && !listed.has(subnet)) {
        await this.#daemon.addSource(this.#topic, subnet);
      }
    }
    for (const subnet of listed) {
      if (!wanted.has(subnet)) {
        await this.#daemon.removeSource(this.#topic, subnet);
      }
    }
  }

  async #serve(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      const message = await this.#inbox.next(this.#stopping.signal);
      if (message !== undefined) {
        await this.#handle(message);
      }
      this.#noteServed();
      if (performance.now() >= this.#choresAt) {
        await this.#doChores();
      }
    }
  }

  /** A daemon that answers and gives no message out would be up and down by turns, and asked as fast as it goes. */
  #noteServed(): void {
    if (this.#failures > 0 && this.#node !== undefined) {
      this.#failures = 0;
      this.#showUp(this.#node);
      this.#tellUp();
    }
  }

  async #handle(message: OverlayMessage): Promise<void> {
    await this.#intake.receive(message);
    const taken = await this.#daemon.take(this.#topic);
    await this.#intake.taken(message.id);
    this.#hasOtherReader ||= taken?.id !== message.id;
    // Another reader of the topic was quicker with the first: this one is ours now, and nobody else will have it.
    if (taken !== undefined && taken.id !== message.id) {
      await this.#intake.receive(taken);
      await this.#intake.taken(taken.id);
    }
  }

  async #doChores(): Promise<void> {
    this.#choresAt = performance.now() + CHORES_EVERY_MS;
    await this.#lateReplies.drain(this.#stopping.signal);
    const pace = await measurePace(this.#daemon, this.#stopping.signal);
    if (pace.node.startedAt !== this.#node?.startedAt) {
      throw new DaemonError("lost", "the daemon was restarted");
    }
    this.#noteDaemon(pace);
  }

  async #retryLater(error: unknown): Promise<void> {
    if (this.#stopping.signal.aborted) {
      return;
    }
    const detail = this.#whyDown(error);
    const fields: LogLine = { event: "mycelium_down", api: this.#daemon.api, error: detail };
    if (this.#failures === 0) {
      this.#log.warn(fields, "The Mycelium daemon is not usable; trying again until it is.");
    } else {
      this.#log.debug(fields, "The Mycelium daemon is still not usable.");
    }
    const { url } = this.#status;
    this.#status = { name: "mycelium", isUp: false, ...(url === undefined ? {} : { url }), detail };
    const backoffMs = Math.min(BACKOFF_LAST_MS, BACKOFF_FIRST_MS * 2 ** this.#failures);
    this.#failures += 1;
    await pause(backoffMs * (0.5 + Math.random() / 2), this.#stopping.signal);
  }

  /** In one line, with the fix. */
  #whyDown(error: unknown): string {
    const kind = error instanceof DaemonError ? error.kind : undefined;
    const says = errorText(error);
    if (kind === "refused") {
      return `${says}: start it, or name another with --mycelium-api; supervisor doctor tells how`;
    }
    return kind === "malformed" ? `${says}: is this the REST API of a Mycelium daemon?` : says;
  }
}

function assertSubnets(sources: readonly string[]): void {
  for (const source of sources) {
    if (canonicalSubnet(source) === undefined) {
      throw new Error(`Mycelium source "${source}" is not a subnet. Give it like 400::/7 or 5f6:12::/64.`);
    }
  }
}
