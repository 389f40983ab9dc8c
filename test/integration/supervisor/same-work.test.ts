/** Missing and not yours: the same bytes, after the same commands of Redis. */
import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { METHODS, type MethodName } from "../../../src/rpc/methods.ts";
import { createRedisJobSource } from "../../../src/store/redis-source.ts";
import { aCall, aCreateJob } from "../../support/calls.ts";
import { inProcess, type Node, startNode, testSigner } from "../../support/node.ts";
import { registerRunner } from "../../support/registration.ts";
import { aToken, QUIET } from "../../support/store.ts";
import { aLine } from "../../support/websocket-node.ts";

const MISSING = "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b";

/** Who asks for what, where a job or a runner is named. A method that names one and is not here fails the last test. */
const ASKED: Readonly<Partial<Record<MethodName, { readonly by: string; readonly about: "job" | "runner" }>>> = {
  get_job: { by: "bob", about: "job" },
  wait_job: { by: "bob", about: "job" },
  get_job_logs: { by: "bob", about: "job" },
  cancel_job: { by: "bob", about: "job" },
  delete_job: { by: "bob", about: "job" },
  subscribe_job: { by: "bob", about: "job" },
  get_runner_status: { by: "bob", about: "runner" },
  remove_runner: { by: "other-runner", about: "runner" },
};

let node: Node;
let redis: Redis;
/** Jobs of alice's, by their state. */
const jobs = new Map<string, string>();

beforeAll(async () => {
  node = await startNode({
    keys: {
      alice: { roles: ["submitter"] },
      bob: { roles: ["submitter"], runners: ["granted-*"] },
      "other-runner": { roles: ["runner"], runners: ["granted-*"] },
      ops: { roles: ["registrar"] },
    },
    // Nothing but what is asked for is to be counted.
    settings: "[jobs]\nreap_interval_ms = 60000\n",
    keyringCheckMs: 600_000,
  });
  redis = node.redis.client();
  await registerRunner(node, "build", { groups: ["a", "b", "c"] });
  const runner = { name: "build", groups: ["a", "b", "c"] };
  const source = createRedisJobSource({ url: node.redis.url, prefix: "horus", runner, log: QUIET, now: Date.now });
  await source.start();
  for (const state of ["completed", "running", "deleted", "pending"]) jobs.set(state, await aJobIn(state, source));
  await source.stop();
});

afterAll(async () => node[Symbol.asyncDispose]());

async function aJobIn(state: string, source: ReturnType<typeof createRedisJobSource>): Promise<string> {
  const message = await aCreateJob(testSigner("alice"), { supervisor: node.identity });
  await node.send(message);
  const { id } = message.params.job;
  if (state === "deleted") await node.client("alice").call("delete_job", { id });
  if (state !== "running" && state !== "completed") return id;
  const [claimed] = await source.claim(1, aToken());
  if (claimed?.lease.id !== id) throw new Error("Another job was first in the queue.");
  await source.append(claimed.lease, [aLine(1)]);
  if (state === "completed") await source.finish(claimed.lease, { status: "completed", code: 0, isRetryable: false });
  return id;
}

interface Seen {
  readonly text: string;
  /** How often each command was carried out, those of scripts among them. */
  readonly commands: string;
}

async function ask(method: string, params: object, by: string): Promise<Seen> {
  const message = await aCall(method, params, { aud: node.identity, signer: testSigner(by) });
  const connection = inProcess({ notify: () => true, drained: async () => undefined, session: {} });
  await redis.config("RESETSTAT");
  const { bytes } = await node.handler.handle(new TextEncoder().encode(JSON.stringify(message)), connection);
  const stats = await redis.info("commandstats");
  const commands = [...stats.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gmu)]
    .map(([, name, calls]) => `${name} ${calls}`)
    // Ours, by which it is counted.
    .filter((line) => !/^(?:config\|resetstat|info|ping) /u.test(line));
  return { text: new TextDecoder().decode(bytes), commands: commands.toSorted().join(", ") };
}

/** Until both were counted without anything else in between. */
async function askedAlike(method: string, by: string, params: readonly [object, object]): Promise<[Seen, Seen]> {
  let pair: [Seen, Seen] | undefined;
  for (let tries = 0; tries < 5; tries += 1) {
    pair = [await ask(method, params[0], by), await ask(method, params[1], by)];
    if (pair[0].commands === pair[1].commands) break;
  }
  if (pair === undefined) throw new Error("Nothing was asked.");
  return pair;
}

describe("missing and not yours", () => {
  test.each(Object.entries(ASKED))("%s answers alike, after the same work", async (method, { by, about }) => {
    const paramsFor = (name: string): object => {
      if (about === "runner") return { name };
      return method === "wait_job" ? { id: name, wait_ms: 0 } : { id: name };
    };
    const missing = paramsFor(about === "runner" ? "nobody" : MISSING);
    for (const foreign of about === "runner" ? ["build"] : jobs.values()) {
      const [first, second] = await askedAlike(method, by, [paramsFor(foreign), missing]);

      expect(first.text).toBe('{"jsonrpc":"2.0","error":{"code":-32004,"message":"Not found"},"id":1}');
      expect(second.text).toBe(first.text);
      expect(first.commands).toBe(second.commands);
      expect(first.commands).not.toBe("");
    }
  });

  test("are asked about by every method that may answer so", () => {
    const named = Object.entries(METHODS).flatMap(([name, { errors }]) =>
      errors.some((error) => error === "notFound") ? [name] : [],
    );

    expect(Object.keys(ASKED).toSorted()).toEqual(named.toSorted());
  });
});
