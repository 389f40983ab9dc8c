import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { createSigner, signDocument } from "../../../src/auth/signature.ts";
import { ERRORS } from "../../../src/errors.ts";
import type { RunnerDocument } from "../../../src/rpc/schema.ts";
import { aCall, aCreateJob } from "../../support/calls.ts";
import { type Node, startNode, testSigner } from "../../support/node.ts";
import { allKeys } from "../../support/redis.ts";

const UNAUTHENTICATED = ERRORS.unauthenticated;

const A_NUMBER: unknown = expect.any(Number);

/** A member of an answer; undefined where it has none. */
function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null
    ? new Map<string, unknown>(Object.entries(value)).get(name)
    : undefined;
}

let node: Node;
const alice = testSigner("alice");
const stranger = createSigner("ab".repeat(32));

beforeAll(async () => {
  node = await startNode({
    keys: {
      alice: { roles: ["submitter"], runners: ["build"] },
      cosigner: { roles: [], principal: "carol" },
      watcher: { roles: ["observer"] },
      ops: { roles: ["registrar"] },
      tied: { roles: ["submitter"], overlay: [`x25519:${"a".repeat(64)}`] },
      expired: { roles: ["submitter"], notAfterMs: 1 },
      revoked: { roles: ["submitter"], revokedAtMs: 1 },
      slow: { roles: ["submitter"], rate: 1 },
      copied: { roles: ["submitter"], rate: 1 },
    },
  });
  const now = Math.floor(Date.now() / 1000);
  const key = testSigner("build-1");
  const registration: RunnerDocument = {
    v: 1,
    aud: node.identity,
    name: "build-1",
    key: key.publicKey,
    groups: ["build"],
    executors: [],
    slots: 1,
    iat: now,
    exp: now + 300,
  };
  const { signature } = await signDocument(key, "runner", registration);
  await node.client("ops").call("register_runner", { registration, signature });
});

afterAll(async () => node[Symbol.asyncDispose]());

async function call(wishes: Partial<Parameters<typeof aCall>[2]> = {}): ReturnType<typeof aCall> {
  return aCall("list_jobs", {}, { aud: node.identity, signer: alice, ...wishes });
}

async function refused(message: unknown): Promise<unknown> {
  const before = await allKeys(node.redis.client());
  const answer = await node.send(message);
  // A refused call leaves no trace: no record, no queue entry, no nonce of an unverified call.
  expect(await allKeys(node.redis.client())).toEqual(before);
  return member(answer, "error");
}

describe("create_job is refused", () => {
  test.each([
    ["without signatures", (params: object) => ({ ...params, signatures: undefined })],
    ["with an empty list of them", (params: object) => ({ ...params, signatures: [] })],
    ["with signatures of the wrong shape", (params: object) => ({ ...params, signatures: [{ public_key: 5 }] })],
    ["with signatures that are no list", (params: object) => ({ ...params, signatures: { 0: "x" } })],
  ])("as unauthenticated %s", async (_what, change) => {
    const message = await aCreateJob(alice, { supervisor: node.identity });

    await expect(refused({ ...message, params: change(message.params) })).resolves.toEqual(UNAUTHENTICATED);
  });

  test("as unauthenticated when one byte of the payload was changed", async () => {
    const { params, ...message } = await aCreateJob(alice, { supervisor: node.identity, payload: "true" });

    await expect(
      refused({ ...message, params: { ...params, job: { ...params.job, payload: "trve" } } }),
    ).resolves.toEqual(UNAUTHENTICATED);
  });

  test.each(["expired", "revoked", "nobody"])("as unauthenticated when signed by a key that is %s", async (name) => {
    await expect(refused(await aCreateJob(testSigner(name), { supervisor: node.identity }))).resolves.toEqual(
      UNAUTHENTICATED,
    );
  });

  test("as unauthenticated when the caller is not among the signers", async () => {
    const message = await aCreateJob(testSigner("cosigner"), { supervisor: node.identity, caller_id: alice.publicKey });

    await expect(refused(message)).resolves.toEqual(UNAUTHENTICATED);
  });

  test("as unauthenticated when one of several signatures is bad, unknown or doubled", async () => {
    const { params, ...message } = await aCreateJob(alice, { supervisor: node.identity });
    const cosign = async (signer = testSigner("cosigner")) => ({
      public_key: signer.publicKey,
      signature: (await signDocument(signer, "job", params.job)).signature,
    });
    const bad = { ...(await cosign()), signature: "0".repeat(128) };

    for (const extra of [bad, await cosign(stranger), params.signatures[0]]) {
      const sent = { ...message, params: { ...params, signatures: [...params.signatures, extra] } };
      await expect(refused(sent)).resolves.toEqual(UNAUTHENTICATED);
    }
    const good = { ...message, params: { ...params, signatures: [...params.signatures, await cosign()] } };
    expect(await node.send(good)).toMatchObject({ result: { state: "pending" } });
  });

  test("as wrong audience when signed for another supervisor, with ours in the answer", async () => {
    await expect(refused(await aCreateJob(alice, { supervisor: stranger.publicKey }))).resolves.toMatchObject({
      code: -32006,
      data: { identity: node.identity },
    });
  });

  test("the same way for a runner not granted and one unknown", async () => {
    const notGranted = await refused(await aCreateJob(alice, { supervisor: node.identity, runner: "prod" }));
    const unknown = await refused(await aCreateJob(testSigner("slow"), { supervisor: node.identity, runner: "prod" }));

    expect(notGranted).toEqual({ code: -32003, message: "Forbidden" });
    expect(unknown).toEqual(notGranted);
  });

  test("for a key without the role", async () => {
    await expect(
      refused(await aCreateJob(testSigner("watcher"), { supervisor: node.identity })),
    ).resolves.toMatchObject({ code: -32003 });
  });

  test("outside its time window by Redis' clock, with the server's time", async () => {
    const now = Math.floor(Date.now() / 1000);

    const future = await refused(
      await aCreateJob(alice, { supervisor: node.identity, created_at: now + 35, expires_at: now + 60 }),
    );
    const past = await refused(
      await aCreateJob(alice, { supervisor: node.identity, created_at: now - 60, expires_at: now - 5 }),
    );

    expect(future).toMatchObject({ code: -32002, data: { now: A_NUMBER } });
    expect(past).toMatchObject({ code: -32002 });
  });

  test("with the path of an unknown or wrong member", async () => {
    const { params, ...message } = await aCreateJob(alice, { supervisor: node.identity });

    for (const [job, path] of [
      [{ ...params.job, sudo: true }, "params.job.sudo"],
      [{ ...params.job, timeout: 0 }, "params.job.timeout"],
      [{ ...params.job, timeout: 1.5 }, "params.job.timeout"],
      [{ ...params.job, id: "A".repeat(36) }, "params.job.id"],
    ] as const) {
      await expect(refused({ ...message, params: { ...params, job } })).resolves.toMatchObject({
        code: -32602,
        data: { path },
      });
    }
  });

  test("over the key's rate, after its signature was found good", async () => {
    const answers: unknown[] = [];
    for (let index = 0; index < 4; index += 1) {
      answers.push(await node.send(await aCreateJob(testSigner("slow"), { supervisor: node.identity })));
    }

    expect(answers.at(-1)).toMatchObject({ error: { code: -32029, data: { limit: "rate" } } });
  });

  test("when its key is bound to an overlay node and the call came another way", async () => {
    await expect(refused(await aCreateJob(testSigner("tied"), { supervisor: node.identity }))).resolves.toEqual(
      UNAUTHENTICATED,
    );
  });

  test("as a notification, unexecuted and unanswered", async () => {
    const { id: _id, ...message } = await aCreateJob(alice, { supervisor: node.identity });
    const before = await allKeys(node.redis.client());

    await expect(node.send(message)).resolves.toBeUndefined();
    expect(await allKeys(node.redis.client())).toEqual(before);
  });
});

describe("create_job is idempotent", () => {
  test("the same document again gives the present state, other content a conflict", async () => {
    const message = await aCreateJob(alice, { supervisor: node.identity });
    const { job } = message.params;
    const changed = await aCreateJob(alice, { ...job, supervisor: node.identity, payload: "false" });

    const first = await node.send(message);
    const second = await node.send(message);

    expect(first).toMatchObject({ result: { duplicate: false, state: "pending" } });
    expect(second).toMatchObject({ result: { duplicate: true, state: "pending" } });
    await expect(refused(changed)).resolves.toEqual({ code: -32009, message: "The id is taken by other content" });
  });

  test("a document spaced, ordered and escaped otherwise is the same document", async () => {
    const message = await aCreateJob(alice, { supervisor: node.identity, timeout: 60 });
    const { job, signatures } = message.params;
    const reordered = JSON.stringify(Object.fromEntries(Object.entries(job).toReversed()), undefined, 1)
      .replace('"timeout": 60', '"timeout": 6e1')
      .replace('"build"', String.raw`"\u0062uild"`);

    await node.send(message);
    const again = await node.send(
      `{"id":2,"method":"create_job","params":{"signatures":${JSON.stringify(signatures)},"job":${reordered}},"jsonrpc":"2.0"}`,
    );

    expect(again).toMatchObject({ result: { duplicate: true } });
  });
});

describe("a signed call is refused", () => {
  test("as unauthenticated for every fault of its credential, with one message", async () => {
    const good = await call();
    const { params } = good;
    const faults: unknown[] = [
      { ...good, params: {} },
      { ...good, params: { auth: {} } },
      { ...good, params: { auth: null } },
      { ...good, params: { auth: { ...params.auth, extra: 1 } } },
      { ...good, params: { auth: { ...params.auth, sig: "0".repeat(128) } } },
      { ...good, params: { auth: { ...params.auth, sig: params.auth.sig.toUpperCase() } } },
      { ...good, params: { auth: { ...params.auth, nonce: "0".repeat(32) } } },
      { ...good, method: "list_runners" },
      { ...good, params: { ...params, limit: 5 } },
      await call({ key: testSigner("watcher").publicKey }),
      await call({ signer: stranger }),
      await call({ signer: testSigner("revoked") }),
    ];

    for (const fault of faults) await expect(refused(fault)).resolves.toEqual(UNAUTHENTICATED);
  });

  test("as wrong audience when signed for another supervisor", async () => {
    await expect(refused(await call({ aud: stranger.publicKey }))).resolves.toMatchObject({ code: -32006 });
  });

  test.each([
    ["from the future", 32, 100],
    ["from the past", -200, -32],
    ["valid for too long", 0, 601],
    ["that ends before it begins", 0, -1],
  ])("as stale %s", async (_what, iat, exp) => {
    const now = Math.floor(Date.now() / 1000);

    await expect(refused(await call({ iat: now + iat, exp: now + exp }))).resolves.toMatchObject({
      code: -32002,
      data: { now: A_NUMBER },
    });
  });

  test("the second time, also at the same moment on two connections", async () => {
    const message = await call();

    const answers = await Promise.all([node.send(message), node.send(message)]);

    expect(answers.filter((answer) => member(answer, "result") !== undefined)).toHaveLength(1);
    expect(answers.find((answer) => member(answer, "error") !== undefined)).toMatchObject({
      error: { code: -32005 },
    });
  });
});

describe("revocation", () => {
  test("ends a key's rights at once and cancels what it had waiting", async () => {
    const doomed = await startNode({
      keys: { alice: { roles: ["submitter"] }, ops: { roles: ["registrar"] }, root: { roles: ["admin"] } },
    });
    try {
      const now = Math.floor(Date.now() / 1000);
      const key = testSigner("build-1");
      const registration: RunnerDocument = {
        v: 1,
        aud: doomed.identity,
        name: "build",
        key: key.publicKey,
        groups: [],
        executors: [],
        slots: 1,
        iat: now,
        exp: now + 300,
      };
      const { signature } = await signDocument(key, "runner", registration);
      await doomed.client("ops").call("register_runner", { registration, signature });
      const message = await aCreateJob(alice, { supervisor: doomed.identity });
      await doomed.send(message);

      doomed.keyring.replace(
        doomed.keyring
          .all()
          .map((entry) => (entry.name === "alice" ? Object.assign({}, entry, { revokedAtMs: 1 }) : entry)),
      );
      const ended = await doomed.client("root").call("wait_job", { id: message.params.job.id, wait_ms: 10_000 });

      expect(ended).toMatchObject({ state: "cancelled", reason: "revoked" });
      expect(await doomed.send(await aCreateJob(alice, { supervisor: doomed.identity }))).toMatchObject({
        error: UNAUTHENTICATED,
      });
    } finally {
      await doomed[Symbol.asyncDispose]();
    }
  });
});

describe("A copy of a signed job", () => {
  test("takes nothing of what its signer may call, however often others send it", async () => {
    const signer = testSigner("copied");
    const job = await aCreateJob(signer, { supervisor: node.identity });
    const first = await node.send(job);
    for (let count = 0; count < 12; count += 1) {
      expect(await node.send(job)).toMatchObject({ result: { duplicate: true } });
    }
    const next = await node.send(await aCreateJob(signer, { supervisor: node.identity }));

    expect(first).toMatchObject({ result: { duplicate: false } });
    expect(next).toMatchObject({ result: { duplicate: false } });
  });
});
