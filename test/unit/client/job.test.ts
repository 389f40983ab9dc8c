import { Compile } from "typebox/compile";
import { describe, expect, test } from "vitest";

import { canonicalText } from "../../../src/auth/canonical-json.ts";
import { signingInput, verifySignature } from "../../../src/auth/signature.ts";
import { buildJob, coSignJob, signJob } from "../../../src/client/job.ts";
import { JobDocument } from "../../../src/rpc/schema.ts";
import { aSigner, VECTORS } from "../../support/signing.ts";

const { caller, supervisorA } = VECTORS.keys;
const NOW_MS = 1_790_000_000_123;
const needed = { supervisor: supervisorA, caller, runner: "build", payload: "echo hello\n", now: () => NOW_MS };
const isJob = Compile(JobDocument);

describe("buildJob", () => {
  test("completes what was left out", () => {
    const { id, ...job } = buildJob(needed);

    expect(job).toEqual({
      v: 1,
      aud: supervisorA,
      caller_id: caller,
      runner: "build",
      payload: "echo hello\n",
      timeout: 600,
      created_at: 1_790_000_000,
      expires_at: 1_790_003_600,
    });
    expect(isJob.Check({ id, ...job })).toBe(true);
  });

  test("makes ids of UUID version 7: fresh each time, and in the order of time", () => {
    const ids = [0, 1, 65_536, 10_000_000].map((laterMs) => buildJob({ ...needed, now: () => NOW_MS + laterMs }).id);

    expect(ids.toSorted()).toEqual(ids);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(Number.parseInt(ids[0]?.replaceAll("-", "").slice(0, 12) ?? "", 16)).toBe(NOW_MS);
    expect(buildJob(needed).id).not.toBe(buildJob(needed).id);
  });

  test("keeps every member that was told", () => {
    const told = {
      id: "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b",
      context_id: "demo",
      executor: "sh",
      env_vars: { CI: "1" },
      timeout: 5,
      max_attempts: 3,
      on_loss: "fail" as const,
      priority: 9,
      not_before: 1_790_000_100,
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      created_at: 1_790_000_050,
      expires_at: 1_790_000_500,
    };

    expect(buildJob({ ...needed, ...told })).toEqual({
      v: 1,
      aud: supervisorA,
      caller_id: caller,
      runner: "build",
      payload: "echo hello\n",
      ...told,
    });
  });

  test("gives a delayed job its hour from when it may start", () => {
    expect(buildJob({ ...needed, not_before: 1_790_100_000 }).expires_at).toBe(1_790_103_600);
  });

  test("takes the system's clock where none is given", () => {
    const { now: _now, ...options } = needed;
    const before = Math.floor(Date.now() / 1000);

    expect(buildJob(options).created_at).toBeGreaterThanOrEqual(before);
  });
});

describe("signJob", () => {
  test("signs the canonical text of the job with the caller's key", async () => {
    const { job, signatures } = await signJob(aSigner(), buildJob(needed));
    const canonical = canonicalText(job);

    expect(signatures).toHaveLength(1);
    expect(signatures[0]?.public_key).toBe(caller);
    expect(
      canonical.ok && verifySignature(caller, signatures[0]?.signature ?? "", signingInput("job", canonical.text)),
    ).toBe(true);
  });

  test("gives the vectors' signature", async () => {
    const vector = VECTORS.valid.find(({ name }) => name === "job_all_fields_caller");
    const job = isJob.Parse(JSON.parse(vector?.body ?? ""));

    await expect(signJob(aSigner(), job)).resolves.toEqual({
      job,
      signatures: [{ public_key: caller, signature: vector?.sig }],
    });
  });

  test("names the member that can not be signed", async () => {
    await expect(signJob(aSigner(), buildJob({ ...needed, payload: "\udfff" }))).rejects.toThrow(
      /payload: a lone surrogate/,
    );
  });
});

describe("coSignJob", () => {
  test("adds a signature and leaves the first one as it is", async () => {
    const signed = await signJob(aSigner(), buildJob(needed));
    const both = await coSignJob(aSigner("approver"), signed);

    expect(both.signatures[0]).toEqual(signed.signatures[0]);
    expect(both.signatures.map((entry) => entry.public_key)).toEqual([caller, VECTORS.keys.approver]);
    expect(signed.signatures).toHaveLength(1);
  });
});
