/** Several supervisors on one Redis: whose keyring, whose revocation, whose nonce. */
import { afterEach, describe, expect, test } from "vitest";

import type { KeyringStore } from "../../../src/store/store.ts";
import { aCall, aCreateJob } from "../../support/calls.ts";
import { type Node, type NodeOptions, startNode, testSigner } from "../../support/node.ts";
import { allKeys, startRedis, type TestRedis } from "../../support/redis.ts";
import { registerRunner } from "../../support/registration.ts";
import { waitUntil } from "../../support/wait.ts";

const KEYS = { alice: { roles: ["submitter"] }, ops: { roles: ["registrar"] }, root: { roles: ["admin"] } } as const;
const nodes: Node[] = [];

afterEach(async () => {
  for (const node of nodes.splice(0)) await node[Symbol.asyncDispose]();
});

async function aNode(redis: TestRedis, wanted: Partial<NodeOptions> = {}): Promise<Node> {
  const node = await startNode({ keys: KEYS, redis, keyringCheckMs: 50, ...wanted });
  nodes.push(node);
  return node;
}

function seconds(): number {
  return Math.floor(Date.now() / 1000);
}

function code(answer: unknown): unknown {
  if (typeof answer !== "object" || answer === null) return undefined;
  const { error }: { error?: unknown } = answer;
  return typeof error === "object" && error !== null && "code" in error ? error.code : 0;
}

function healthOf(node: Node): string {
  return JSON.stringify(node.supervisor.readiness());
}

/** Revokes a key in one node's keyring, as a changed file would. */
function revoke(node: Node, name: string, wanted: { readonly cancelRunning?: boolean } = {}): void {
  node.keyring.replace(
    node.keyring.all().map((key) => (key.name === name ? Object.assign({}, key, wanted, { revokedAtMs: 1 }) : key)),
  );
}

describe("keyrings that differ", () => {
  test("turn both supervisors' health red with the way out, and green once they are the same", async () => {
    const redis = await startRedis();
    const [one, two] = [await aNode(redis), await aNode(redis)];
    expect([one.supervisor.readiness().ready, two.supervisor.readiness().ready]).toEqual([true, true]);

    const before = one.keyring.all();
    one.keyring.replace([...before].slice(1));
    await waitUntil(async () => [one, two].every((node) => healthOf(node).includes("keys.toml differs")));
    expect([one.supervisor.readiness().ready, two.supervisor.readiness().ready]).toEqual([false, false]);

    one.keyring.replace(before);
    await waitUntil(async () => [one, two].every((node) => node.supervisor.readiness().ready));
  });

  test("do not count once the other supervisor has stopped, which leaves nothing behind", async () => {
    const redis = await startRedis();
    const one = await aNode(redis);
    const two = await startNode({ keys: { alice: { roles: [] } }, redis, keyringCheckMs: 50 });
    await waitUntil(async () => !one.supervisor.readiness().ready);

    await two[Symbol.asyncDispose]();
    await waitUntil(async () => one.supervisor.readiness().ready);
    await nodes.splice(0)[0]?.[Symbol.asyncDispose]();

    expect((await allKeys(redis.client())).filter((key) => key.includes("keyrings"))).toEqual([]);
  });

  test("leave the list of enrolled keys as it was when they were the same", async () => {
    const redis = await startRedis();
    const one = await aNode(redis);
    const enrolled = async (): Promise<readonly string[]> => (await one.store.keyrings.readEnrolled()).toSorted();
    const before = one.keyring.all().map(({ key }) => key);
    await waitUntil(async () => (await enrolled()).length === before.length);

    await aNode(redis, { keys: { ...KEYS, bob: { roles: ["submitter"] } } });
    await waitUntil(() => !one.supervisor.readiness().ready);

    expect(await enrolled()).toEqual(before.toSorted());
  });

  test("are compared by digests said of late, each named once", async () => {
    const redis = await startRedis();
    const { store } = await aNode(redis);
    const say = async (claim: Partial<Parameters<KeyringStore["compare"]>[0]>) =>
      store.keyrings.compare({ supervisor: "x", digest: "aa", keepMs: 60_000, ...claim });
    await store.keyrings.withdraw("x");
    const own = await say({});

    expect((await say({ supervisor: "y", digest: "bb" })).toSorted()).toEqual([...own, "aa"].toSorted());
    expect((await say({ supervisor: "z", digest: "bb" })).toSorted()).toEqual([...own, "aa", "bb"].toSorted());
  });
});

describe("a revoked key", () => {
  test("is refused by the other supervisor at its next call, with its waiting jobs cancelled", async () => {
    const redis = await startRedis();
    const [one, two] = [await aNode(redis), await aNode(redis)];
    await registerRunner(one, "build");
    const waiting = await aCreateJob(testSigner("alice"), { supervisor: two.identity });
    expect(code(await two.send(waiting))).toBe(0);

    revoke(one, "alice");
    const ended = await one.client("root").call("wait_job", { id: waiting.params.job.id, wait_ms: 10_000 });

    expect(ended).toMatchObject({ state: "cancelled", reason: "revoked" });
    // The other one's keyring still has the key: it is Redis that says no.
    expect(two.keyring.find(testSigner("alice").publicKey)).toBeDefined();
    expect(code(await two.send(await aCall("list_jobs", {}, { aud: two.identity, signer: testSigner("alice") })))).toBe(
      -32_001,
    );
    expect(code(await two.send(await aCreateJob(testSigner("alice"), { supervisor: two.identity })))).toBe(-32_001);
  });

  test("that is enrolled again is named at the start, with the way out", async () => {
    const redis = await startRedis();
    const one = await aNode(redis);
    revoke(one, "alice");
    await waitUntil(async () => (await one.store.keyrings.findRevoked([testSigner("alice").publicKey])).length === 1);

    const lines: string[] = [];
    await aNode(redis, { onLog: (line) => lines.push(line) });

    expect(lines.filter((line) => line.includes('"event":"key_is_revoked"'))).toEqual([
      expect.stringMatching(/"level":40.*key \\"alice\\" is enrolled, but was revoked before.*supervisor keygen/),
    ]);
  });
});

describe("a nonce", () => {
  test("is good once over two supervisors at the same moment, and after a restart", async () => {
    const redis = await startRedis();
    const [one, two] = [await aNode(redis), await aNode(redis)];
    const call = await aCall("list_jobs", {}, { aud: one.identity, signer: testSigner("alice") });

    const answers = await Promise.all([one, two, one, two, one, two].map(async (node) => node.send(call)));
    for (const node of nodes.splice(0)) await node[Symbol.asyncDispose]();
    const again = await (await aNode(redis)).send(call);

    expect(answers.map(code).filter((each) => each !== -32_005)).toEqual([0]);
    expect(code(again)).toBe(-32_005);
  });

  test("is accepted with a clock off by 29 s either way, and at 31 s refused with the server's time", async () => {
    const node = await aNode(await startRedis());
    /** Sends again until it was judged in the second it was made for. */
    const send = async (iat: number, exp: number): Promise<unknown> => {
      for (;;) {
        const now = seconds();
        const times = { iat: now + iat, exp: now + exp };
        const call = await aCall("list_jobs", {}, { aud: node.identity, signer: testSigner("alice"), ...times });
        const answer = await node.send(call);
        if (seconds() === now) return answer;
      }
    };

    expect(code(await send(29, 149))).toBe(0);
    expect(code(await send(-120, -29))).toBe(0);
    const ahead = await send(31, 149);
    const behind = await send(-120, -31);
    expect([code(ahead), code(behind)]).toEqual([-32_002, -32_002]);
    expect(JSON.stringify(behind)).toMatch(new RegExp(`"now":${String(seconds()).slice(0, -3)}`));
  });
});
