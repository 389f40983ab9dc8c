/** The runner under test as a process, with everything it is given. */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { endWithUs } from "../support/guard.ts";
import { testSeed } from "../support/node.ts";
import { RunningProcess } from "../support/process.ts";
import { registerRunner } from "../support/registration.ts";
import { seen } from "./check.ts";
import { type JobWishes, TestJob } from "./job.ts";
import { alice, identity, PREFIX, type Site } from "./site.ts";

export interface CandidateWishes {
  readonly slots?: number;
  /** Further environment. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface CandidateOptions extends CandidateWishes {
  /** Program and arguments. */
  readonly command: readonly string[];
  readonly site: Site;
  /** Registered under this name, and in the group `<name>-crew`. */
  readonly name: string;
  /** How long anything is waited for, in ms. */
  readonly patienceMs: number;
  /** Hears what the runner writes. */
  onOutput(text: string): void;
}

/** How long a drain lets jobs go on, in seconds. */
export const GRACE_SECONDS = 4;
/** Must not show in any job. */
export const CANARY = "canary-5b1c7e";
const LAST_LINES = 8;
const SCRIPTS = fileURLToPath(new URL("../../src/store/lua", import.meta.url));

export class Candidate {
  readonly site: Site;
  readonly name: string;
  readonly group: string;
  readonly patienceMs: number;
  /** What its jobs and its memory lie in. */
  readonly directory: string;
  readonly #options: CandidateOptions;
  #process: RunningProcess | undefined;
  /** Aborts when the process ends though nobody asked it to. */
  #ended = AbortSignal.abort("the runner was not started");

  private constructor(options: CandidateOptions) {
    this.#options = options;
    this.site = options.site;
    this.name = options.name;
    this.group = `${options.name}-crew`;
    this.patienceMs = options.patienceMs;
    this.directory = join(options.site.directory, options.name);
  }

  /** Registers it and writes its files; it is not started. */
  static async register(options: CandidateOptions): Promise<Candidate> {
    const candidate = new Candidate(options);
    const { site, name, slots = 1 } = options;
    await registerRunner(site.node, name, { groups: [candidate.group], slots });
    await mkdir(join(candidate.directory, "runners"), { recursive: true, mode: 0o700 });
    await writeFile(candidate.#keyFile, `ed25519-seed:${testSeed(name)}\n`, { mode: 0o600 });
    await chmod(candidate.#keyFile, 0o600);
    await writeFile(join(candidate.directory, "allow.toml"), allowList());
    return candidate;
  }

  /** The public key of its receipts. */
  get publicKey(): string {
    return this.site.node.signer(this.name).publicKey;
  }

  get pid(): number {
    return this.#process?.child.pid ?? 0;
  }

  get isUp(): boolean {
    return this.#process?.isUp === true;
  }

  /** For waits that are in vain once the runner has ended. */
  get ended(): AbortSignal {
    return this.#ended;
  }

  /** Starts it (again) under its name and with its memory; resolves when it has said so in Redis. */
  async start(): Promise<void> {
    const before = await this.evidence("process");
    const started = this.spawn();
    this.#process = started;
    this.#ended = endOf(started);
    await seen(`"${this.name}" attaches and sends heartbeats`, async () => this.#isAttached(before), {
      ms: this.patienceMs,
      signal: this.ended,
    });
  }

  /** Starts one more process of this name and waits for nothing. */
  spawn(): RunningProcess {
    const started = new RunningProcess(this.#options.command, {
      env: this.#environment(),
      cwd: process.cwd(),
      // A group of its own: signals reach a runner that a wrapper started.
      detached: true,
    });
    const { child } = started;
    endWithUs(child);
    for (const stream of [child.stdout, child.stderr])
      stream?.on("data", (text) => this.#options.onOutput(String(text)));
    return started;
  }

  async submit(wishes: JobWishes): Promise<TestJob> {
    return TestJob.submit(this, wishes);
  }

  /** A job that simply runs: the runner goes on. */
  async expectGoesOn(): Promise<void> {
    const job = await this.submit({ payload: "echo on" });
    await job.ended("completed");
  }

  signal(name: NodeJS.Signals): void {
    if (this.isUp) this.#process?.signalGroup(name);
  }

  /** Asks it to end. Resolves with exit code or signal once it has. @throws Unmet when it does not. */
  async stop(ms = this.patienceMs): Promise<number | NodeJS.Signals | null> {
    this.signal("SIGTERM");
    await seen(`"${this.name}" ends after SIGTERM`, () => !this.isUp, { ms });
    return this.#process?.child.exitCode ?? this.#process?.child.signalCode ?? null;
  }

  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.#process?.stop("SIGKILL");
  }

  /** A member of its evidence in Redis. */
  async evidence(field: "process" | "heartbeat_ms" | "detached" | "draining" | "running"): Promise<string | undefined> {
    return (await this.site.redis.hget(this.site.keys.beat(this.name), field)) ?? undefined;
  }

  get #keyFile(): string {
    return join(this.directory, "runners", `${this.name}.key`);
  }

  async #isAttached(before: string | undefined): Promise<boolean> {
    const now = await this.evidence("process");
    return now !== undefined && now !== before && (await this.evidence("detached")) !== "1";
  }

  /** Nothing of the machine's own settings but PATH and HOME. */
  #environment(): Readonly<Record<string, string | undefined>> {
    const { site, slots = 1, env } = this.#options;
    return {
      PATH: process.env["PATH"],
      HOME: process.env["HOME"],
      RUNNER_REDIS_URL: site.server.url,
      RUNNER_PREFIX: PREFIX,
      RUNNER_NAME: this.name,
      RUNNER_GROUPS: this.group,
      RUNNER_SLOTS: String(slots),
      RUNNER_KEY_FILE: this.#keyFile,
      RUNNER_SUPERVISOR: identity.publicKey,
      RUNNER_ALLOW_FILE: join(this.directory, "allow.toml"),
      RUNNER_DIRECTORY: this.directory,
      RUNNER_SCRIPTS: SCRIPTS,
      RUNNER_GRACE_SECONDS: String(GRACE_SECONDS),
      CONFORMANCE_CANARY: CANARY,
      ...env,
    };
  }
}

function allowList(): string {
  return `[[allow]]\nprincipal = "alice"\nkey = "${alice.publicKey}"\n`;
}

function endOf(started: RunningProcess): AbortSignal {
  const { child } = started;
  const ended = new AbortController();
  child.once("error", (error) => ended.abort(`the command can not be started (${error.message})`));
  child.once("exit", (code, signal) => ended.abort(`the runner ended (${code ?? signal})${lastLines(started.output)}`));
  return ended.signal;
}

/** The end of what it wrote, where an error stands. */
function lastLines(output: string): string {
  const lines = output.trimEnd().split("\n").slice(-LAST_LINES);
  return lines.join("") === "" ? "" : `: ${lines.join(" ⏎ ").slice(-1000)}`;
}
