/** Two supervisors and four runners on one Redis, as processes: every job once, and by whoever is free. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { readSeed } from "../../src/auth/key-file.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { buildJob, type Result, signJob, SupervisorClient } from "../../src/client/index.ts";
import { dataPaths } from "../../src/data-directory.ts";
import { dial } from "../../transports/dial.ts";
import { isSoak } from "../support/soak.ts";
import { startSystem, type System } from "../support/system.ts";
import { waitUntil } from "../support/wait.ts";

const RUNNERS = ["runner-1", "runner-2", "runner-3", "runner-4"] as const;
const SLOTS = 2;
/** Jobs that must all run at the same time for any of them to end: as many as there are slots. */
const ROUND = RUNNERS.length * SLOTS;
const ROUNDS = isSoak ? 40 : 12;
/** One job in so many is sent to both supervisors at the same moment. */
const TWIN_EVERY = 5;

/** A long lease: on a busy machine nothing is to be run twice. */
const SETTINGS = `
[jobs]
lease_ms = 60000
`;

/**
 * Waits until its whole round has begun. First in, first out, a round so takes every slot of every runner at once: a slot
 * that stood free while jobs wait, or a job behind a busy runner, would keep it from ending.
 */
function payloadOf(directory: string, round: number): string {
  const begun = join(directory, `round-${round}`);
  return [
    `echo "$HORUS_JOB_ID" >> '${begun}'`,
    `until [ "$(wc -l < '${begun}')" -ge ${ROUND} ]; do sleep 0.02; done`,
  ].join("\n");
}

async function clientsOf(
  { dataDirectory }: System,
  urls: readonly string[],
): Promise<{
  readonly clients: readonly SupervisorClient[];
  readonly sign: (payload: string) => ReturnType<typeof signJob>;
}> {
  const paths = dataPaths(dataDirectory);
  const supervisor = createNativeSigner(await readSeed(paths.identity)).publicKey;
  const signer = createNativeSigner(await readSeed(paths.owner));
  const clients = urls.map((url) => {
    const dialer = dial(url);
    onTestFinished(async () => dialer.close());
    return new SupervisorClient({ dialer, signer, supervisor });
  });
  const about = { supervisor, caller: signer.publicKey, runner: "crew" };
  return { clients, sign: async (payload) => signJob(signer, buildJob({ ...about, payload })) };
}

/** By job, how often it was answered as new: one after the other, so that rounds stand in the queue in their order. */
async function submitAll(
  directory: string,
  { clients, sign }: Awaited<ReturnType<typeof clientsOf>>,
): Promise<ReadonlyMap<string, number>> {
  const news = new Map<string, number>();
  for (let number = 0; number < ROUNDS * ROUND; number += 1) {
    const signed = await sign(payloadOf(directory, Math.floor(number / ROUND)));
    const to = number % TWIN_EVERY === 0 ? clients : clients.slice(number % 2, (number % 2) + 1);
    const answers = await Promise.all(to.map(async (client) => client.submitJob(signed)));
    news.set(signed.job.id, answers.filter(({ duplicate }) => !duplicate).length);
  }
  return news;
}

async function everyJob(client: SupervisorClient): Promise<Result<"list_jobs">["jobs"]> {
  const jobs: Result<"list_jobs">["jobs"] = [];
  for (let cursor: string | undefined, isLast = false; !isLast; isLast = cursor === undefined) {
    const page = await client.call("list_jobs", { limit: 200, ...(cursor === undefined ? {} : { cursor }) });
    jobs.push(...page.jobs);
    cursor = page.next;
  }
  return jobs;
}

test("every job is admitted, run and accepted once, and free runners share the work of their group evenly", async () => {
  await using system = await startSystem(SETTINGS);
  const second = await system.startSupervisor();
  const words = ["--group", "crew", "--slots", String(SLOTS), "--exec", "bash -s"];
  const runners = await Promise.all(RUNNERS.map(async (name) => system.startRunner(name, words)));
  const directory = join(system.directory, "rounds");
  await mkdir(directory);
  const parts = await clientsOf(system, [system.url, second.url]);

  const news = await submitAll(directory, parts);
  const { clients } = parts;
  const [client] = clients;
  if (client === undefined) throw new Error("There is no supervisor.");
  let jobs = await everyJob(client);
  await waitUntil(async () => {
    jobs = await everyJob(client);
    return jobs.every(({ state }) => state !== "pending" && state !== "running");
  }, 200_000);

  expect([...news.values()].every((count) => count === 1)).toBe(true);
  expect(jobs.map(({ id }) => id).toSorted()).toEqual([...news.keys()].toSorted());
  expect(new Set(jobs.map(({ state, attempt }) => `${state} ${attempt}`))).toEqual(new Set(["completed 1"]));
  const loads = RUNNERS.map((name) => jobs.filter(({ runner }) => runner === name).length);
  expect(loads).toEqual(RUNNERS.map(() => ROUNDS * SLOTS));
  const accepted = (): readonly string[] =>
    runners.flatMap(({ output }) =>
      Array.from(output.matchAll(/"attempt_ended","jobId":"([^"]+)"/gu), ([, id = ""]) => id),
    );
  // A runner writes it once its outcome is accepted: the list may tell of the end a moment before.
  await waitUntil(() => accepted().length >= news.size);
  expect(accepted().toSorted()).toEqual([...news.keys()].toSorted());
}, 240_000);
