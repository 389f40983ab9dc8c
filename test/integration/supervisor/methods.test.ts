import { randomUUID } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { signDocument } from "../../../src/auth/signature.ts";
import { isEnrolledBy } from "../../../src/client/enrolment.ts";
import { buildJob, RpcError, signJob } from "../../../src/client/index.ts";
import { RECEIPT } from "../../../src/rpc/examples.ts";
import type { JobDocument, RunnerDocument } from "../../../src/rpc/schema.ts";
import { type Node, startNode } from "../../support/node.ts";

let node: Node;

beforeAll(async () => {
  node = await startNode({
    keys: {
      alice: { roles: ["submitter"], runners: ["build", "gpu-*"] },
      "alice-phone": { roles: ["submitter"], principal: "alice", runners: ["build"] },
      bob: { roles: ["submitter"] },
      ops: { roles: ["registrar"] },
      eve: { roles: ["observer"] },
      root: { roles: ["admin"] },
      "build-1": { roles: ["runner"], runners: ["build*"] },
    },
    settings: "[jobs]\nlease_ms = 2000\n",
  });
  await register("build-1", { groups: ["build"] });
});

afterAll(async () => node[Symbol.asyncDispose]());

async function register(name: string, wanted: Partial<RunnerDocument> = {}, by = "ops"): Promise<unknown> {
  const now = Math.floor(Date.now() / 1000);
  const key = node.signer(name);
  const registration: RunnerDocument = {
    v: 1,
    aud: node.identity,
    name,
    key: key.publicKey,
    groups: [],
    executors: ["default"],
    slots: 1,
    iat: now,
    exp: now + 300,
    ...wanted,
  };
  const { signature } = await signDocument(key, "runner", registration);
  return node.client(by).call("register_runner", { registration, signature });
}

async function submit(by: string, wanted: Partial<JobDocument> = {}): Promise<string> {
  const signer = node.signer(by);
  const job = buildJob({
    supervisor: node.identity,
    caller: signer.publicKey,
    runner: "build",
    payload: "true",
    ...wanted,
  });
  const { id } = await node.client(by).call("create_job", await signJob(signer, job));
  return id;
}

/** As one who may write in Redis can leave it. */
async function damage(id: string): Promise<void> {
  const client = node.redis.client();
  const [key = ""] = await client.keys(`*:job:${id}`);
  expect(await client.hdel(key, "document")).toBe(1);
}

/** The code and data of the refusal; undefined when the call was answered. */
async function refusal(call: Promise<unknown>): Promise<{ code: number; message: string; data: unknown } | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    return { code: error.code, message: error.message, data: error.data };
  }
}

describe("get_job", () => {
  test("gives the owner the whole job, to each of the principal's keys", async () => {
    const id = await submit("alice", { env_vars: { TOKEN: "canary" } });

    const own = await node.client("alice").call("get_job", { id });
    const phone = await node.client("alice-phone").call("get_job", { id });

    expect(own).toMatchObject({ state: "pending", redacted: false, job: { env_vars: { TOKEN: "canary" } } });
    expect(phone).toEqual(own);
  });

  test("answers a foreign job exactly like a missing one", async () => {
    const id = await submit("alice");

    const foreign = await refusal(node.client("bob").call("get_job", { id }));
    const missing = await refusal(node.client("bob").call("get_job", { id: randomUUID() }));

    expect(foreign).toEqual({ code: -32004, message: "Not found", data: undefined });
    expect(missing).toEqual(foreign);
  });

  test("hides from an observer and an admin what is not theirs to read", async () => {
    const id = await submit("alice", { env_vars: { TOKEN: "canary" }, payload: "echo payload-canary" });

    const observed = await node.client("eve").call("get_job", { id });
    const administered = await node.client("root").call("get_job", { id });

    expect(JSON.stringify(observed)).not.toMatch(/canary/u);
    expect(administered.job.payload).toBe("echo payload-canary");
    expect(administered.job).not.toHaveProperty("env_vars");
  });
});

describe("list_jobs", () => {
  test("pages through the caller's own jobs, newest first, without a gap or a repeat", async () => {
    const context = randomUUID();
    const ids: string[] = [];
    for (let index = 0; index < 5; index += 1) ids.push(await submit("bob", { context_id: context }));
    const found: string[] = [];

    let cursor: string | undefined;
    do {
      const page = await node
        .client("bob")
        .call("list_jobs", { context_id: context, limit: 2, ...(cursor === undefined ? {} : { cursor }) });
      found.push(...page.jobs.map((job) => job.id));
      cursor = page.next;
    } while (cursor !== undefined);

    expect(found).toHaveLength(5);
    expect(new Set(found)).toEqual(new Set(ids));
  });

  test("filters by state, runner and time", async () => {
    const id = await submit("alice");
    const { admitted_ms: admittedMs } = await node.client("alice").call("get_job", { id });
    const list = async (filter: object) =>
      (await node.client("alice").call("list_jobs", filter)).jobs.map((job) => job.id);

    await expect(list({ state: "pending" })).resolves.toContain(id);
    await expect(list({ state: "completed" })).resolves.not.toContain(id);
    await expect(list({ runner: "gpu-1" })).resolves.not.toContain(id);
    await expect(list({ created_after_ms: admittedMs })).resolves.toContain(id);
    await expect(list({ created_before_ms: admittedMs })).resolves.not.toContain(id);
  });

  test("shows everybody's jobs to observer and admin, and only to them", async () => {
    const id = await submit("alice");

    const all = await node.client("eve").call("list_jobs", { all: true });
    const denied = await refusal(node.client("alice").call("list_jobs", { all: true }));

    expect(all.jobs.map((job) => job.id)).toContain(id);
    expect(denied).toMatchObject({ code: -32003 });
  });

  test("refuses a forged cursor, a foreign one, and one of another filter", async () => {
    for (let index = 0; index < 2; index += 1) await submit("bob");
    const { next = "" } = await node.client("bob").call("list_jobs", { limit: 1 });

    for (const [by, params] of [
      ["bob", { cursor: `${next.slice(0, -2)}AA` }],
      ["bob", { cursor: "x" }],
      ["alice", { cursor: next }],
      ["bob", { cursor: next, state: "failed" }],
    ] as const) {
      await expect(refusal(node.client(by).call("list_jobs", params))).resolves.toMatchObject({
        code: -32602,
        data: { path: "params.cursor" },
      });
    }
  });
});

describe("wait_job and get_job_logs", () => {
  test("answer at the end of the wait with the job as it is", async () => {
    const id = await submit("alice");

    await expect(node.client("alice").call("wait_job", { id, wait_ms: 50 })).resolves.toMatchObject({
      state: "pending",
    });
    await expect(node.client("alice").call("get_job_logs", { id, wait_ms: 50 })).resolves.toEqual({
      entries: [],
      next: 0,
      done: false,
    });
  });

  test("answer when the job ends", async () => {
    const id = await submit("alice");

    const waiting = node.client("alice").call("wait_job", { id, wait_ms: 20_000 });
    const logs = node.client("alice").call("get_job_logs", { id, wait_ms: 20_000 });
    await node.client("alice").call("cancel_job", { id });

    await expect(waiting).resolves.toMatchObject({ state: "cancelled", reason: "cancelled by alice" });
    await expect(logs).resolves.toEqual({ entries: [], next: 0, done: true });
  });

  test("tell nothing to strangers, and no log to observers", async () => {
    const id = await submit("alice");

    await expect(refusal(node.client("bob").call("wait_job", { id }))).resolves.toMatchObject({ code: -32004 });
    await expect(refusal(node.client("bob").call("get_job_logs", { id }))).resolves.toMatchObject({ code: -32004 });
    await expect(refusal(node.client("eve").call("get_job_logs", { id }))).resolves.toMatchObject({ code: -32003 });
  });

  test("end quietly when nobody listens any more", async () => {
    const id = await submit("alice");
    const hangup = new AbortController();

    const waiting = node.client("alice").call("get_job_logs", { id, wait_ms: 20_000 }, { signal: hangup.signal });
    hangup.abort(new Error("gone"));

    await expect(waiting).rejects.toThrow("gone");
  });
});

describe("cancel_job and delete_job", () => {
  test("refuse strangers like a missing job, and an ended job by its state", async () => {
    const id = await submit("alice");

    await expect(refusal(node.client("bob").call("cancel_job", { id }))).resolves.toMatchObject({ code: -32004 });
    await expect(refusal(node.client("bob").call("delete_job", { id }))).resolves.toMatchObject({ code: -32004 });
    await expect(node.client("root").call("cancel_job", { id })).resolves.toMatchObject({
      state: "cancelled",
      cancelling: false,
    });
    await expect(node.client("alice").call("cancel_job", { id })).resolves.toMatchObject({ state: "cancelled" });
    await expect(node.client("alice").call("delete_job", { id })).resolves.toEqual({ id, deleted: true });
    await expect(node.client("alice").call("delete_job", { id })).resolves.toEqual({ id, deleted: true });
    await expect(refusal(node.client("alice").call("cancel_job", { id }))).resolves.toMatchObject({ code: -32004 });
  });

  test("rid a caller of a job whose stored document is gone", async () => {
    const cancelled = await submit("alice");
    const pending = await submit("alice");
    for (const id of [cancelled, pending]) await damage(id);

    await expect(node.client("alice").call("cancel_job", { id: cancelled })).resolves.toMatchObject({
      state: "cancelled",
    });
    for (const id of [cancelled, pending]) {
      await expect(node.client("alice").call("delete_job", { id })).resolves.toEqual({ id, deleted: true });
    }
  });

  test("refuse a key without a role that may", async () => {
    const id = await submit("alice");

    await expect(refusal(node.client("eve").call("delete_job", { id }))).resolves.toMatchObject({ code: -32003 });
  });
});

describe("runners", () => {
  test("are shown to submitters where granted, to the others all", async () => {
    await register("hidden-1");
    const names = async (by: string) =>
      (await node.client(by).call("list_runners", {})).runners.map((runner) => runner.name);

    await expect(names("alice")).resolves.toEqual(["build-1"]);
    await expect(names("eve")).resolves.toEqual(expect.arrayContaining(["build-1", "hidden-1"]));
    await expect(refusal(node.client("alice").call("get_runner_status", { name: "hidden-1" }))).resolves.toMatchObject({
      code: -32004,
    });
  });

  test("give their status with the signed registration that enrolled them", async () => {
    const status = await node.client("alice").call("get_runner_status", { name: "build-1" });

    expect(status).toMatchObject({ state: "offline", registration: { body: { name: "build-1", groups: ["build"] } } });
    const { registration, enrolled_by: call } = status;
    const receipt = { ...RECEIPT.body, aud: node.identity, runner: registration.public_key, queue: "build" };
    const question = { registration, call, supervisor: node.identity, receipt };
    expect(isEnrolledBy({ ...question, registrarKeys: [node.signer("ops").publicKey] })).toBe(true);
    expect(isEnrolledBy({ ...question, registrarKeys: [node.signer("alice").publicKey] })).toBe(false);
  });

  test("register themselves with their own enrolled key under granted names", async () => {
    await expect(register("build-1", { groups: ["build"] }, "build-1")).resolves.toMatchObject({ name: "build-1" });
    await expect(refusal(register("other", {}, "build-1"))).resolves.toMatchObject({ code: -32003 });
    await expect(refusal(register("build-1", {}, "alice"))).resolves.toMatchObject({ code: -32003 });
  });

  test("keep one namespace for names and groups", async () => {
    await expect(refusal(register("build"))).resolves.toMatchObject({ code: -32009, data: { name: "build" } });
  });

  test("are not removed while jobs wait for them alone, unless forced, which cancels those", async () => {
    await register("lonely-1");
    const id = await submit("bob", { runner: "lonely-1" });

    const refused = await refusal(node.client("ops").call("remove_runner", { name: "lonely-1" }));
    const removed = await node.client("ops").call("remove_runner", { name: "lonely-1", force: true });
    const job = await node.client("bob").call("get_job", { id });

    expect(refused).toMatchObject({ code: -32010, data: { waiting: 1 } });
    expect(removed).toEqual({ name: "lonely-1", removed: true, cancelled: 1 });
    expect(job.state).toBe("cancelled");
    await expect(refusal(submit("bob", { runner: "lonely-1" }))).resolves.toMatchObject({ code: -32003 });
  });

  test("are removed by themselves, not by others of the role", async () => {
    await register("build-2");

    await expect(refusal(node.client("build-1").call("remove_runner", { name: "build-2" }))).resolves.toMatchObject({
      code: -32004,
    });
    await expect(refusal(node.client("ops").call("remove_runner", { name: "nobody" }))).resolves.toMatchObject({
      code: -32004,
    });
    await expect(node.client("ops").call("remove_runner", { name: "build-2" })).resolves.toMatchObject({
      removed: true,
    });
  });
});

describe("the supervisor about itself", () => {
  test("says who it is to anybody", async () => {
    const info = await node.client("nobody-enrolled").call("get_info", {});

    expect(info).toMatchObject({
      name: "horus-supervisor",
      identity: node.identity,
      version: "0.0.0-test",
      transports: [],
    });
    expect(info.limits).toMatchObject({ max_payload_bytes: 262_144, max_batch: 100 });
  });

  test("gives its OpenRPC document", async () => {
    const document = await node.client("nobody-enrolled").call("rpc.discover", {});

    expect(document).toMatchObject({ openrpc: "1.3.2" });
  });

  test("says what it knows of the calling key", async () => {
    await expect(node.client("alice-phone").call("whoami", {})).resolves.toEqual({
      key: node.signer("alice-phone").publicKey,
      name: "alice-phone",
      principal: "alice",
      roles: ["submitter"],
      runners: ["build"],
    });
  });

  test("lists overlay nodes to observers alone", async () => {
    await expect(node.client("eve").call("list_peers", {})).resolves.toEqual({ peers: [] });
    await expect(refusal(node.client("alice").call("list_peers", {}))).resolves.toMatchObject({ code: -32003 });
  });

  test("is ready while Redis is", async () => {
    expect(node.supervisor.readiness()).toEqual({ ready: true, checks: { redis: "up" } });
  });
});
