/** Every limit of a job, set small, and the job that is beyond it: a typed refusal that names limit, bound and present. */
import { describe, expect, onTestFinished, test } from "vitest";

import type { JobDocument } from "../../../src/rpc/schema.ts";
import { aCreateJob } from "../../support/calls.ts";
import { startNode, testSigner } from "../../support/node.ts";
import { registerRunner } from "../../support/registration.ts";

const TOO_LARGE = -32013;
const TOO_MANY = -32029;
const STALE = -32002;
const A_NUMBER: unknown = expect.any(Number);

interface Case {
  readonly setting: string;
  readonly value: number;
  /** Sent one after the other; the last is refused. */
  readonly jobs: readonly Partial<JobDocument>[];
  readonly code: number;
  readonly present: unknown;
}

const HOUR = 3600;
const now = Math.floor(Date.now() / 1000);
const LONG = { created_at: now, expires_at: now + HOUR };
const BIG = { payload: "x".repeat(600) };

const CASES: readonly Case[] = [
  { setting: "max_payload_bytes", value: 1024, jobs: [{ payload: "ä".repeat(600) }], code: TOO_LARGE, present: 1200 },
  {
    setting: "max_document_bytes",
    value: 1024,
    jobs: [{ payload: "x".repeat(1024) }],
    code: TOO_LARGE,
    present: A_NUMBER,
  },
  {
    setting: "max_env_value_bytes",
    value: 10,
    jobs: [{ env_vars: { A: "12345678901" } }],
    code: TOO_LARGE,
    present: 11,
  },
  { setting: "max_lifetime_seconds", value: 60, jobs: [LONG], code: STALE, present: HOUR },
  { setting: "max_queue_jobs", value: 2, jobs: [{}, { not_before: now + 60 }, {}], code: TOO_MANY, present: 2 },
  { setting: "max_queue_bytes", value: 3000, jobs: [BIG, BIG], code: TOO_MANY, present: A_NUMBER },
  { setting: "max_principal_jobs", value: 1, jobs: [{}, { runner: "other" }], code: TOO_MANY, present: 1 },
  {
    setting: "max_principal_bytes",
    value: 3000,
    jobs: [BIG, { ...BIG, runner: "other" }],
    code: TOO_MANY,
    present: A_NUMBER,
  },
];

describe("A job beyond a limit", () => {
  test.each(CASES)("$setting is refused with its name, what is allowed and what is there", async (limit) => {
    const { setting, value, jobs, code, present } = limit;
    const settings = `[jobs]\n${setting} = ${value}\n`;
    const keys = { alice: { roles: ["submitter"] }, ops: { roles: ["registrar"] } } as const;
    const node = await startNode({ keys, settings });
    onTestFinished(async () => node[Symbol.asyncDispose]());
    for (const name of ["build", "other"]) await registerRunner(node, name);
    const send = async (job: Partial<JobDocument>): Promise<unknown> =>
      node.send(await aCreateJob(testSigner("alice"), { supervisor: node.identity, ...job }));

    for (const job of jobs.slice(0, -1)) expect(await send(job)).toMatchObject({ result: { duplicate: false } });
    const answer = await send(jobs.at(-1) ?? {});

    expect(answer).toMatchObject({ error: { code, data: { limit: setting, allowed: value, present } } });
  });
});
