/** `GET /metrics`: what it counts, what it leaves out, and that it answers whatever is down. */
import { afterEach, describe, expect, test } from "vitest";

import { METRIC_TABLE } from "../../../src/metric-table.ts";
import { JOB_STATES } from "../../../src/rpc/schema.ts";
import { aCall, aCreateJob } from "../../support/calls.ts";
import { type Node, startNode, testSigner } from "../../support/node.ts";
import { registerRunner } from "../../support/registration.ts";
import { waitUntil } from "../../support/wait.ts";

const KEYS = { alice: { roles: ["submitter"] }, ops: { roles: ["registrar"] } } as const;
let node: Node | undefined;

afterEach(async () => {
  await node?.[Symbol.asyncDispose]();
  node = undefined;
});

async function aNode(settings = "[http]\nmetrics = true\n"): Promise<Node> {
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

describe("Metrics", () => {
  test("count calls by method, code and transport", async () => {
    const made = await aNode();
    await registerRunner(made, "build");
    const to = { supervisor: made.identity };
    await made.send(await aCreateJob(testSigner("alice"), to));
    await made.send(await aCreateJob(testSigner("alice"), to));
    await made.send(await aCreateJob(testSigner("stranger"), to));
    await made.send({ jsonrpc: "2.0", id: 1, method: "evil{}" });

    const text = await scrape(made, /horus_jobs\{state="pending"\} 2/u);

    expect(text).toContain('horus_calls_total{method="create_job",code="0",transport="in-process"} 2\n');
    expect(text).toContain('horus_calls_total{method="create_job",code="-32001",transport="in-process"} 1\n');
    expect(text).toContain('horus_calls_total{method="unknown",code="-32601",transport="in-process"} 1\n');
    expect(text).toContain('horus_call_duration_seconds_count{method="create_job"} 3\n');
    expect(text).not.toContain("evil");
  });

  test("tell jobs by state, runners by health, and what waits for each", async () => {
    const made = await aNode();
    await registerRunner(made, "build");
    const to = { supervisor: made.identity };
    const first = await aCreateJob(testSigner("alice"), to);
    await made.send(first);
    await made.send(await aCreateJob(testSigner("alice"), to));
    const { id } = first.params.job;
    await made.send(await aCall("cancel_job", { id }, { aud: made.identity, signer: testSigner("alice") }));

    const text = await scrape(made, /horus_jobs\{state="cancelled"\} 1/u);

    expect(text).toContain('horus_jobs{state="pending"} 1\n');
    for (const state of JOB_STATES) expect(text).toContain(`horus_jobs{state="${state}"}`);
    expect(text).toContain('horus_runners{state="offline"} 1\n');
    expect(text).toContain('horus_runners{state="online"} 0\n');
    expect(text).toContain('horus_runner_waiting_jobs{runner="build"} 1\n');
    expect(text).toMatch(/horus_runner_oldest_waiting_seconds\{runner="build"\} [\d.]+\n/u);
    expect(text).toContain("horus_redis_up 1\n");
    expect(text).toMatch(/nodejs_eventloop_lag_seconds [\d.e-]+\n/u);
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
