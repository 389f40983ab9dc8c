/** A new caller beside 1,000 idle and 200 slow connections, against one who is alone; and what becomes of the 1,001st. */
import { connect } from "node:net";

import { Type } from "typebox";
import { Compile } from "typebox/compile";

import { assemble, type OnEnd } from "../support/assemble.ts";
import { Crowd } from "../support/crowd.ts";
import { HttpConnection } from "./http-connection.ts";
import { type Call, compareLatencies } from "./latencies.ts";
import { answerQuestions, Part } from "./part.ts";
import { Progress } from "./progress.ts";
import type { Figures } from "./report.ts";
import { type BenchOptions, startSystem, type System } from "./system.ts";

const HOST = "127.0.0.1";
const IDLE = 1000;
const SLOW = 200;
/** The default of `http.max_connections`. */
const PLACES = 1000;
const MOST = 3;
const TRIES = 20;

const Settings = Compile(
  Type.Object({
    host: Type.String(),
    port: Type.Integer(),
    idle: Type.Integer(),
    slow: Type.Integer(),
    upgraded: Type.Integer(),
  }),
);
const Size = Compile(Type.Object({ size: Type.Integer() }));

/** The role `crowd` of run.ts: stands there until it is stopped, and says how many are connected. */
export async function runCrowd(settings: unknown): Promise<void> {
  const crowd = await Crowd.gather(Settings.Parse(settings));
  answerQuestions({ ready: true }, async () => ({ size: crowd.size }));
}

export async function benchIdle(options: BenchOptions): Promise<Figures> {
  const progress = new Progress("idle");
  progress.tell("starting");
  await using parts = await assemble(async (onEnd) => startBoth(onEnd, options));
  const { crowded, quiet, crowd } = parts;
  const comparisons = await compareLatencies({
    rounds: options.rounds,
    seconds: options.seconds,
    most: MOST,
    title: (call) => `${call} beside ${IDLE} idle and ${SLOW} slow connections, against one alone`,
    subject: { name: "crowded", calls: { "a new caller": newCaller(crowded) } },
    baseline: { name: "alone", calls: { "a new caller": newCaller(quiet) } },
    onRound: (round) => progress.tell("measuring", `round ${round} of ${options.rounds}`),
  });
  const { size } = Size.Parse(await crowd.ask({}));
  progress.tell("full");
  const served = await lateAnswers(quiet, { idle: PLACES, upgraded: 0 }, / 200 /u);
  const servedBesideStrangers = await lateAnswers(quiet, { idle: 0, upgraded: PLACES }, / 200 /u);
  progress.end();
  return {
    comparisons,
    bounds: [
      { title: "of the crowd connected at the end", value: size, unit: "connections", atLeast: 0.95 * (IDLE + SLOW) },
      {
        title: `served as number ${PLACES + 1}, where the others are idle`,
        value: served,
        unit: `of ${TRIES}`,
        atLeast: TRIES,
      },
      {
        title: `served as number ${PLACES + 1}, where the others are WebSockets without a call`,
        value: servedBesideStrangers,
        unit: `of ${TRIES}`,
        atLeast: TRIES,
      },
    ],
    notMeasured: [],
  };
}

async function startBoth(
  onEnd: OnEnd,
  options: BenchOptions,
): Promise<{ readonly crowded: System; readonly quiet: System; readonly crowd: Part }> {
  const start = async (env: Readonly<Record<string, string>>): Promise<System> => {
    const system = await startSystem(options, env);
    onEnd(async () => system[Symbol.asyncDispose]());
    return system;
  };
  // Room for all of them, and for new callers: who makes room for whom is another question.
  const crowded = await start({ SUPERVISOR_HTTP_MAX_CONNECTIONS: String(IDLE + SLOW + 100) });
  const quiet = await start({});
  const crowd = await Part.start("crowd", { ...at(crowded), idle: IDLE, slow: SLOW, upgraded: 0 });
  onEnd(async () => crowd[Symbol.asyncDispose]());
  return { crowded, quiet, crowd };
}

function at({ supervisor }: System): { readonly host: string; readonly port: number } {
  return { host: HOST, port: supervisor.port };
}

/** A connection of its own, one call, and away. */
function newCaller(system: System): Call {
  const { host, port } = at(system);
  const request = Buffer.from(requestText(port));
  return async () => {
    const startedMs = performance.now();
    const connection = await HttpConnection.open(host, port);
    await connection.exchange(request);
    const ms = performance.now() - startedMs;
    connection.close();
    return ms;
  };
}

function requestText(port: number): string {
  const body = '{"jsonrpc":"2.0","id":1,"method":"get_info"}';
  return `POST / HTTP/1.1\r\nHost: ${HOST}:${port}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

/** How many of so many callers get this answer where all places are taken. */
async function lateAnswers(
  system: System,
  taken: { readonly idle: number; readonly upgraded: number },
  expected: RegExp,
): Promise<number> {
  const { host, port } = at(system);
  const crowd = await Part.start("crowd", { host, port, slow: 0, ...taken });
  try {
    let count = 0;
    for (let tries = 0; tries < TRIES; tries += 1) if (expected.test(await answerTo(host, port))) count += 1;
    return count;
  } finally {
    await crowd[Symbol.asyncDispose]();
  }
}

/** Everything that comes back until the other side is done, or has said as much as it declared. */
async function answerTo(host: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, host, () => socket.write(requestText(port)));
    let received = "";
    const done = (): void => {
      socket.destroy();
      resolve(received);
    };
    socket.setTimeout(5000, done);
    socket.on("error", () => undefined);
    socket.on("close", done);
    socket.on("data", (data: Buffer) => {
      received += data.toString("latin1");
      if (received.endsWith("}\n") || received.endsWith('"id":1}')) done();
    });
  });
}
