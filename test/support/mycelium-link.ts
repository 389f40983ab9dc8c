/** The overlay as a carrier of the contract suite: one pair of daemons for a file, a listener and a dialer for a test. */
import type { Answer, RequestHandler } from "../../src/rpc/transport.ts";
import { MyceliumDaemon } from "../../transports/mycelium/daemon.ts";
import { DEFAULT_TOPIC } from "../../transports/mycelium/daemon.ts";
import { MyceliumDialer } from "../../transports/mycelium/dialer.ts";
import { MyceliumListener } from "../../transports/mycelium/listener.ts";
import { padPayload } from "../../transports/mycelium/padding.ts";
import { quietLog } from "./dispatcher.ts";
import { until, within } from "./mycelium-harness.ts";
import type { Pair } from "./mycelium-pair.ts";
import { unlimited } from "./mycelium-setup.ts";
import type { Carrier, Link } from "./transports.ts";

/** Longest wait for the reply to one message, in seconds. */
const REPLY_SECONDS = 10;
/** A handler that never ends is given up after so long. */
const STOP_MS = 200;

/** @param openPair starts the daemons, once, before the first test */
export function myceliumCarrier(title: string, openPair: () => Promise<Pair>): Carrier {
  let pair: Pair | undefined;
  return {
    name: "mycelium",
    title,
    start: async () => {
      pair = await openPair();
    },
    stop: async () => pair?.close(),
    open: async (handler) => {
      if (pair === undefined) throw new Error("The carrier was not started.");
      return openLink(pair, handler);
    },
  };
}

async function openLink(pair: Pair, inside: RequestHandler): Promise<Link> {
  const silence = new Silence(inside);
  const listener = new MyceliumListener(
    // So much that no test of the dispatcher meets the allowance for what nobody signed.
    { api: pair.far.api, unauthenticatedPerSecond: 1000 },
    { handler: silence, log: quietLog, governor: unlimited() },
  );
  await listener.start();
  await until(() => listener.status().isUp);
  const daemon = new MyceliumDaemon({ api: pair.near.api });
  const dialer = new MyceliumDialer({ url: `mycelium://${pair.far.publicKey}`, daemon, governor: unlimited() });
  return {
    dialer,
    send: async (message) =>
      silence.orAnswer(async (signal) => push({ daemon, to: pair.far.publicKey, message, signal })),
    [Symbol.asyncDispose]: async () => {
      await dialer.close();
      await listener.stop(within(STOP_MS));
      daemon.close();
    },
  };
}

interface Push {
  readonly daemon: MyceliumDaemon;
  readonly to: string;
  readonly message: Uint8Array;
  readonly signal: AbortSignal;
}

async function push({ daemon, to, message, signal }: Push): Promise<string | undefined> {
  const payload = padPayload(message);
  const wanted = { to: { pk: to }, topic: DEFAULT_TOPIC, payload, replyTimeoutSeconds: REPLY_SECONDS, signal };
  const reply = await daemon.push(wanted);
  return reply === undefined ? undefined : new TextDecoder().decode(reply.payload).trimEnd();
}

/** Passes messages on, and notices those that get no answer: over the overlay their absence would show only after the wait. */
class Silence implements RequestHandler {
  readonly #inside: RequestHandler;
  #waiting: AbortController | undefined;

  constructor(inside: RequestHandler) {
    this.#inside = inside;
  }

  async handle(...args: Parameters<RequestHandler["handle"]>): Promise<Answer> {
    const answer = await this.#inside.handle(...args);
    if (answer.bytes === undefined) this.#waiting?.abort();
    return answer;
  }

  onRevoked(callback: (key: string) => void): () => void {
    return this.#inside.onRevoked(callback);
  }

  async orAnswer(send: (signal: AbortSignal) => Promise<string | undefined>): Promise<string | undefined> {
    const waiting = new AbortController();
    this.#waiting = waiting;
    try {
      return await send(waiting.signal);
    } catch (error) {
      if (waiting.signal.aborted) return undefined;
      throw error;
    }
  }
}
