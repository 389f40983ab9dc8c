/** Prometheus metrics of one supervisor: counted as calls end, the rest looked up when somebody scrapes. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

import { DURATION_BUCKETS, METRIC_TABLE, type MetricRow } from "./metric-table.ts";
import type { CallOutcome } from "./rpc/entry.ts";
import { RUNNER_STATES } from "./rpc/schema.ts";
import type { Listener } from "./rpc/transport.ts";
import { runnerState } from "./runners/runner.ts";
import type { JobStore, Maintained, RunnerRecord, RunnerStore } from "./store/store.ts";

export interface MetricsOptions {
  readonly jobs: Pick<JobStore, "count">;
  readonly runners: Pick<RunnerStore, "list">;
  readonly leaseMs: number;
  readonly listeners: () => readonly Listener[];
  /** Never jumps, in ms. */
  readonly monotonicMs: () => number;
}

/** Scrapes within this time share one look at the store, in ms: anybody who reaches the port may ask. */
const KEEP_MS = 1000;

export class Metrics {
  readonly #options: MetricsOptions;
  readonly #registry = new Registry();
  readonly #calls = this.#counter(METRIC_TABLE.calls);
  readonly #callSeconds = new Histogram({
    ...toConfig(METRIC_TABLE.callSeconds),
    registers: [this.#registry],
    buckets: DURATION_BUCKETS,
  });
  readonly #leasesLost = this.#counter(METRIC_TABLE.leasesLost);
  readonly #expired = this.#counter(METRIC_TABLE.expired);
  readonly #retired = this.#counter(METRIC_TABLE.retired);
  readonly #jobs = this.#gauge(METRIC_TABLE.jobs);
  readonly #runners = this.#gauge(METRIC_TABLE.runners);
  readonly #runnerRunning = this.#gauge(METRIC_TABLE.runnerRunning);
  readonly #runnerWaiting = this.#gauge(METRIC_TABLE.runnerWaiting);
  readonly #runnerOldest = this.#gauge(METRIC_TABLE.runnerOldest);
  readonly #redisUp = this.#gauge(METRIC_TABLE.redisUp);
  readonly #redisSeconds = this.#gauge(METRIC_TABLE.redisSeconds);
  readonly #transportUp = this.#gauge(METRIC_TABLE.transportUp);
  #scrape: { readonly text: Promise<string>; readonly startedMs: number } | undefined;

  constructor(options: MetricsOptions) {
    this.#options = options;
    // Memory, processor time, event loop delay, garbage collection.
    collectDefaultMetrics({ register: this.#registry });
  }

  /** A finished call. */
  call({ method, code, transport, ms }: CallOutcome): void {
    this.#calls.inc({ method, code: String(code), transport });
    this.#callSeconds.observe({ method }, ms / 1000);
  }

  /** What a maintenance tick did. */
  maintained({ reaped, expired, retired }: Maintained): void {
    this.#leasesLost.inc(reaped);
    this.#expired.inc(expired);
    this.#retired.inc(retired);
  }

  /** The text exposition format. Never throws: without Redis it tells what is known without it. */
  async text(): Promise<string> {
    const { monotonicMs } = this.#options;
    if (this.#scrape === undefined || monotonicMs() - this.#scrape.startedMs > KEEP_MS) {
      this.#scrape = { text: this.#collect(), startedMs: monotonicMs() };
    }
    return this.#scrape.text;
  }

  async #collect(): Promise<string> {
    this.#transportUp.reset();
    for (const listener of this.#options.listeners()) {
      const { name, isUp } = listener.status();
      this.#transportUp.set({ transport: name }, isUp ? 1 : 0);
    }
    try {
      await this.#collectStore();
      this.#redisUp.set(1);
    } catch {
      // What was true at the last scrape would read as if it were true now.
      for (const gauge of this.#ofStore()) gauge.reset();
      this.#redisUp.set(0);
    }
    return this.#registry.metrics();
  }

  async #collectStore(): Promise<void> {
    const { jobs, runners, monotonicMs } = this.#options;
    const startedMs = monotonicMs();
    const counts = await jobs.count();
    this.#redisSeconds.set((monotonicMs() - startedMs) / 1000);
    const records = await runners.list();
    for (const gauge of [this.#runners, this.#runnerRunning, this.#runnerWaiting, this.#runnerOldest]) gauge.reset();
    for (const { state, reason, jobs: present } of counts) this.#jobs.set({ state, reason }, present);
    for (const state of RUNNER_STATES) this.#runners.set({ state }, 0);
    for (const record of records) this.#addRunner(record);
  }

  #addRunner(record: RunnerRecord): void {
    const runner = record.registration.body.name;
    this.#runners.inc({ state: runnerState(record, this.#options.leaseMs) });
    this.#runnerRunning.set({ runner }, record.running);
    this.#runnerWaiting.set({ runner }, record.waiting);
    this.#runnerOldest.set({ runner }, (record.oldestWaitingMs ?? 0) / 1000);
  }

  #ofStore(): readonly Gauge[] {
    const ofRunners = [this.#runners, this.#runnerRunning, this.#runnerWaiting, this.#runnerOldest];
    return [this.#jobs, this.#redisSeconds, ...ofRunners];
  }

  #counter(row: MetricRow): Counter {
    return new Counter({ ...toConfig(row), registers: [this.#registry] });
  }

  #gauge(row: MetricRow): Gauge {
    return new Gauge({ ...toConfig(row), registers: [this.#registry] });
  }
}

function toConfig({ name, help, labels }: MetricRow): { name: string; help: string; labelNames: string[] } {
  return { name, help, labelNames: [...labels] };
}
