/** `GET /metrics`: what it counts, what it leaves out, and that it answers whatever is down. */
import { afterEach, describe, expect, test } from "vitest";

import { END_REASONS } from "../../../src/jobs/end-reasons.ts";
import { METRIC_TABLE } from "../../../src/metric-table.ts";
import { JOB_STATES } from "../../../src/rpc/schema.ts";
import type { Listener } from "../../../src/rpc/transport.ts";
import { aCall, aCreateJob } from "../../support/calls.ts";
import { type Node, startNode, testSigner } from "../../support/node.ts";
import { registerRunner } from "../../support/registration.ts";
import { waitUntil } from "../../support/wait.ts";

const KEYS = { alice: { roles: ["submitter"] }, ops: { roles: ["registrar"] } } as const;
const METRICS = "[http]\nmetrics = true\n";
let node: Node | undefined;

afterEach(async () => {
  await node?.[Symbol.asyncDispose]();
  node = undefined;
});

async function aNode(settings = METRICS): Promise<Node> {
  node = await startNode({ keys: KEYS, settings });
  return node;
}

/** A scrape that sees everything there is now: scrapes within a second share one look. */
async function scrape({ supervisor }: Node, pattern: RegExp): Promise<string> {
  let text = "";
  await waitUntil(async () => {
    text = (await supervisor.metrics?.text()) ?? "";
    return pattern.test(text);
  });
  return text;
}

/** What an operator watches, and the line that tells it. */
const WATCHED: readonly (readonly [string, RegExp])[] = [
  ["calls by method and code", /^horus_calls_total\{method="get_info",code="0",transport="in-process"\} 1$/mu],
  ["latencies", /^horus_call_duration_seconds_bucket\{le="0\.001",method="get_info"\} \d+$/mu],
  ["jobs by state and reason", /^horus_jobs\{state="failed",reason="lost"\} 0$/mu],
  ["queue depth", /^horus_runner_waiting_jobs\{runner="build"\} 0$/mu],
  ["oldest age", /^horus_runner_oldest_waiting_seconds\{runner="build"\} 0$/mu],
  ["running jobs", /^horus_runner_running_jobs\{runner="build"\} 0$/mu],
  ["runners by state", /^horus_runners\{state="offline"\} 1$/mu],
  ["lease losses", /^horus_leases_lost_total 0$/mu],
  ["expiries", /^horus_jobs_expired_total 0$/mu],
  ["retentions", /^horus_jobs_retired_total 0$/mu],
  ["Redis up", /^horus_redis_up 1$/mu],
  ["the Redis round trip", /^horus_redis_round_trip_seconds [\d.e-]+$/mu],
  ["the event loop delay", /^nodejs_eventloop_lag_p99_seconds [\d.e-]+$/mu],
  ["transports up", /^horus_transport_up\{transport="http"\} 1$/mu],
];

describe("Metrics", () => {
  test("count calls by method, code and transport", async () => {
    const made = await aNode();
    await registerRunner(made, "build");
    const to = { supervisor: made.identity };
    await made.send(await aCreateJob(testSigner("alice"), to));
    await made.send(await aCreateJob(testSigner("alice"), to));
    await made.send(await aCreateJob(testSigner("stranger"), to));
    await made.send({ jsonrpc: "2.0", id: 1, method: "evil{}" });

    const text = await scrape(made, /horus_jobs\{state="pending",reason=""\} 2/u);

    expect(text).toContain('horus_calls_total{method="create_job",code="0",transport="in-process"} 2\n');
    expect(text).toContain('horus_calls_total{method="create_job",code="-32001",transport="in-process"} 1\n');
    expect(text).toContain('horus_calls_total{method="unknown",code="-32601",transport="in-process"} 1\n');
    expect(text).toContain('horus_call_duration_seconds_count{method="create_job"} 3\n');
    expect(text).not.toContain("evil");
  });

  test("tell jobs by state and reason, runners by health, and what waits for each", async () => {
    const made = await aNode();
    await registerRunner(made, "build");
    const to = { supervisor: made.identity };
    const first = await aCreateJob(testSigner("alice"), to);
    await made.send(first);
    await made.send(await aCreateJob(testSigner("alice"), to));
    const { id } = first.params.job;
    await made.send(await aCall("cancel_job", { id }, { aud: made.identity, signer: testSigner("alice") }));

    const text = await scrape(made, /horus_jobs\{state="cancelled",reason="asked"\} 1/u);

    expect(text).toContain('horus_jobs{state="pending",reason=""} 1\n');
    for (const state of JOB_STATES) expect(text).toContain(`horus_jobs{state="${state}",reason="`);
    for (const [state, reasons] of Object.entries(END_REASONS)) {
      for (const reason of [...reasons, "other"])
        expect(text).toContain(`horus_jobs{state="${state}",reason="${reason}"}`);
    }
    expect(text).not.toContain("cancelled by alice");
    expect(text).toContain('horus_runners{state="offline"} 1\n');
    expect(text).toContain('horus_runners{state="online"} 0\n');
    expect(text).toContain('horus_runner_waiting_jobs{runner="build"} 1\n');
    expect(text).toMatch(/horus_runner_oldest_waiting_seconds\{runner="build"\} [\d.]+\n/u);
    expect(text).toContain("horus_redis_up 1\n");
    expect(text).toMatch(/nodejs_eventloop_lag_seconds [\d.e-]+\n/u);
  });

  test("tell everything that an operator watches", async () => {
    const listener: Listener = {
      name: "http",
      start: async () => {},
      stop: async () => {},
      status: () => ({ name: "http", isUp: true }),
    };
    node = await startNode({ keys: KEYS, settings: METRICS, createListeners: () => [listener] });
    await registerRunner(node, "build");
    await node.send({ jsonrpc: "2.0", id: 1, method: "get_info" });

    const text = await scrape(node, /horus_runner_waiting_jobs\{runner="build"\} 0/u);

    expect(WATCHED.filter(([, line]) => !line.test(text)).map(([what]) => what)).toEqual([]);
  });

  test("hold every row of the table, and no name beyond it but those of the process", async () => {
    const made = await aNode();
    const text = await scrape(made, /horus_redis_up 1/u);
    const described = [...text.matchAll(/^# TYPE (horus_\w+) (\w+)$/gmu)].map(([, name, type]) => `${name} ${type}`);

    const rows = Object.values(METRIC_TABLE).map(({ name, type }) => `${name} ${type}`);
    expect(new Set(described)).toEqual(new Set(rows));
  });

  test("answer without Redis, and tell nothing that was true before", async () => {
    const made = await aNode();
    await registerRunner(made, "build");
    await scrape(made, /horus_runner_waiting_jobs\{runner="build"\} 0/u);
    await made.redis.stop();

    const text = await scrape(made, /horus_redis_up 0/u);

    expect(text).not.toContain("horus_jobs{");
    expect(text).not.toContain('runner="build"');
    expect(text).toContain("horus_calls_total{");
  });

  test("are not there unless switched on", async () => {
    expect((await aNode("")).supervisor.metrics).toBeUndefined();
  });
});
