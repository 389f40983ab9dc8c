/** The load generator, a process of its own: sends signed jobs over kept connections and counts good answers alone. */
import { type Static, Type } from "typebox";
import { Compile } from "typebox/compile";

import { HttpConnection } from "./http-connection.ts";
import { answerQuestions } from "./part.ts";
import { median } from "./rounds.ts";
import { JobsFor, signRequests, type SignedRequest } from "./signed-jobs.ts";

export const Load = Type.Object({
  host: Type.String(),
  port: Type.Integer(),
  jobs: JobsFor,
  /** Connections, each with one call in flight. */
  connections: Type.Integer({ minimum: 1 }),
  /** Calls signed ahead: the round ends when they are used up, or after `seconds`. */
  calls: Type.Integer({ minimum: 1 }),
  seconds: Type.Number(),
});
export type Load = Static<typeof Load>;

export const LoadDone = Type.Object({
  calls: Type.Integer(),
  ms: Type.Number(),
  /** UNIX ms when the first call was sent. */
  startedMs: Type.Number(),
  medianMs: Type.Number(),
  p99Ms: Type.Number(),
});
export type LoadDone = Static<typeof LoadDone>;

/** An answer that counts: this job, admitted by this call. */
const Good = Compile(
  Type.Object({
    result: Type.Object({ id: Type.String(), state: Type.Literal("pending"), duplicate: Type.Literal(false) }),
  }),
);
const Question = Compile(Load);

/** The role `load` of run.ts. */
export function runLoad(): void {
  answerQuestions({ ready: true }, async (question) => {
    if (!Question.Check(question)) throw new TypeError("not a load");
    return send(question);
  });
}

async function send({ host, port, jobs, connections: count, calls, seconds }: Load): Promise<LoadDone> {
  const requests = await signRequests(calls, `${host}:${port}`, jobs);
  const connections = await Promise.all(Array.from({ length: count }, () => HttpConnection.open(host, port)));
  try {
    const queue = requests.values();
    const latencies: number[] = [];
    const startedMs = Date.now();
    const start = performance.now();
    const end = start + seconds * 1000;
    await Promise.all(
      connections.map(async (connection) => {
        for (const request of queue) {
          const sent = performance.now();
          if (sent >= end) return;
          assertGood(request, await connection.exchange(request.bytes));
          latencies.push(performance.now() - sent);
        }
      }),
    );
    const ms = performance.now() - start;
    const p99Ms = latencies.toSorted((a, b) => a - b)[Math.floor(latencies.length * 0.99)] ?? 0;
    return { calls: latencies.length, ms, startedMs, medianMs: median(latencies), p99Ms };
  } finally {
    for (const connection of connections) connection.close();
  }
}

/** @throws Error with the answer: a bench that counts refusals measures how fast they are. */
function assertGood({ id }: SignedRequest, body: string): void {
  const answer: unknown = JSON.parse(body);
  if (!Good.Check(answer) || answer.result.id !== id) throw new Error(`job ${id} was not admitted: ${body}`);
}
