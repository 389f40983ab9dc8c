/** THE table of metrics: what `GET /metrics` tells and the dashboard draws, by Prometheus' naming conventions. */

export interface MetricRow {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  /** Each of few values: no id, key or text of a caller's; runners are those that were registered. */
  readonly labels: readonly string[];
}

/** Upper bounds in seconds: from a read answered out of memory to a held wait. */
export const DURATION_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30];

export const METRIC_TABLE = {
  calls: {
    name: "horus_calls_total",
    type: "counter",
    help: "Finished calls; code 0 is a result, others are JSON-RPC errors",
    labels: ["method", "code", "transport"],
  },
  callSeconds: {
    name: "horus_call_duration_seconds",
    type: "histogram",
    help: "Time from the parsed call to its answer, waits included",
    labels: ["method"],
  },
  jobs: {
    name: "horus_jobs",
    type: "gauge",
    help: "Jobs in the store by state, ended ones by reason and until their retention is over",
    labels: ["state", "reason"],
  },
  runners: { name: "horus_runners", type: "gauge", help: "Registered runners by health", labels: ["state"] },
  runnerRunning: {
    name: "horus_runner_running_jobs",
    type: "gauge",
    help: "Jobs a registered runner has at work",
    labels: ["runner"],
  },
  runnerWaiting: {
    name: "horus_runner_waiting_jobs",
    type: "gauge",
    help: "Jobs waiting in the queues a registered runner serves",
    labels: ["runner"],
  },
  runnerOldest: {
    name: "horus_runner_oldest_waiting_seconds",
    type: "gauge",
    help: "Age of the oldest job waiting for a registered runner; 0 where none waits",
    labels: ["runner"],
  },
  leasesLost: {
    name: "horus_leases_lost_total",
    type: "counter",
    help: "Running jobs whose runner was lost, as this supervisor found them",
    labels: [],
  },
  expired: {
    name: "horus_jobs_expired_total",
    type: "counter",
    help: "Waiting jobs ended because their time was over, as this supervisor found them",
    labels: [],
  },
  retired: {
    name: "horus_jobs_retired_total",
    type: "counter",
    help: "Ended jobs deleted because their retention was over, by this supervisor",
    labels: [],
  },
  redisUp: { name: "horus_redis_up", type: "gauge", help: "1 while Redis answers, else 0", labels: [] },
  redisSeconds: {
    name: "horus_redis_round_trip_seconds",
    type: "gauge",
    help: "Time Redis took to count the jobs for this scrape",
    labels: [],
  },
  transportUp: {
    name: "horus_transport_up",
    type: "gauge",
    help: "1 while a carrier takes calls, else 0",
    labels: ["transport"],
  },
} as const satisfies Readonly<Record<string, MetricRow>>;
