/** One run: malformed inputs and good jobs among them, until all is quiet, and what is wrong about any of it. */
import { setTimeout as sleep } from "node:timers/promises";

import { build } from "../bench/build.ts";
import { aPost } from "../support/http.ts";
import { anUpgrade } from "../support/websocket.ts";
import { blame } from "./blame.ts";
import { exchange, type Outcome } from "./exchange.ts";
import { defectsIn, faultOf, type Finding, hasGrown, isAdmitted, shown } from "./findings.ts";
import { textFrame } from "./frames.ts";
import { anInput, type FuzzInput, type InputOptions } from "./inputs.ts";
import { aJobOf, makeMaterial, type Material } from "./material.ts";
import { Random } from "./random.ts";
import {
  type FuzzSystem,
  MAX_BODY_BYTES,
  MAX_FRAGMENTS,
  RUNNER,
  startFuzzSystem,
  type SystemOptions,
} from "./system.ts";

export interface FuzzOptions extends SystemOptions {
  readonly seed: number;
  /** Malformed ones. */
  readonly inputs: number;
  /** These alone, by number: of a run that found something. */
  readonly only?: readonly number[] | undefined;
  /** Connections at a time. */
  readonly lanes: number;
  /** Time for an answer or a close, ms. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

export interface Progress {
  readonly sent: number;
  readonly of: number;
  readonly jobs: number;
  readonly findings: number;
}

export interface FuzzReport {
  readonly seed: number;
  readonly inputs: number;
  /** Good ones, sent in between and admitted. */
  readonly jobs: number;
  /** How many inputs ended how. */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly findings: readonly Finding[];
  /** Bytes, after a collection of garbage. */
  readonly heap: { readonly before: number; readonly after: number };
  readonly tookMs: number;
}

/** Malformed inputs between two good jobs. */
const JOB_EACH = 25;
/** Inputs of one material. */
const MATERIAL_EACH = 20_000;
/** Sent before the heap is measured first: code is compiled and tables are filled once. They have numbers of their own. */
const WARM_UP = 2000;
const WARM_UP_FROM = 1_000_000_000;
/** Given up when so much is wrong. */
const MAX_FINDINGS = 20;
/** RFC 9110 §15.5.9: the request's time was over. */
const TOO_LATE = 408;
/** For the heap to come back. */
const QUIET_MS = 10_000;

export async function runFuzz(options: FuzzOptions): Promise<FuzzReport> {
  await using own = options.built === undefined ? await build() : undefined;
  const withBuild = { ...options, built: options.built ?? own };
  await using system = await startFuzzSystem(withBuild);
  const run = new Run(system, withBuild);
  return await run.report();
}

class Run {
  readonly #system: FuzzSystem;
  readonly #options: FuzzOptions;
  readonly #findings: Finding[] = [];
  readonly #outcomes = new Map<string, number>();
  readonly #jobs = new Set<string>();
  readonly #inFlight = new Set<number>();
  /** The last ones that ended: what they left behind may be read only then. */
  readonly #recent: number[] = [];
  readonly #materials = new Map<string, Promise<Material>>();
  #sent = 0;

  constructor(system: FuzzSystem, options: FuzzOptions) {
    this.#system = system;
    this.#options = options;
  }

  async report(): Promise<FuzzReport> {
    const { seed, inputs, only } = this.#options;
    const startMs = performance.now();
    const numbers = only ?? Array.from({ length: inputs }, (_, index) => index);
    // A stream of its own, whose findings count as well.
    if (only === undefined)
      await this.#send(Array.from({ length: Math.min(WARM_UP, inputs) }, (_, index) => WARM_UP_FROM + index));
    const before = this.#isOver ? 0 : await this.#heapBytes();
    if (!this.#isOver) await this.#send(numbers);
    const after = this.#isOver ? before : await this.#heapAfter(before);
    await this.#judgeTheRest();
    const outcomes = Object.fromEntries([...this.#outcomes].toSorted(([a], [b]) => a.localeCompare(b)));
    const tookMs = performance.now() - startMs;
    return {
      seed,
      inputs: this.#sent,
      jobs: this.#jobs.size,
      outcomes,
      findings: this.#findings,
      heap: { before, after },
      tookMs,
    };
  }

  get #isOver(): boolean {
    return !this.#system.isUp() || this.#findings.length >= MAX_FINDINGS || this.#options.signal?.aborted === true;
  }

  /** All of these, a bounded number at a time. */
  async #send(numbers: readonly number[]): Promise<void> {
    const queue = numbers.values();
    const lane = async (): Promise<void> => {
      for (const index of queue) {
        if (this.#isOver) return;
        await this.#malformed(index);
        if (index % JOB_EACH === 0) await this.#good(index);
        this.#options.onProgress?.({
          sent: this.#sent,
          of: numbers.length,
          jobs: this.#jobs.size,
          findings: this.#findings.length,
        });
      }
    };
    await Promise.all(Array.from({ length: this.#options.lanes }, lane));
    if (!(await this.#system.isServing())) await this.#findTheCrash();
  }

  async #malformed(index: number): Promise<void> {
    const input = await this.#input(index);
    this.#inFlight.add(index);
    const outcome = await this.#exchange(input);
    // Of a process that has ended, nothing can be said: who ended it is looked for.
    if (outcome === undefined) return;
    this.#inFlight.delete(index);
    this.#recent.push(index);
    if (this.#recent.length > this.#options.lanes) this.#recent.shift();
    this.#sent += 1;
    const key = `${input.carrier} ${outcome.ending}${outcome.code === undefined ? "" : ` ${outcome.code}`}`;
    this.#outcomes.set(key, (this.#outcomes.get(key) ?? 0) + 1);
    const fault = faultOf(outcome, input);
    if (fault !== undefined)
      this.#findings.push({ kind: fault.kind, inputs: [index], text: `${input.name}: ${fault.text}` });
  }

  async #good(index: number): Promise<void> {
    const { supervisor, owner } = this.#system;
    const random = new Random(this.#options.seed + 1, index);
    const request = await aJobOf(owner, { supervisor, runner: RUNNER, random });
    const { id } = request.params.job;
    const text = JSON.stringify(request);
    const carrier = random.pick(["http", "websocket"] as const);
    const piece =
      carrier === "http"
        ? Buffer.from(aPost(text))
        : Buffer.concat([Buffer.from(anUpgrade()), textFrame(Buffer.from(text), random)]);
    const sent = { carrier, pieces: [piece], isHalfClosed: false, mayBeSilent: false };
    let outcome = await this.#exchange(sent);
    // The machine was too busy to send it in time: nobody has read it.
    while (outcome?.code === TOO_LATE) outcome = await this.#exchange(sent);
    if (outcome === undefined) return;
    if (isAdmitted(outcome, id)) this.#jobs.add(id);
    else
      this.#findings.push({ kind: "refused", inputs: [], text: `good job ${id} over ${carrier}: ${shown(outcome)}` });
  }

  /** Undefined where the process has ended. */
  async #exchange(sent: Parameters<typeof exchange>[1]): Promise<Outcome | undefined> {
    try {
      return await exchange(this.#system.port, sent, this.#options.deadlineMs);
    } catch (error) {
      if (await this.#system.isServing()) throw error;
      return undefined;
    }
  }

  async #input(index: number): Promise<FuzzInput> {
    return anInput(index, await inputOptions(this.#system, this.#options, this.#materials, index));
  }

  async #findTheCrash(): Promise<void> {
    const { seed } = this.#options;
    const suspects = [...this.#recent, ...this.#inFlight];
    const materials = new Map<string, Promise<Material>>();
    const inputOf = async (system: FuzzSystem, index: number): Promise<FuzzInput> =>
      anInput(index, await inputOptions(system, { seed }, materials, index));
    const guilty = await blame(suspects, { ...this.#options, inputOf });
    const last = this.#system.output().trimEnd().split("\n").slice(-12).join("\n");
    const inputs = guilty.length > 0 ? guilty : suspects;
    this.#findings.push({ kind: "crash", inputs, text: `the program ended:\n${last}` });
  }

  /** 0 where the process has ended meanwhile: what did it need not show at once. */
  async #heapBytes(): Promise<number> {
    try {
      return await this.#system.heapBytes();
    } catch (error) {
      if (await this.#system.isServing()) throw error;
      if (!this.#findings.some(({ kind }) => kind === "crash")) await this.#findTheCrash();
      return 0;
    }
  }

  /** Connections and what they held are gone a moment after they ended. */
  async #heapAfter(before: number): Promise<number> {
    const endMs = performance.now() + QUIET_MS;
    let after = await this.#heapBytes();
    while (hasGrown(before, after) && performance.now() < endMs) {
      await sleep(500);
      after = await this.#heapBytes();
    }
    if (hasGrown(before, after)) {
      this.#findings.push({ kind: "memory", inputs: [], text: `${before} bytes before, ${after} after` });
    }
    return after;
  }

  async #judgeTheRest(): Promise<void> {
    const { jobs, runners } = await this.#system.stored();
    const more = [...jobs].filter((id) => !this.#jobs.has(id));
    const lost = [...this.#jobs].filter((id) => !jobs.has(id));
    if (more.length > 0) {
      this.#findings.push({
        kind: "admitted",
        inputs: [],
        text: `in Redis are jobs that nobody sent: ${more.slice(0, 5).join(", ")}`,
      });
    }
    if (lost.length > 0) {
      this.#findings.push({
        kind: "admitted",
        inputs: [],
        text: `jobs are gone from Redis: ${lost.slice(0, 5).join(", ")}`,
      });
    }
    if (runners.join() !== RUNNER)
      this.#findings.push({ kind: "admitted", inputs: [], text: `runners are now: ${runners.join()}` });
    const wasUp = this.#system.isUp();
    const ended = await this.#system.stop();
    if (wasUp && ended !== 0)
      this.#findings.push({ kind: "crash", inputs: [], text: `it did not stop in order: ${ended}` });
    const defects = defectsIn(this.#system.output());
    if (defects.length > 0) this.#findings.push({ kind: "internal", inputs: [], text: defects.slice(0, 5).join("\n") });
  }
}

/** Material is made once for many inputs, and anew before its signatures are stale. */
async function inputOptions(
  { supervisor, owner }: FuzzSystem,
  { seed }: Pick<FuzzOptions, "seed">,
  materials: Map<string, Promise<Material>>,
  index: number,
): Promise<InputOptions> {
  const part = String(Math.floor(index / MATERIAL_EACH));
  const made = materials.get(part) ?? makeMaterial({ seed: seed + Number(part), supervisor, owner, runner: RUNNER });
  materials.set(part, made);
  return { seed, material: await made, maxBodyBytes: MAX_BODY_BYTES, maxFragments: MAX_FRAGMENTS };
}
