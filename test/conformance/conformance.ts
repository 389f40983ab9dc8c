/** One run of the kit: the runner under test through every check, and what came of each. */
import { errorText } from "../../src/errors.ts";
import { Candidate, type CandidateWishes } from "./candidate.ts";
import { CannotPerform, type Check, type Stage, Unmet } from "./check.ts";
import { openSite, type Site } from "./site.ts";

export interface ConformanceOptions {
  /** Program and arguments of the runner. */
  readonly command: readonly string[];
  readonly checks: readonly Check[];
  /** In ms. */
  readonly leaseMs: number;
  /** How long anything is waited for, in ms. */
  readonly patienceMs: number;
  /** Checks at a time. */
  readonly concurrency: number;
  /** Further environment of the runner. */
  readonly env?: Readonly<Record<string, string>>;
  /** Nothing more is begun once it aborts. */
  readonly signal?: AbortSignal;
  onOutput?(text: string): void;
  onVerdict?(verdict: Verdict): void;
}

/** `failed` also where the kit broke: nothing is passed that was not seen. */
export interface Verdict extends Pick<Check, "name" | "clause" | "does" | "sees"> {
  readonly outcome: "passed" | "failed" | "not performed";
  /** What was seen instead, or why it could not be performed. */
  readonly detail: string;
  readonly tookMs: number;
}

/** Slots of the runner that checks share. */
const COMMON_SLOTS = 32;

/** In the order of the checks. @throws Unmet when the runner does not come up at all */
export async function runConformance(options: ConformanceOptions): Promise<readonly Verdict[]> {
  await using site = await openSite(options);
  await using runners = new Runners(options, site);
  const verdicts: Verdict[] = [];
  // One that does not even come up needs not be asked more.
  await runners.takeCommon();
  const waiting = [...options.checks.entries()];
  const lane = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [index, check] = next;
      const verdict = await judge(check, runners, options);
      verdicts[index] = verdict;
      options.onVerdict?.(verdict);
    }
  };
  await Promise.all(Array.from({ length: options.concurrency }, lane));
  return verdicts;
}

async function judge(check: Check, runners: Runners, { signal }: ConformanceOptions): Promise<Verdict> {
  const startMs = performance.now();
  const told = async (): Promise<Pick<Verdict, "outcome" | "detail">> => {
    if (signal?.aborted === true) return { outcome: "not performed", detail: "interrupted" };
    await using stage = runners.stage();
    try {
      await check.run(stage);
      return { outcome: "passed", detail: "" };
    } catch (error) {
      if (error instanceof CannotPerform) return { outcome: "not performed", detail: error.message };
      return {
        outcome: "failed",
        detail: error instanceof Unmet ? error.message : `the kit broke: ${errorText(error)}`,
      };
    }
  };
  return toVerdict(check, await told(), performance.now() - startMs);
}

function toVerdict(check: Check, told: Pick<Verdict, "outcome" | "detail">, ms: number): Verdict {
  const { name, clause, does, sees } = check;
  return { name, clause, does, sees, ...told, tookMs: Math.round(ms) };
}

/** Starts runners under names of their own, and ends them. */
class Runners implements AsyncDisposable {
  readonly #options: ConformanceOptions;
  readonly #site: Site;
  #count = 0;
  #common: Promise<Candidate> | undefined;

  constructor(options: ConformanceOptions, site: Site) {
    this.#options = options;
    this.#site = site;
  }

  stage(): Stage & AsyncDisposable {
    const ends: (() => Promise<unknown>)[] = [];
    return {
      site: this.#site,
      common: async () => this.takeCommon(),
      own: async (wishes = {}, site = this.#site) => {
        const candidate = await this.#start(wishes, site, (started) => ends.push(async () => started.kill()));
        return candidate;
      },
      ownSite: async (wishes = {}) => {
        const site = await openSite({ leaseMs: this.#options.leaseMs, ...wishes });
        ends.push(async () => site[Symbol.asyncDispose]());
        return site;
      },
      [Symbol.asyncDispose]: async () => {
        for (const end of ends.toReversed()) await end();
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // One that never came up ends with the site.
    const common = await this.#common?.catch(() => undefined);
    await common?.kill();
  }

  /** One that ended, or never came up, is started anew for the next check: it fails those that were there. */
  async takeCommon(): Promise<Candidate> {
    const start = async (): Promise<Candidate> => this.#start({ slots: COMMON_SLOTS }, this.#site, () => undefined);
    this.#common = this.#common?.then((present) => (present.isUp ? present : start()), start) ?? start();
    return this.#common;
  }

  async #start(wishes: CandidateWishes, site: Site, onSpawn: (candidate: Candidate) => void): Promise<Candidate> {
    this.#count += 1;
    const { command, env = {}, patienceMs } = this.#options;
    const name = `runner-${this.#count}`;
    const candidate = await Candidate.register({
      command,
      site,
      name,
      patienceMs,
      ...wishes,
      env: { ...env, ...wishes.env },
      onOutput: (text) => this.#options.onOutput?.(text),
    });
    onSpawn(candidate);
    await candidate.start();
    return candidate;
  }
}
