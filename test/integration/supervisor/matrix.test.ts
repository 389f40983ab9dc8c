/** Method × role × ownership × state, through the dispatcher on a real Redis: each cell its own answer. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { METHODS, type MethodName } from "../../../src/rpc/methods.ts";
import { createRedisJobSource } from "../../../src/store/redis-source.ts";
import { aCall, aCreateJob } from "../../support/calls.ts";
import { type Node, startNode, testSigner } from "../../support/node.ts";
import { registerRunner } from "../../support/registration.ts";
import { aToken, QUIET } from "../../support/store.ts";

const STATES = ["pending", "running", "completed", "cancelled", "deleted", "missing"] as const;
type State = (typeof STATES)[number];
/** Callers by what they are to a job of alice's. */
const CALLERS = ["alice", "bob", "observer", "admin", "registrar", "runner", "nobody"] as const;
type Caller = (typeof CALLERS)[number];

const OK = 0;
const FORBIDDEN = -32_003;
const NOT_FOUND = -32_004;
const WRONG_STATE = -32_010;

type Cell = (state: State) => number;
const forbidden: Cell = () => FORBIDDEN;
/** Missing and not yours are one answer. */
const notFound: Cell = () => NOT_FOUND;
const reads: Cell = (state) => (state === "deleted" || state === "missing" ? NOT_FOUND : OK);
const cancels: Cell = (state) => (state === "completed" ? WRONG_STATE : reads(state));
/** Deleting twice answers the same. */
const deletes: Cell = (state) => {
  if (state === "running") return WRONG_STATE;
  return state === "missing" ? NOT_FOUND : OK;
};

type Row = Readonly<Record<Caller, Cell>>;
const NOBODY = { registrar: forbidden, runner: forbidden, nobody: forbidden } as const;
const READ: Row = { alice: reads, bob: notFound, observer: reads, admin: reads, ...NOBODY };

/** A row for each method about a job; for any other what tells of it. A new method without one does not compile. */
const ROWS: Readonly<Record<MethodName, Row | "elsewhere">> = {
  get_job: READ,
  wait_job: READ,
  get_job_logs: { ...READ, observer: forbidden },
  cancel_job: { ...NOBODY, alice: cancels, bob: notFound, observer: forbidden, admin: cancels },
  delete_job: { ...NOBODY, alice: deletes, bob: notFound, observer: forbidden, admin: deletes },
  subscribe_job: READ,
  unsubscribe_job: "elsewhere",
  create_job: "elsewhere",
  list_jobs: "elsewhere",
  register_runner: "elsewhere",
  list_runners: "elsewhere",
  get_runner_status: "elsewhere",
  remove_runner: "elsewhere",
  whoami: "elsewhere",
  list_peers: "elsewhere",
  auth_challenge: "elsewhere",
  auth_login: "elsewhere",
  get_info: "elsewhere",
  "rpc.discover": "elsewhere",
};

let node: Node;
let source: ReturnType<typeof createRedisJobSource>;

beforeAll(async () => {
  node = await startNode({
    keys: {
      alice: { roles: ["submitter"] },
      bob: { roles: ["submitter"] },
      observer: { roles: ["observer"] },
      admin: { roles: ["admin"] },
      registrar: { roles: ["registrar"] },
      runner: { roles: ["runner"] },
      nobody: { roles: [] },
      ops: { roles: ["registrar"] },
    },
    settings: "[rpc]\naddress_calls_per_second = 1000000\naddress_burst = 1000000\n",
  });
  await registerRunner(node, "build");
  const runner = { name: "build", groups: [] };
  source = createRedisJobSource({ url: node.redis.url, prefix: "horus", runner, log: QUIET, now: Date.now });
  await source.start();
});

afterAll(async () => {
  await source.stop();
  await node[Symbol.asyncDispose]();
});

/** A job of alice's in that state. */
async function aJobIn(state: State): Promise<string> {
  if (state === "missing") return "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b";
  const message = await aCreateJob(testSigner("alice"), { supervisor: node.identity });
  expect(await codeOf(message)).toBe(OK);
  const { id } = message.params.job;
  if (state === "deleted") await node.client("alice").call("delete_job", { id });
  if (state === "cancelled") await node.client("alice").call("cancel_job", { id });
  if (state !== "running" && state !== "completed") return id;
  const [claimed] = await source.claim(1, aToken());
  if (claimed?.lease.id !== id) throw new Error("Another job was first in the queue.");
  if (state === "completed") await source.finish(claimed.lease, { status: "completed", code: 0, isRetryable: false });
  return id;
}

async function codeOf(message: unknown): Promise<number> {
  const answer = await node.send(message, { notify: () => true, drained: async () => undefined, session: {} });
  if (typeof answer !== "object" || answer === null || !("error" in answer)) return OK;
  const { error } = answer;
  return typeof error === "object" && error !== null && "code" in error ? Number(error.code) : OK;
}

async function ask(method: string, caller: Caller, id: string): Promise<number> {
  const params = method === "wait_job" ? { id, wait_ms: 0 } : { id };
  return codeOf(await aCall(method, params, { aud: node.identity, signer: testSigner(caller) }));
}

/** Leaves nothing in the queue for the next cell to claim. */
async function clear(id: string, state: State): Promise<void> {
  if (state === "pending") await node.store.jobs.cancel(id, {}, "the cell is over");
}

describe("The matrix", () => {
  const rows = Object.entries(ROWS).filter((entry): entry is [string, Row] => entry[1] !== "elsewhere");

  test("has a row for every method of the table that names a job", () => {
    expect(Object.keys(ROWS).toSorted()).toEqual(Object.keys(METHODS).toSorted());
  });

  test.each(rows)("%s answers each caller by role, ownership and state", async (method, row) => {
    const wrong: string[] = [];
    for (const state of STATES) {
      for (const caller of CALLERS) {
        const id = await aJobIn(state);
        const code = await ask(method, caller, id);
        const expected = row[caller](state);
        if (code !== expected) wrong.push(`${caller} of ${state}: ${code} instead of ${expected}`);
        await clear(id, state);
      }
    }
    expect(wrong).toEqual([]);
  });
});
