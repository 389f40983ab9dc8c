/**
 * Mutations of signed jobs, calls and logins, each sent to a supervisor: what is not the same document is refused with the
 * code the specification gives, and what is the same document is taken as it.
 */
import { type TSchema, Type } from "typebox";
import { Check } from "typebox/schema";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { canonicalText } from "../../src/auth/canonical-json.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { signDocument } from "../../src/auth/signature.ts";
import { isMethodName, METHODS } from "../../src/rpc/methods.ts";
import { CallAuth, LoginAuth, SignatureEntry } from "../../src/rpc/schema.ts";
import type { Connection } from "../../src/rpc/transport.ts";
import { aCall, aCreateJob } from "../support/calls.ts";
import { type Mutation, someMutations } from "../support/mutations.ts";
import { inProcess, type Node, startNode } from "../support/node.ts";
import { registerRunner } from "../support/registration.ts";
import { objectOf } from "../support/signing.ts";
import { isSampled, SAMPLE } from "./sample.ts";

const SEED = 20_261_124;
/** 20,000 with those of what is read at rest. A run takes a sample, of logins all. */
const COUNTS = { job: 6500, call: 6500, login: 2000 } as const;

const alice = createNativeSigner("a1".repeat(32));
const bob = createNativeSigner("b2".repeat(32));
let node: Node;

beforeAll(async () => {
  node = await startNode({
    keys: { ops: { roles: ["registrar"] }, root: { roles: ["admin"] } },
    settings: "[rpc]\naddress_calls_per_second = 1000000\naddress_burst = 1000000\n[jobs]\nmax_queue_jobs = 100000\n",
  });
  await registerRunner(node, "build");
  const enrolled = { roles: ["submitter" as const], runners: ["*"], cancelRunning: false };
  node.keyring.replace([
    ...node.keyring.all(),
    { ...enrolled, name: "alice", principal: "alice", key: alice.publicKey },
    { ...enrolled, name: "bob", principal: "bob", key: bob.publicKey },
  ]);
});

afterAll(async () => node[Symbol.asyncDispose]());

/** Sends bytes as they are; the code of the answer, 0 for a result, undefined for none. */
async function codeOf(bytes: Uint8Array, connection?: Connection): Promise<number | undefined> {
  const answer = await node.handler.handle(bytes, connection ?? inProcess());
  if (answer.bytes === undefined) return undefined;
  const text = Buffer.from(answer.bytes).toString();
  // A batch of one.
  const { error } = objectOf(text.startsWith("[") ? text.slice(1, -1) : text);
  return isMembers(error) ? Number(error["code"]) : 0;
}

type Members = Readonly<Record<string, unknown>>;

function isMembers(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

function isStructured(params: unknown): boolean {
  return typeof params === "object" && params !== null;
}

/** As the standard has it, but for those that would not survive being echoed. */
function isRequestId(id: unknown): boolean {
  if (typeof id === "number") return Number.isSafeInteger(id) || (Number.isFinite(id) && !Number.isInteger(id));
  return typeof id === "string" || id === null;
}

interface Request {
  readonly method: string;
  readonly params: Members;
}

/** The request, or what JSON-RPC 2.0 §4 and §5.1 say of the message; undefined for a notification, which gets no answer. */
function requestOf({ bytes, isAmbiguous }: Mutation): Request | number | undefined {
  const message = isAmbiguous ? undefined : parsed(bytes);
  if (message === undefined) return -32_700;
  // [{}] is a batch of one, whose answer is an array.
  if (!isMembers(message)) return -32_600;
  const { id, jsonrpc, method, params = {} } = message;
  if (jsonrpc !== "2.0" || typeof method !== "string" || !isStructured(params)) return -32_600;
  if (id === undefined) return undefined;
  if (!isRequestId(id)) return -32_600;
  if (!isMethodName(method)) return -32_601;
  return withParams(method, params);
}

/** An empty array is no params. */
function withParams(method: string, params: unknown): Request | number {
  if (Array.isArray(params) && params.length === 0) return { method, params: {} };
  return isMembers(params) ? { method, params } : -32_602;
}

/** What is signed, as one text; undefined for what has none. */
function textOf(value: unknown): string | undefined {
  const canonical = canonicalText(value);
  return canonical.ok ? canonical.text : undefined;
}

/** What spec: signing says of a create_job: shape, then signatures' shape, audience, canonical form, and the rest is one answer. */
function expectedOfJob(request: Request, good: ReadonlySet<string>): number {
  const { signatures, ...params } = request.params;
  if (request.method !== "create_job" || !Check(METHODS.create_job.params, params)) return -32_602;
  const { job } = params;
  if (job.created_at > job.expires_at) return -32_602;
  const isShaped = Check(Type.Array(SignatureEntry, { minItems: 1, maxItems: 16 }), signatures);
  if (!isShaped || new Set(signatures.map((entry) => entry.public_key)).size < signatures.length) return -32_001;
  if (job.aud !== node.identity) return -32_006;
  const text = textOf(request.params);
  if (textOf(job) === undefined) return -32_602;
  return text !== undefined && good.has(text) ? 0 : -32_001;
}

/** The shape of `params.auth` is the schema's; faults in it are one answer. */
function expectedOfAuth(auth: unknown, shape: TSchema): number {
  if (!Check(shape, auth) || !isMembers(auth) || Object.is(auth["iat"], -0) || Object.is(auth["exp"], -0))
    return -32_001;
  if (auth["aud"] !== node.identity) return -32_006;
  const validity = Number(auth["exp"]) - Number(auth["iat"]);
  return validity < 0 || validity > 600 ? -32_002 : -32_001;
}

function expectedOfCall(
  request: Request | number | undefined,
  call: Request,
  others: ReadonlySet<string | undefined>,
): readonly (number | undefined)[] {
  if (typeof request !== "object") return [request];
  const { method, params: all } = request;
  const { auth, ...params } = all;
  if (method !== "get_job" || !Check(METHODS.get_job.params, params)) return [-32_602];
  const text = textOf({ method, params: all });
  if (text !== undefined && text === textOf({ method: call.method, params: call.params })) return [0];
  // Another call of somebody who may call: good once, for a job that may not be theirs.
  if (others.has(text)) return [-32_004, -32_005];
  return [expectedOfAuth(auth, CallAuth)];
}

function expectedOfLogin({ method, params: { auth, ...params } }: Request, login: Request): number {
  if (method !== "auth_login" || Object.keys(params).length > 0) return -32_602;
  const said = login.params["auth"];
  if (textOf(auth) !== undefined && textOf(auth) === textOf(said)) return 0;
  if (!isMembers(auth) || !isMembers(said) || auth["challenge"] !== said["challenge"]) return -32_001;
  return expectedOfAuth(auth, LoginAuth);
}

async function aChallenge(connection: Connection): Promise<string> {
  const { bytes } = await node.handler.handle(
    Buffer.from(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "auth_challenge", params: {} })),
    connection,
  );
  const { result } = objectOf(Buffer.from(bytes ?? []).toString());
  return isMembers(result) ? String(result["challenge"]) : "";
}

async function aLogin(challenge: string, { signer = alice } = {}): Promise<Request & { jsonrpc: "2.0"; id: number }> {
  const iat = Math.floor(Date.now() / 1000);
  const body = { v: 1, aud: node.identity, key: signer.publicKey, challenge, iat, exp: iat + 120 };
  const { signature } = await signDocument(signer, "login", body);
  return { jsonrpc: "2.0", id: 1, method: "auth_login", params: { auth: { ...body, sig: signature } } };
}

function idOf(text: string): string {
  const { job } = objectOf(text);
  return isMembers(job) ? String(job["id"]) : "";
}

/** Sends what mutations make, and tells the answers apart; gives what was answered wrongly. */
class Tally {
  readonly wrong: unknown[] = [];
  readonly seen = new Map<number | undefined, number>();

  add({ name, bytes }: Mutation, code: number | undefined, expected: readonly (number | undefined)[]): void {
    this.seen.set(code, (this.seen.get(code) ?? 0) + 1);
    if (!expected.includes(code)) this.wrong.push({ name, text: bytes.toString(), code, expected });
  }

  /** Those of the answers that were hardly ever got: mutations that miss a check show nothing about it. */
  rare(codes: readonly (number | undefined)[]): readonly (number | undefined)[] {
    return codes.filter((code) => (this.seen.get(code) ?? 0) < 5);
  }
}

describe(`mutations (seed ${SEED}, ${SAMPLE})`, () => {
  test(`of a job: ${COUNTS.job}`, async () => {
    const to = { supervisor: node.identity };
    const message = await aCreateJob(alice, { ...to, payload: "écho 60", env_vars: { CI: "1" }, context_id: "é" });
    const others = [await aCreateJob(bob, to), await aCreateJob(alice, { ...to, payload: "other" })];
    const donors = [
      ...others,
      await aCreateJob(alice, { supervisor: bob.publicKey }),
      await aCall("get_job", { id: message.params.job.id }, { aud: node.identity, signer: alice }),
    ];
    const good = new Set([message, ...others].map(({ params }) => textOf(params) ?? ""));
    expect(await codeOf(Buffer.from(JSON.stringify(message)))).toBe(0);

    const tally = new Tally();
    for (const mutation of someMutations(COUNTS.job, message, donors, SEED).filter((_, index) => isSampled(index))) {
      const request = requestOf(mutation);
      const expected = typeof request === "object" ? expectedOfJob(request, good) : request;
      tally.add(mutation, await codeOf(mutation.bytes), [expected]);
    }

    expect(tally.wrong.slice(0, 3)).toEqual([]);
    expect(tally.rare([0, undefined, -32_700, -32_600, -32_601, -32_602, -32_001, -32_006])).toEqual([]);
    const { jobs } = await node.client("root").call("list_jobs", { all: true, limit: 10 });
    const known = new Set([...good].map((text) => idOf(text)));
    expect(jobs.map(({ id }) => id).filter((id) => !known.has(id))).toEqual([]);
  });

  test(`of a call: ${COUNTS.call}`, async () => {
    const message = await aCreateJob(alice, { supervisor: node.identity });
    const { id } = message.params.job;
    expect(await codeOf(Buffer.from(JSON.stringify(message)))).toBe(0);
    const to = { aud: node.identity, signer: alice };
    const others = [
      await aCall("get_job", { id }, { ...to, signer: bob }),
      await aCall("get_job", { id: "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b" }, to),
    ];
    const donors = [...others, await aCall("get_job", { id }, { ...to, aud: bob.publicKey }), message];
    const good = new Set(others.map(({ method, params }) => textOf({ method, params })));

    const tally = new Tally();
    for (let count = 0; count < COUNTS.call; count += 1) {
      if (!isSampled(count)) continue;
      const call = await aCall("get_job", { id }, to);
      const [mutation] = someMutations(1, call, donors, SEED + count);
      if (mutation === undefined) continue;
      tally.add(mutation, await codeOf(mutation.bytes), expectedOfCall(requestOf(mutation), call, good));
    }

    expect(tally.wrong.slice(0, 3)).toEqual([]);
    expect(tally.rare([0, undefined, -32_700, -32_600, -32_601, -32_602, -32_001, -32_002, -32_006])).toEqual([]);
  });

  test(`of a login: ${COUNTS.login}`, async () => {
    const donors = [await aLogin("ab".repeat(32)), await aLogin("cd".repeat(32), { signer: bob })];
    const tally = new Tally();
    for (let count = 0; count < COUNTS.login; count += 1) {
      const connection = inProcess({ session: {} });
      const login = await aLogin(await aChallenge(connection));
      const [mutation] = someMutations(1, login, donors, SEED + count);
      if (mutation === undefined) continue;
      const request = requestOf(mutation);
      tally.add(mutation, await codeOf(mutation.bytes, connection), [
        typeof request === "object" ? expectedOfLogin(request, login) : request,
      ]);
    }

    expect(tally.wrong.slice(0, 3)).toEqual([]);
    expect(tally.rare([0, undefined, -32_700, -32_600, -32_601, -32_602, -32_001, -32_006])).toEqual([]);
  });
});
