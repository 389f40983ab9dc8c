/** The overlay: a call against the daemons' own ping-pong, batches against single jobs, HTTP beside it. */
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { buildJob, type SignedJob, signJob, SupervisorClient } from "../../src/client/index.ts";
import { parseMessage } from "../../transports/mycelium/daemon-answers.ts";
import type { PairNode } from "../support/mycelium-pair.ts";
import { processorMs } from "./machine.ts";
import { aDialer, GOVERNED_PER_SECOND, LINK_MS, type Overlay, pairOf, withOverlay } from "./overlay.ts";
import type { Figures } from "./report.ts";
import { type Comparison, compare, median, type Sample } from "./rounds.ts";
import { type BenchOptions, RUNNER, sendLoad } from "./system.ts";

const CALLS_A_ROUND = 15;
const JOBS_IN_BATCHES = 5000;
const JOBS_ONE_BY_ONE = 60;
/** Messages in flight at a time, as the dialer has them. */
const IN_FLIGHT = 4;
const TOPIC = Buffer.from("ping").toString("base64");

/** A call, and many jobs. */
export async function benchMycelium(options: BenchOptions): Promise<Figures> {
  return withOverlay(async (overlay) => {
    const bench = new OverlayBench(overlay, options);
    return [await bench.callAgainstPingPong(), await bench.batchesAgainstSingles()];
  });
}

/** HTTP beside the overlay, on daemons whose outboxes are empty. */
export async function benchHttpBesideMycelium(options: BenchOptions): Promise<Figures> {
  return withOverlay(async (overlay) => {
    const bench = new OverlayBench(overlay, options);
    return [await bench.httpBesideLoad(), await bench.httpBesideDeadDaemon()];
  });
}

class OverlayBench {
  readonly #overlay: Overlay;
  readonly #options: BenchOptions;

  constructor(overlay: Overlay, options: BenchOptions) {
    this.#overlay = overlay;
    this.#options = options;
  }

  /** Signed, against a message and its reply without anything of ours. */
  async callAgainstPingPong(): Promise<Comparison> {
    const { client, kind } = this.#overlay;
    return this.#overlay.withBare(async (near, far) =>
      compare({
        title: `one signed call over a ${LINK_MS} ms link, ${kind}`,
        unit: "a second, one after the other",
        rounds: this.#options.rounds,
        required: 1 / 1.15,
        subject: { name: "supervisor", measure: async () => oneByOne(async () => client.call("whoami", {})) },
        baseline: { name: "bare daemons", measure: async () => oneByOne(async () => pingPong(near, far)) },
      }),
    );
  }

  async batchesAgainstSingles(): Promise<Comparison> {
    const { client, nodes, kind, supervisor, seed } = this.#overlay;
    const [near, far] = pairOf(nodes);
    return compare({
      title: `${JOBS_IN_BATCHES} signed jobs of one peer at once, ${kind}`,
      unit: "jobs a second",
      rounds: Math.min(3, this.#options.rounds),
      required: 10,
      subject: {
        name: "in batches",
        measure: async () => {
          const jobs = await this.#signJobs(JOBS_IN_BATCHES);
          return rate(jobs.length, async () => {
            await Promise.all(jobs.map(async (job) => client.call("create_job", job, { deadlineMs: 120_000 })));
          });
        },
      },
      baseline: {
        name: "one a message",
        measure: async () => {
          const jobs = await this.#signJobs(JOBS_ONE_BY_ONE);
          // A dialer each: one alone would put them together.
          const dialers = Array.from({ length: IN_FLIGHT }, () => aDialer(near, far));
          const signer = createNativeSigner(seed);
          const sample = await rate(jobs.length, async () => {
            const lanes = dialers.map(async (dialer) => {
              const lane = new SupervisorClient({ dialer, signer, supervisor });
              for (let job = jobs.pop(); job !== undefined; job = jobs.pop()) await lane.call("create_job", job);
            });
            await Promise.all(lanes);
          });
          await Promise.all(dialers.map(async (dialer) => dialer.close()));
          return sample;
        },
      },
    });
  }

  /**
   * Signed calls at the governed rate, while HTTP is asked by one connection; against as many messages between two nodes
   * that are nothing to the supervisor, since daemons and callers want the same two cores either way.
   */
  async httpBesideLoad(): Promise<Comparison> {
    const { client, kind } = this.#overlay;
    const beside = async (call: () => Promise<unknown>): Promise<Sample> => {
      const over = new AbortController();
      const calling = keepCalling(call, over.signal);
      const sample = await this.#httpP99();
      over.abort();
      await calling;
      return sample;
    };
    return this.#overlay.withBare(async (near, far) =>
      compare({
        title: `HTTP's p99 while the overlay carries ${GOVERNED_PER_SECOND} calls a second, ${kind}`,
        unit: "1,000 / p99 in ms",
        rounds: this.#options.rounds,
        required: 1 / 1.2,
        subject: { name: "to it", measure: async () => beside(async () => client.call("whoami", {})) },
        baseline: { name: "past it", measure: async () => beside(async () => pingPong(near, far)) },
      }),
    );
  }

  /** Last: the supervisor's daemon is ended for each round, and started again. */
  async httpBesideDeadDaemon(): Promise<Comparison> {
    const { nodes, kind } = this.#overlay;
    const [, far] = pairOf(nodes);
    return compare({
      title: `HTTP's p99 while the daemon is dead, ${kind}`,
      unit: "1,000 / p99 in ms",
      rounds: this.#options.rounds,
      required: 1 / 1.2,
      subject: {
        name: "dead daemon",
        measure: async () => {
          await far.stop();
          const sample = await this.#httpP99();
          await far.start();
          return sample;
        },
      },
      baseline: { name: "quiet", measure: async () => this.#httpP99() },
    });
  }

  async #httpP99(): Promise<Sample> {
    const { load, port, program, supervisor, seed } = this.#overlay;
    const { seconds } = this.#options;
    const before = await processorMs(program.pid);
    const jobs = { supervisor, seed, runner: RUNNER };
    const calls = Math.ceil(seconds * 3000);
    const done = await sendLoad(load, { host: "127.0.0.1", port, jobs, connections: 1, calls, seconds });
    const after = await processorMs(program.pid);
    const share =
      after === undefined || before === undefined ? {} : { "supervisor's cores": (after - before) / done.ms };
    return { perSecond: 1000 / done.p99Ms, details: { "median ms": done.medianMs, "p99 ms": done.p99Ms, ...share } };
  }

  async #signJobs(count: number): Promise<SignedJob[]> {
    const { supervisor, seed } = this.#overlay;
    const signer = createNativeSigner(seed);
    const about = { supervisor, caller: signer.publicKey, runner: RUNNER, payload: "true" };
    return Promise.all(Array.from({ length: count }, async () => signJob(signer, buildJob(about))));
  }
}

/** By the median, so that a hiccup of the machine counts for nothing. */
async function oneByOne(run: () => Promise<unknown>): Promise<Sample> {
  const times: number[] = [];
  while (times.length < CALLS_A_ROUND) {
    const startedMs = performance.now();
    await run();
    times.push(performance.now() - startedMs);
  }
  return { perSecond: 1000 / median(times), details: { "median ms": median(times) } };
}

async function rate(count: number, run: () => Promise<void>): Promise<Sample> {
  const startedMs = performance.now();
  await run();
  return { perSecond: (count * 1000) / (performance.now() - startedMs) };
}

/** A message and its reply by the API alone: the far side takes with a wait and answers. */
async function pingPong(near: PairNode, far: PairNode): Promise<void> {
  const payload = Buffer.alloc(600, "x").toString("base64");
  const answering = takeAndAnswer(far, payload);
  await post(`${near.api}/messages?reply_timeout=10`, { dst: { pk: far.publicKey }, topic: TOPIC, payload });
  await answering;
}

async function takeAndAnswer({ api }: PairNode, payload: string): Promise<void> {
  const response = await fetch(`${api}/messages?topic=${encodeURIComponent(TOPIC)}&timeout=10`);
  const message = parseMessage(await response.text());
  if (message === undefined) throw new Error("The ping did not arrive.");
  await post(`${api}/messages/reply/${message.id}`, { dst: { pk: message.srcPk }, payload });
}

async function post(url: string, body: object): Promise<void> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  await response.text();
  if (response.status >= 300) throw new Error(`${url} answered ${response.status}`);
}

async function keepCalling(call: () => Promise<unknown>, over: AbortSignal): Promise<void> {
  const calls: Promise<unknown>[] = [];
  while (!over.aborted) {
    calls.push(call());
    await new Promise((resolve) => setTimeout(resolve, 1000 / GOVERNED_PER_SECOND));
  }
  await Promise.all(calls);
}
