/** What is looked at when all is quiet: executions, what runners were told, every job's final state, the database. */
import { readFile } from "node:fs/promises";

import { Type } from "typebox";
import { Compile } from "typebox/compile";

import { CarrierError, ERRORS, type Result, RpcError } from "../../src/client/index.ts";
import { RedisKeys } from "../../src/store/redis-keys.ts";
import type { TestRedis } from "../support/redis.ts";
import { findFaults } from "../support/store-faults.ts";
import type { Acceptance, Evidence, Execution, Final } from "./evidence.ts";
import type { Line } from "./line.ts";
import type { Member } from "./member.ts";

/** What a runner logs when an attempt is over. */
const AttemptEnded = Compile(
  Type.Object({
    event: Type.Literal("attempt_ended"),
    jobId: Type.String(),
    attempt: Type.Integer(),
    kind: Type.Literal("finished"),
    state: Type.String(),
  }),
);
/** Calls for final states in flight. */
const READERS = 4;
/** Of one such call, in ms: nothing is in the way any more. */
const READ_MS = 30_000;

/** The lines that jobs wrote themselves; one that a killed process left unfinished is none. */
export async function readExecutions(path: string): Promise<readonly Execution[]> {
  const text = await readFile(path, "utf8").catch(() => "");
  return [...text.matchAll(/^(\S+) (\d+) (start|end)$/gmu)].map(([, job = "", attempt, phase]) => ({
    job,
    attempt: Number(attempt),
    phase: phase === "start" ? "start" : "end",
  }));
}

/** Outcomes that runners handed in and were told to be accepted. A runner killed in between has told nobody. */
export function acceptancesOf(runners: readonly Member[]): readonly Acceptance[] {
  return runners.flatMap(({ name, output }) =>
    output.split("\n").flatMap((line): Acceptance[] => {
      if (!line.includes('"attempt_ended"')) return [];
      const entry = parse(line);
      if (!AttemptEnded.Check(entry)) return [];
      return [{ job: entry.jobId, attempt: entry.attempt, runner: name, state: entry.state }];
    }),
  );
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    // Cut off where its process was killed.
    return undefined;
  }
}

/** Every job as its owner reads it. */
export async function readFinals(ids: Iterable<string>, lines: readonly Line[]): Promise<Evidence["finals"]> {
  const finals = new Map<string, Final | undefined>();
  const queue = [...ids].values();
  const read = async (reader: number): Promise<void> => {
    const { client } = lines[reader % lines.length] ?? {};
    if (client === undefined) throw new RangeError("There is no supervisor.");
    for (const id of queue) {
      finals.set(id, await readFinal(async () => client.call("get_job", { id }, { deadlineMs: READ_MS })));
    }
  };
  await Promise.all(Array.from({ length: READERS }, async (_, reader) => read(reader)));
  return finals;
}

async function readFinal(ask: () => Promise<Result<"get_job">>): Promise<Final | undefined> {
  try {
    return toFinal(await ask());
  } catch (error) {
    if (error instanceof RpcError && error.code === ERRORS.notFound.code) return undefined;
    if (error instanceof CarrierError)
      throw new Error("A supervisor does not answer though all is mended", { cause: error });
    throw error;
  }
}

function toFinal(view: Result<"get_job">): Final {
  const { state, revision, attempt, failures, losses, code, reason, finished_ms: finishedMs, receipt, result } = view;
  return {
    state,
    revision,
    attempt,
    failures,
    losses,
    ...(code === undefined ? {} : { code }),
    ...(reason === undefined ? {} : { reason }),
    ...(finishedMs === undefined ? {} : { finishedMs }),
    ...(receipt === undefined ? {} : { receipt: { attempt: receipt.body.attempt, status: receipt.body.status } }),
    ...(result?.text === undefined ? {} : { result: result.text }),
  };
}

/** What the database says of itself, when no runner is there to change it. */
export async function lookInside(redis: TestRedis): Promise<Pick<Evidence, "admissions" | "contradictions">> {
  const client = redis.client();
  const keys = new RedisKeys({ prefix: "horus", shards: 1 });
  const admissions = Number(await client.get(keys.of(0, "seq")));
  return { admissions, contradictions: await findFaults(client, keys) };
}
