import { randomUUID } from "node:crypto";
/** A job of the kit: sent to a runner, watched in the store, judged with its receipt. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { buildJob, coSignJob, followLogs, signJob, type Signer, verifyReceipt } from "../../src/client/index.ts";
import type { JobRecord } from "../../src/jobs/job.ts";
import { isTerminal } from "../../src/jobs/job.ts";
import type { JobDocument, JobState, JobView, LogEntry } from "../../src/rpc/schema.ts";
import { isGone } from "../support/runner-harness.ts";
import type { Candidate } from "./candidate.ts";
import { expectSame, expectThat, seen, Unmet } from "./check.ts";
import { alice, identity, type Site } from "./site.ts";

export interface JobWishes extends Partial<Omit<JobDocument, "payload">> {
  readonly payload: string;
  /** The caller is the first of them; alice alone unless told. */
  readonly signers?: readonly Signer[];
}

/** A job at its end. */
export interface Ended {
  readonly view: JobView;
  readonly entries: readonly LogEntry[];
}

export class TestJob {
  readonly candidate: Candidate;
  readonly id: string;

  private constructor(candidate: Candidate, id: string) {
    this.candidate = candidate;
    this.id = id;
  }

  /** Admitted to the runner's own queue unless told; a generous timeout. */
  static async submit(candidate: Candidate, { signers = [alice], ...wishes }: JobWishes): Promise<TestJob> {
    const [owner = alice, ...others] = signers;
    const document = buildJob({
      runner: candidate.name,
      timeout: 60,
      ...wishes,
      supervisor: identity.publicKey,
      caller: owner.publicKey,
    });
    let signed = await signJob(owner, document);
    for (const other of others) signed = await coSignJob(other, signed);
    await candidate.site.node.client("alice").submitJob(signed);
    return new TestJob(candidate, document.id);
  }

  /** One that stands in the store already. */
  static of(candidate: Candidate, id: string): TestJob {
    return new TestJob(candidate, id);
  }

  get site(): Site {
    return this.candidate.site;
  }

  /** Waits as long as the kit is patient, and no longer than the runner lives. */
  async seen<Value>(
    what: string,
    look: () => Promise<Value | undefined | false> | Value | undefined | false,
    ms = this.candidate.patienceMs,
  ): Promise<Value> {
    return seen(what, look, { ms, signal: this.candidate.ended });
  }

  async record(): Promise<JobRecord> {
    const record = await this.site.node.store.jobs.get(this.id);
    if (record === undefined) throw new Unmet(`the record of job ${this.id} is gone`);
    return record;
  }

  /** Resolves with the record once it fits. */
  async when(what: string, fits: (record: JobRecord) => boolean, ms?: number): Promise<JobRecord> {
    return this.seen(
      what,
      async () => {
        const record = await this.record();
        return fits(record) ? record : undefined;
      },
      ms,
    );
  }

  async running(): Promise<JobRecord> {
    return this.when("the job is claimed", ({ state }) => state === "running");
  }

  /** Its end, in this state, with a receipt, a log chain and a result that hold. */
  async ended(state: JobState, ms?: number): Promise<Ended> {
    const record = await this.when("the job ends", (each) => isTerminal(each.state), ms);
    const expected = record.state === state;
    expectThat(expected, `the job ended ${record.state} (${record.reason ?? "no reason"}), expected ${state}`);
    const ended = await this.#ended();
    this.#expectReceipt(ended);
    return ended;
  }

  /** Its end as refused: failed, nothing ran, not to be tried again, with a reason. */
  async refused(): Promise<JobRecord> {
    const record = await this.when("the job is refused", (each) => isTerminal(each.state));
    const { state, code, reason = "", failures } = record;
    expectSame("a refused job's state and code", [state, code, failures], ["failed", -1, 1]);
    expectThat(reason !== "", "a refused job says no reason");
    return record;
  }

  async cancel(): Promise<void> {
    await this.site.node.client("alice").call("cancel_job", { id: this.id });
  }

  /** What the log holds now. */
  async entries(): Promise<readonly LogEntry[]> {
    const entries: LogEntry[] = [];
    for await (const entry of followLogs(this.site.node.client("alice"), this.id, { follow: false }))
      entries.push(entry);
    return entries;
  }

  async #ended(): Promise<Ended> {
    const view = await this.site.node.client("alice").call("get_job", { id: this.id });
    return { view, entries: await this.entries() };
  }

  #expectReceipt({ view, entries }: Ended): void {
    const runnerKeys = [this.candidate.publicKey];
    const verdict = verifyReceipt({ view, entries, supervisor: identity.publicKey, runnerKeys });
    const faults = verdict.findings.filter(({ ok }) => !ok).map(({ check, detail }) => `${check}: ${detail}`);
    expectThat(verdict.ok, `the receipt does not hold: ${faults.join("; ")}`);
    expectThat(verdict.trust === "verified", "the receipt is signed by another key than the runner was given");
  }
}

/** The lines of one stream, without those of the runner itself. */
export function linesOf({ entries }: Pick<Ended, "entries">, stream: LogEntry["stream"] = "stdout"): readonly string[] {
  return entries.filter((entry) => entry.stream === stream).map(({ text, base64 }) => text ?? `base64:${base64 ?? ""}`);
}

/** A file that a payload leaves a mark in: outside Redis, so that it tells what really ran. */
export class Proof {
  readonly path: string;

  constructor({ directory }: Pick<Site, "directory">) {
    this.path = join(directory, "proofs", randomUUID());
  }

  async lines(): Promise<readonly string[]> {
    return linesIn(this.path);
  }

  /** What a payload wrote to `path.asked` when it got SIGTERM. */
  async asked(): Promise<readonly string[]> {
    return linesIn(`${this.path}.asked`);
  }

  /** Lets a payload that waits for `[ -e path.go ]` go on. */
  async letGo(): Promise<void> {
    await writeFile(`${this.path}.go`, "");
  }

  /** Process ids, one a line, once there are so many. */
  async pids(job: TestJob, count = 1): Promise<readonly number[]> {
    return job.seen(`the job has started ${count} processes`, async () => {
      const lines = await this.lines();
      return lines.length >= count ? lines.map(Number) : undefined;
    });
  }
}

async function linesIn(path: string): Promise<readonly string[]> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text.split("\n").filter((line) => line !== "");
}

/** Resolves when none of them is there. @throws Unmet when one is still there after `ms` */
export async function expectGone(pids: readonly number[], ms: number): Promise<void> {
  await seen("every process of the job is gone", async () => (await Promise.all(pids.map(isGone))).every(Boolean), {
    ms,
  });
}
