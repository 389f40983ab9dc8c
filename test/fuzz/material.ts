/** What is damaged: well signed jobs and calls that are never sent whole, jobs of a stranger, and every method's example. */
import { readFileSync } from "node:fs";

import { Type } from "typebox";
import { Compile } from "typebox/compile";

import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { buildJob, type Signer, signJob } from "../../src/client/index.ts";
import { aCall } from "../support/calls.ts";
import { Random } from "./random.ts";

/** A request object whose params are good, or good in shape. */
export interface Request {
  readonly jsonrpc: "2.0";
  readonly id: number | string;
  readonly method: string;
  readonly params: object;
}

export interface Material {
  /** By an enrolled key: whole, each of them would change something. */
  readonly signed: readonly Request[];
  /** By a key that nobody enrolled: to be refused however they are carried. */
  readonly strangers: readonly Request[];
  /** One of each method, signed for another supervisor where it is signed. */
  readonly examples: readonly Request[];
}

export interface MaterialOptions {
  readonly seed: number;
  /** Identity of the supervisor. */
  readonly supervisor: string;
  /** Enrolled, with every role. */
  readonly owner: Signer;
  readonly runner: string;
}

const EACH = 24;
const STRANGER = createNativeSigner("5a".repeat(32));

const Document = Compile(
  Type.Object({
    methods: Type.Array(
      Type.Object({
        name: Type.String(),
        examples: Type.Array(
          Type.Object({ params: Type.Array(Type.Object({ name: Type.String(), value: Type.Unknown() })) }),
        ),
      }),
    ),
  }),
);

/** Calls are good for two minutes, so a long run makes new material now and then; jobs keep their ids from the seed. */
export async function makeMaterial({ seed, supervisor, owner, runner }: MaterialOptions): Promise<Material> {
  const random = new Random(seed, -2);
  const jobs = async (signer: Signer): Promise<readonly Request[]> =>
    Promise.all(Array.from({ length: EACH }, async () => aJobOf(signer, { supervisor, runner, random })));
  const id = aJobId(random);
  const aud = { aud: supervisor, signer: owner };
  const calls = await Promise.all([
    aCall("cancel_job", { id }, aud),
    aCall("delete_job", { id }, aud),
    aCall("remove_runner", { name: runner }, aud),
  ]);
  return { signed: [...(await jobs(owner)), ...calls], strangers: await jobs(STRANGER), examples: examples() };
}

/** A job that shall be admitted, or would be if its signer were enrolled. */
export async function aJobOf(
  signer: Signer,
  wanted: { readonly supervisor: string; readonly runner: string; readonly random: Random },
): Promise<Request & { readonly params: { readonly job: { readonly id: string } } }> {
  const { supervisor, runner, random } = wanted;
  const payload = random.pick(["true", "echo é \u{1f600}", "x".repeat(random.below(2000))]);
  const job = buildJob({ supervisor, caller: signer.publicKey, runner, payload, id: aJobId(random) });
  return { jsonrpc: "2.0", id: 1, method: "create_job", params: await signJob(signer, job) };
}

/** UUID version 7 as ids of jobs are, but for its time. */
function aJobId(random: Random): string {
  const hex = random.bytes(16).toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
}

function examples(): readonly Request[] {
  const text = readFileSync(new URL("../../openrpc.json", import.meta.url), "utf8");
  return Document.Parse(JSON.parse(text)).methods.map(({ name, examples: [example] }) => ({
    jsonrpc: "2.0",
    id: 1,
    method: name,
    params: Object.fromEntries((example?.params ?? []).map((param) => [param.name, param.value])),
  }));
}
