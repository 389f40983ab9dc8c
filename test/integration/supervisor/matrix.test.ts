/** Method × role × ownership × state, through the dispatcher on a real Redis: each cell its own answer. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { signDocument } from "../../../src/auth/signature.ts";
import { METHODS, type MethodName } from "../../../src/rpc/methods.ts";
import { JOB_STATES, type RunnerDocument } from "../../../src/rpc/schema.ts";
import type { Connection } from "../../../src/rpc/transport.ts";
import type { Lease } from "../../../src/runner/source.ts";
import { createRedisJobSource } from "../../../src/store/redis-source.ts";
import { aCall, aCreateJob } from "../../support/calls.ts";
import { type Node, startNode, testSigner } from "../../support/node.ts";
import { registerRunner } from "../../support/registration.ts";
import { objectOf } from "../../support/signing.ts";
import { aToken, QUIET } from "../../support/store.ts";
import { waitUntil } from "../../support/wait.ts";

const STATES = [...JOB_STATES, "cancelling", "deleted", "missing"] as const;
type State = (typeof STATES)[number];
/** Callers by what they are to a job of alice's; the last three have no rights at all. */
const CALLERS = [
  "alice",
  "phone",
  "bob",
  "observer",
  "admin",
  "registrar",
  "runner",
  "nobody",
  "revoked",
  "expired",
  "stranger",
] as const;
type Caller = (typeof CALLERS)[number];

const OK = 0;
const UNAUTHENTICATED = -32_001;
const FORBIDDEN = -32_003;
const NOT_FOUND = -32_004;
const WRONG_STATE = -32_010;
const MISSING = "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b";

type Cell = (state: State) => number;
const forbidden: Cell = () => FORBIDDEN;
const unauthenticated: Cell = () => UNAUTHENTICATED;
/** Missing and not yours are one answer. */
const notFound: Cell = () => NOT_FOUND;
const reads: Cell = (state) => (state === "deleted" || state === "missing" ? NOT_FOUND : OK);
const ENDED: ReadonlySet<State> = new Set<State>(["completed", "failed", "timeout", "expired"]);
/** Cancelling what is cancelled, or asked to stop, answers the same. */
const cancels: Cell = (state) => (ENDED.has(state) ? WRONG_STATE : reads(state));
/** So does deleting twice. */
const deletes: Cell = (state) => {
  if (state === "running" || state === "cancelling") return WRONG_STATE;
  return state === "missing" ? NOT_FOUND : OK;
};

type Row = Readonly<Record<Caller, Cell>>;
const NO_RIGHTS = { revoked: unauthenticated, expired: unauthenticated, stranger: unauthenticated } as const;
const NO_ROLE = { registrar: forbidden, runner: forbidden, nobody: forbidden, ...NO_RIGHTS } as const;
const READ: Row = { alice: reads, phone: reads, bob: notFound, observer: reads, admin: reads, ...NO_ROLE };

/** One thing asked by every caller where no job is named, and what each is answered. */
interface Plain {
  readonly what: string;
  readonly ask: (caller: Caller) => Promise<number>;
  readonly codes: Readonly<Record<Caller, number>>;
}

/** `others` for whoever has rights and is not named. */
function codes(others: number, named: Partial<Record<Caller, number>> = {}): Plain["codes"] {
  const submitters = { alice: others, phone: others, bob: others };
  const keepers = { observer: others, admin: others, registrar: others, runner: others, nobody: others };
  const none = { revoked: UNAUTHENTICATED, expired: UNAUTHENTICATED, stranger: UNAUTHENTICATED };
  return { ...submitters, ...keepers, ...none, ...named };
}

const ANYBODY = codes(OK, { revoked: OK, expired: OK, stranger: OK });

/** Signed by the caller, about no job. */
function plain(what: string, method: MethodName, params: object, expected: Plain["codes"]): Plain {
  const asked: Plain["ask"] = async (caller) =>
    codeOf(await aCall(method, params, { aud: node.identity, signer: testSigner(caller) }));
  return { what, ask: asked, codes: expected };
}

/** A row for each method about a job, and for any other what each caller is answered: a new method without does not compile. */
const ROWS: Readonly<Record<MethodName, Row | readonly Plain[]>> = {
  get_job: READ,
  wait_job: READ,
  get_job_logs: { ...READ, observer: forbidden },
  cancel_job: { ...NO_ROLE, alice: cancels, phone: cancels, bob: notFound, observer: forbidden, admin: cancels },
  delete_job: { ...NO_ROLE, alice: deletes, phone: deletes, bob: notFound, observer: forbidden, admin: deletes },
  subscribe_job: READ,
  unsubscribe_job: [
    plain(
      "what is not theirs",
      "unsubscribe_job",
      { subscription: "00000000000000a1" },
      {
        ...codes(OK, { registrar: FORBIDDEN, runner: FORBIDDEN, nobody: FORBIDDEN }),
      },
    ),
  ],
  create_job: [
    // Bob may send elsewhere; an admin may do everything but this.
    {
      what: "for a runner",
      ask: async (caller) => creates(caller, "build"),
      codes: codes(FORBIDDEN, { alice: OK, phone: OK }),
    },
    { what: "for an unknown runner", ask: async (caller) => creates(caller, "unknown"), codes: codes(FORBIDDEN) },
  ],
  list_jobs: [
    plain("their own", "list_jobs", {}, codes(OK, { registrar: FORBIDDEN, runner: FORBIDDEN, nobody: FORBIDDEN })),
    plain("everybody's", "list_jobs", { all: true }, codes(FORBIDDEN, { observer: OK, admin: OK })),
  ],
  register_runner: [
    {
      what: "another runner",
      ask: async (caller) => registers(caller, "other"),
      codes: codes(FORBIDDEN, { registrar: OK, admin: OK }),
    },
    {
      what: "itself",
      ask: async (caller) => registers(caller, "mine-1", "runner"),
      codes: codes(FORBIDDEN, { registrar: OK, admin: OK, runner: OK }),
    },
    {
      what: "itself under a name not granted",
      ask: async (caller) => registers(caller, "theirs", "runner"),
      codes: codes(FORBIDDEN, { registrar: OK, admin: OK }),
    },
  ],
  list_runners: [plain("what they may see", "list_runners", {}, codes(OK, { nobody: FORBIDDEN }))],
  get_runner_status: [
    plain(
      "of a runner",
      "get_runner_status",
      { name: "build" },
      codes(OK, { bob: NOT_FOUND, runner: NOT_FOUND, nobody: FORBIDDEN }),
    ),
    plain("of none", "get_runner_status", { name: "none" }, codes(NOT_FOUND, { nobody: FORBIDDEN })),
  ],
  remove_runner: [
    {
      what: "another runner",
      ask: async (caller) => removes(caller, "spare"),
      codes: codes(FORBIDDEN, { registrar: OK, admin: OK, runner: NOT_FOUND }),
    },
    {
      what: "itself",
      ask: async (caller) => removes(caller, "mine-2", "runner"),
      codes: codes(FORBIDDEN, { registrar: OK, admin: OK, runner: OK }),
    },
    plain(
      "none",
      "remove_runner",
      { name: "none" },
      codes(FORBIDDEN, { registrar: NOT_FOUND, admin: NOT_FOUND, runner: NOT_FOUND }),
    ),
  ],
  whoami: [plain("themselves", "whoami", {}, codes(OK, { nobody: FORBIDDEN }))],
  list_peers: [plain("nodes", "list_peers", {}, codes(FORBIDDEN, { observer: OK, admin: OK }))],
  auth_challenge: [{ what: "a challenge", ask: async () => codeOf(unsigned("auth_challenge")), codes: ANYBODY }],
  auth_login: [{ what: "a login", ask: logsIn, codes: codes(OK, { nobody: FORBIDDEN }) }],
  get_info: [{ what: "about it", ask: async () => codeOf(unsigned("get_info")), codes: ANYBODY }],
  "rpc.discover": [{ what: "the document", ask: async () => codeOf(unsigned("rpc.discover")), codes: ANYBODY }],
};

let node: Node;
let source: ReturnType<typeof createRedisJobSource>;
/** Jobs that expired unclaimed, made at once because that takes its time. */
const expired: string[] = [];

beforeAll(async () => {
  node = await startNode({
    keys: {
      alice: { roles: ["submitter"] },
      phone: { roles: ["submitter"], principal: "alice" },
      bob: { roles: ["submitter"], runners: ["web-*"] },
      observer: { roles: ["observer"] },
      admin: { roles: ["admin"] },
      registrar: { roles: ["registrar"] },
      runner: { roles: ["runner"], runners: ["mine-*"] },
      nobody: { roles: [] },
      revoked: { roles: ["submitter", "admin"], revokedAtMs: 1 },
      expired: { roles: ["submitter", "admin"], notAfterMs: 1 },
      ops: { roles: ["registrar"] },
    },
    settings:
      "[rpc]\naddress_calls_per_second = 1000000\naddress_burst = 1000000\n[jobs]\nreap_interval_ms = 200\nlease_ms = 600000\n",
  });
  await registerRunner(node, "build");
  const runner = { name: "build", groups: [] };
  source = createRedisJobSource({ url: node.redis.url, prefix: "horus", runner, log: QUIET, now: Date.now });
  await source.start();
  const methods = Object.values(ROWS).filter((row) => !isPlain(row));
  for (let index = 0; index < methods.length * CALLERS.length; index += 1) {
    const now = Math.floor(Date.now() / 1000);
    expired.push(await aNewJob({ created_at: now, expires_at: now + 1, not_before: now + 1 }));
  }
  await waitUntil(async () => (await node.store.jobs.head(expired.at(-1) ?? ""))?.state === "expired");
});

afterAll(async () => {
  await source.stop();
  await node[Symbol.asyncDispose]();
});

async function aNewJob(wanted: object = {}): Promise<string> {
  const message = await aCreateJob(testSigner("alice"), { supervisor: node.identity, ...wanted });
  expect(await codeOf(message)).toBe(OK);
  return message.params.job.id;
}

interface Placed {
  readonly id: string;
  readonly lease?: Lease;
}

/** A job of alice's in that state. */
async function aJobIn(state: State): Promise<Placed> {
  if (state === "missing") return { id: MISSING };
  if (state === "expired") return { id: expired.pop() ?? "" };
  const id = await aNewJob();
  if (state === "pending") return { id };
  if (state === "deleted" || state === "cancelled") {
    await node.client("alice").call(state === "deleted" ? "delete_job" : "cancel_job", { id });
    return { id };
  }
  return claimedIn(state, id);
}

async function claimedIn(
  state: Exclude<State, "pending" | "expired" | "deleted" | "missing">,
  id: string,
): Promise<Placed> {
  const [claimed] = await source.claim(1, aToken());
  if (claimed?.lease.id !== id) throw new Error("Another job was first in the queue.");
  const { lease } = claimed;
  if (state === "cancelling") await node.client("alice").call("cancel_job", { id });
  if (state === "running" || state === "cancelling") return { id, lease };
  await source.finish(lease, { status: state, code: 0, isRetryable: false });
  return { id };
}

/** Leaves nothing behind that the next cell could claim. */
async function clear({ id, lease }: Placed, state: State): Promise<void> {
  if (state === "pending") await node.store.jobs.cancel(id, {}, "the cell is over");
  if (lease !== undefined) await source.finish(lease, { status: "completed", code: 0, isRetryable: false });
}

async function codeOf(message: unknown, wanted: Partial<Connection> = {}): Promise<number> {
  const pushing = { notify: () => true, drained: async () => undefined, session: {} };
  const answer = await node.send(message, { ...pushing, ...wanted });
  if (typeof answer !== "object" || answer === null || !("error" in answer)) return OK;
  const { error } = answer;
  return typeof error === "object" && error !== null && "code" in error ? Number(error.code) : OK;
}

function unsigned(method: MethodName): object {
  return { jsonrpc: "2.0", id: 1, method, params: {} };
}

async function ask(method: string, caller: Caller, id: string): Promise<number> {
  const params = method === "wait_job" ? { id, wait_ms: 0 } : { id };
  return codeOf(await aCall(method, params, { aud: node.identity, signer: testSigner(caller) }));
}

async function creates(caller: Caller, runner: string): Promise<number> {
  const message = await aCreateJob(testSigner(caller), { supervisor: node.identity, runner });
  const code = await codeOf(message);
  if (code === OK) await node.store.jobs.cancel(message.params.job.id, {}, "the cell is over");
  return code;
}

/** Registers a runner whose key is that of the caller `of`; its own key unless told. */
async function registers(caller: Caller, name: string, of = name): Promise<number> {
  const now = Math.floor(Date.now() / 1000);
  const named = { v: 1, aud: node.identity, name, key: testSigner(of).publicKey } as const;
  const registration: RunnerDocument = { ...named, groups: [], executors: [], slots: 1, iat: now, exp: now + 300 };
  const { signature } = await signDocument(testSigner(of), "runner", registration);
  const call = { aud: node.identity, signer: testSigner(caller) };
  return codeOf(await aCall("register_runner", { registration, signature }, call));
}

/** Of a runner that is there, whatever the caller before did to it. */
async function removes(caller: Caller, name: string, of = name): Promise<number> {
  expect(await registers("registrar", name, of)).toBe(OK);
  return codeOf(await aCall("remove_runner", { name }, { aud: node.identity, signer: testSigner(caller) }));
}

async function logsIn(caller: Caller): Promise<number> {
  const connection = { session: {} };
  const { result } = objectOf(JSON.stringify(await node.send(unsigned("auth_challenge"), connection)));
  const { challenge } = objectOf(JSON.stringify(result));
  const now = Math.floor(Date.now() / 1000);
  const body = { v: 1, aud: node.identity, key: testSigner(caller).publicKey, challenge, iat: now, exp: now + 60 };
  const { signature } = await signDocument(testSigner(caller), "login", body);
  const params = { auth: { ...body, sig: signature } };
  return codeOf({ jsonrpc: "2.0", id: 1, method: "auth_login", params }, connection);
}

function isPlain(row: Row | readonly Plain[]): row is readonly Plain[] {
  return Array.isArray(row);
}

describe("The matrix", () => {
  const rows = Object.entries(ROWS).flatMap(([method, row]) => (isPlain(row) ? [] : [[method, row] as const]));
  const plains = Object.entries(ROWS).flatMap(([method, row]) =>
    isPlain(row) ? row.map((each) => [method, each.what, each] as const) : [],
  );

  test("has a row for every method of the table", () => {
    expect(Object.keys(ROWS).toSorted()).toEqual(Object.keys(METHODS).toSorted());
  });

  test.each(rows)("%s answers each caller by role, ownership and state", async (method, row) => {
    const wrong: string[] = [];
    for (const state of STATES) {
      for (const caller of CALLERS) {
        const placed = await aJobIn(state);
        const code = await ask(method, caller, placed.id);
        const wanted = row[caller](state);
        if (code !== wanted) wrong.push(`${caller} of ${state}: ${code} instead of ${wanted}`);
        await clear(placed, state);
      }
    }
    expect(wrong).toEqual([]);
  });

  test.each(plains)(
    "%s of %s answers each caller by role and grant",
    async (_method, _what, { ask: asked, codes: wanted }) => {
      const wrong: string[] = [];
      for (const caller of CALLERS) {
        const code = await asked(caller);
        if (code !== wanted[caller]) wrong.push(`${caller}: ${code} instead of ${wanted[caller]}`);
      }
      expect(wrong).toEqual([]);
    },
  );
});
