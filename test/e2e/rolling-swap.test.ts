/** Two supervisors are stopped and started again one after the other under load: what was taken is answered. */
import { expect, onTestFinished, test } from "vitest";

import { freePort } from "../../bin/demo/port.ts";
import { readSeed } from "../../src/auth/key-file.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { buildJob, signJob, SupervisorClient } from "../../src/client/index.ts";
import { dataPaths } from "../../src/data-directory.ts";
import { dial } from "../../transports/dial.ts";
import { startSystem, type System } from "../support/system.ts";
import { waitUntil } from "../support/wait.ts";

const LANES_EACH = 4;
/** Answers between two stops, so that each falls into the load. */
const BETWEEN = 60;
/** What a stop is given at most, ms (spec: faults, "SIGTERM under load"). */
const STOP_MS = 10_000;

interface Load {
  /** Ids in the order of their answers: true where the answer says that the job is new. */
  readonly answers: ReadonlyMap<string, boolean>;
  /** Resolves when every lane has its last answer. */
  stop(): Promise<void>;
}

/** Lanes that submit one job after the other, each to one supervisor, and repeat what got no answer. */
async function startLoad({ dataDirectory }: System, urls: readonly string[]): Promise<Load> {
  const paths = dataPaths(dataDirectory);
  const supervisor = createNativeSigner(await readSeed(paths.identity)).publicKey;
  const signer = createNativeSigner(await readSeed(paths.owner));
  const answers = new Map<string, boolean>();
  const ending = new AbortController();
  const lane = async (url: string): Promise<void> => {
    await using dialer = dial(url);
    const client = new SupervisorClient({ dialer, signer, supervisor });
    while (!ending.signal.aborted) {
      const job = buildJob({ supervisor, caller: signer.publicKey, runner: "demo", payload: "true" });
      const { duplicate } = await client.submitJob(await signJob(signer, job));
      answers.set(job.id, !duplicate);
    }
  };
  const lanes = Promise.all(urls.flatMap((url) => Array.from({ length: LANES_EACH }, async () => lane(url))));
  // Told by stop(), and no unhandled rejection until then.
  lanes.catch(() => undefined);
  const stop = async (): Promise<void> => {
    ending.abort();
    await lanes;
  };
  onTestFinished(stop);
  return { answers, stop };
}

test.each(["http", "ws"])(
  "Supervisors that are swapped one by one under load over %s leave no call that they took without its answer",
  async (scheme) => {
    await using system = await startSystem();
    const ports = [await freePort(), await freePort()];
    const start = async (port: number) => (await system.startSupervisor(["--port", String(port)])).program;
    const programs = await Promise.all(ports.map(start));
    await system.run(["runner", "register", "demo"]);
    const load = await startLoad(
      system,
      ports.map((port) => `${scheme}://127.0.0.1:${port}`),
    );

    const stops: { readonly code: unknown; readonly isInTime: boolean }[] = [];
    for (const which of [0, 1]) {
      const reached = load.answers.size + BETWEEN;
      await waitUntil(() => load.answers.size >= reached);
      const startMs = performance.now();
      const code = await programs[which]?.stop("SIGTERM");
      stops.push({ code, isInTime: performance.now() - startMs < STOP_MS });
      programs[which] = await start(ports[which] ?? 0);
    }
    await load.stop();

    expect(stops).toEqual(Array.from({ length: 2 }, () => ({ code: 0, isInTime: true })));
    // Carried out without an answer, its repeat would have been told that it is a duplicate.
    const unanswered = [...load.answers].filter(([, isNew]) => !isNew);
    expect(unanswered).toEqual([]);
    const info = await system.json(["runner", "status", "demo"]);
    expect(info["waiting"]).toBe(load.answers.size);
  },
);
