/** The overlay: a call against the daemons' own ping-pong, batches against single jobs, HTTP beside it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { readSeed } from "../../src/auth/key-file.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { buildJob, type SignedJob, signJob, SupervisorClient } from "../../src/client/index.ts";
import { dataPaths } from "../../src/data-directory.ts";
import { parseMessage } from "../../transports/mycelium/daemon-answers.ts";
import { MyceliumDialer } from "../../transports/mycelium/dialer.ts";
import { Governor } from "../../transports/mycelium/governor.ts";
import { type Nodes, type PairNode, realNodes, simulatedNodes } from "../support/mycelium-pair.ts";
import { processorMs } from "./machine.ts";
import { Part, Program } from "./part.ts";
import { RedisServer } from "./redis-server.ts";
import type { Figures } from "./report.ts";
import { type Comparison, compare, median, type Sample } from "./rounds.ts";
import { type BenchOptions, RUNNER, sendLoad } from "./system.ts";

/** One way. */
const LINK_MS = 10;
const CALLS_A_ROUND = 15;
const JOBS_IN_BATCHES = 5000;
const JOBS_ONE_BY_ONE = 60;
/** Messages in flight at a time, as the dialer has them. */
const IN_FLIGHT = 4;
/** What a daemon is given for long (spec: mycelium, facts). */
const GOVERNED_PER_SECOND = 20;
const TOPIC = Buffer.from("ping").toString("base64");

/** A call, and many jobs. On real daemons where MYCELIUM_BIN names the program, else on simulated ones; titles say which. */
export async function benchMycelium(options: BenchOptions): Promise<Figures> {
  return withBench(options, async (bench) => [await bench.callAgainstPingPong(), await bench.batchesAgainstSingles()]);
}

/** HTTP beside the overlay, on daemons whose outboxes are empty. */
export async function benchHttpBesideMycelium(options: BenchOptions): Promise<Figures> {
  return withBench(options, async (bench) => [await bench.httpBesideLoad(), await bench.httpBesideDeadDaemon()]);
}

async function withBench(
  options: BenchOptions,
  run: (bench: OverlayBench) => Promise<readonly Comparison[]>,
): Promise<Figures> {
  const binary = process.env["MYCELIUM_BIN"] ?? "";
  const kind = binary === "" ? "simulated daemons" : "real daemons";
  const open = async (): Promise<Nodes> =>
    binary === "" ? simulatedNodes({ delayMs: LINK_MS }) : realNodes(binary, { delayMs: LINK_MS });
  await using bench = await OverlayBench.start({ open, kind, options });
  const missing = "MYCELIUM_BIN is not set: the figures of the overlay are of simulated daemons.";
  return { comparisons: await run(bench), notMeasured: binary === "" ? [missing] : [] };
}

interface BenchParts {
  readonly options: BenchOptions;
  readonly kind: string;
  /** The supervisor's, and two that nobody else uses. */
  readonly nodes: Nodes;
  readonly bare: Nodes;
  readonly redis: RedisServer;
  readonly program: Program;
  readonly port: number;
  readonly load: Part;
  readonly client: SupervisorClient;
  readonly dialer: MyceliumDialer;
  readonly directory: string;
  readonly supervisor: string;
  readonly seed: string;
}

class OverlayBench implements AsyncDisposable {
  readonly #parts: BenchParts;

  private constructor(parts: BenchParts) {
    this.#parts = parts;
  }

  static async start({
    open,
    kind,
    options,
  }: {
    readonly open: () => Promise<Nodes>;
    readonly kind: string;
    readonly options: BenchOptions;
  }): Promise<OverlayBench> {
    const directory = await mkdtemp(join(tmpdir(), "horus-bench-overlay-"));
    const [nodes, bare, redis] = [await open(), await open(), await RedisServer.start()];
    const [near, far] = pairOf(nodes);
    const env = {
      SUPERVISOR_REDIS_URL: `unix://${redis.socket}`,
      SUPERVISOR_DATA_DIR: directory,
      SUPERVISOR_MYCELIUM_API: far.api,
      SUPERVISOR_MYCELIUM_MESSAGES_PER_SECOND: "1000",
      SUPERVISOR_RPC_ADDRESS_CALLS_PER_SECOND: "1000000",
      SUPERVISOR_RPC_ADDRESS_BURST: "1000000",
    };
    const { program, match } = await Program.start(["--port", "0", "--mycelium"], /"http:\/\/127\.0\.0\.1:(\d+)\/?"/u, {
      env,
    });
    const port = Number(match[1]);
    const url = { SUPERVISOR_URL: `http://127.0.0.1:${port}` };
    await Program.run(["runner", "register", RUNNER, "--slots", "64"], { env: { ...env, ...url } });
    const paths = dataPaths(directory);
    const seed = await readSeed(paths.owner);
    const supervisor = createNativeSigner(await readSeed(paths.identity)).publicKey;
    const dialer = aDialer(near, far);
    const client = new SupervisorClient({ dialer, signer: createNativeSigner(seed), supervisor });
    const load = await Part.start("load", {});
    const parts = {
      options,
      kind,
      nodes,
      bare,
      redis,
      program,
      port,
      load,
      client,
      dialer,
      directory,
      supervisor,
      seed,
    };
    return new OverlayBench(parts);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { dialer, load, program, redis, nodes, bare, directory } = this.#parts;
    await dialer.close();
    await load[Symbol.asyncDispose]();
    await program[Symbol.asyncDispose]();
    await redis[Symbol.asyncDispose]();
    await Promise.all([nodes.close(), bare.close()]);
    await rm(directory, { recursive: true, force: true });
  }

  /** Signed, against a message and its reply without anything of ours. */
  async callAgainstPingPong(): Promise<Comparison> {
    const { client, bare, options, kind } = this.#parts;
    const [near, far] = pairOf(bare);
    return compare({
      title: `one signed call over a ${LINK_MS} ms link, ${kind}`,
      unit: "a second, one after the other",
      rounds: options.rounds,
      required: 1 / 1.15,
      subject: { name: "supervisor", measure: async () => oneByOne(async () => client.call("whoami", {})) },
      baseline: { name: "bare daemons", measure: async () => oneByOne(async () => pingPong(near, far)) },
    });
  }

  async batchesAgainstSingles(): Promise<Comparison> {
    const { client, nodes, options, kind, supervisor, seed } = this.#parts;
    const [near, far] = pairOf(nodes);
    return compare({
      title: `${JOBS_IN_BATCHES} signed jobs of one peer at once, ${kind}`,
      unit: "jobs a second",
      rounds: Math.min(3, options.rounds),
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

  /** Signed calls at the governed rate, while HTTP is asked by one connection. */
  async httpBesideLoad(): Promise<Comparison> {
    const { client, options, kind } = this.#parts;
    return compare({
      title: `HTTP's p99 while the overlay carries ${GOVERNED_PER_SECOND} messages a second, ${kind}`,
      unit: "1,000 / p99 in ms",
      rounds: options.rounds,
      required: 1 / 1.2,
      subject: {
        name: "loaded",
        measure: async () => {
          const over = new AbortController();
          const calling = keepCalling(client, over.signal);
          const sample = await this.#httpP99();
          over.abort();
          await calling;
          return sample;
        },
      },
      baseline: { name: "quiet", measure: async () => this.#httpP99() },
    });
  }

  /** Last: the supervisor's daemon is ended for each round, and started again. */
  async httpBesideDeadDaemon(): Promise<Comparison> {
    const { nodes, options, kind } = this.#parts;
    const [, far] = pairOf(nodes);
    return compare({
      title: `HTTP's p99 while the daemon is dead, ${kind}`,
      unit: "1,000 / p99 in ms",
      rounds: options.rounds,
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
    const { load, port, program, options, supervisor, seed } = this.#parts;
    const { seconds } = options;
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
    const { supervisor, seed } = this.#parts;
    const signer = createNativeSigner(seed);
    const about = { supervisor, caller: signer.publicKey, runner: RUNNER, payload: "true" };
    return Promise.all(Array.from({ length: count }, async () => signJob(signer, buildJob(about))));
  }
}

function pairOf({ nodes }: Nodes): readonly [PairNode, PairNode] {
  const [near, far] = nodes;
  if (near === undefined || far === undefined) throw new Error("A bench needs two nodes.");
  return [near, far];
}

/** Not slowed down: rounds are short, and what is measured is the carrier. */
function aDialer(near: PairNode, far: PairNode): MyceliumDialer {
  const governor = new Governor({ perSecond: 1000, burst: 1000 });
  return new MyceliumDialer({ api: near.api, url: `mycelium://${far.publicKey}`, governor });
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

async function keepCalling(client: SupervisorClient, over: AbortSignal): Promise<void> {
  const calls: Promise<unknown>[] = [];
  while (!over.aborted) {
    calls.push(client.call("whoami", {}));
    await new Promise((resolve) => setTimeout(resolve, 1000 / GOVERNED_PER_SECOND));
  }
  await Promise.all(calls);
}
