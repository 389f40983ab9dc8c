/** Ended jobs are counted by why they ended, in few words that no runner chooses. */
import { describe, expect, test } from "vitest";

import { END_REASONS, type EndReason } from "../../../src/jobs/end-reasons.ts";
import { JOB_STATES, type JobState } from "../../../src/rpc/schema.ts";
import type { Finish } from "../../../src/runner/source.ts";
import { expectDeletable, expectNoFaults, type Fixture, startStore } from "../../support/store.ts";

/** The words of this program for an end, and what they count as. */
const WORDS: readonly (readonly [Finish["status"], string, EndReason])[] = [
  ["failed", "exit code 3", "exit_code"],
  ["failed", "exit code -1", "exit_code"],
  ["failed", "killed by SIGSEGV", "signal"],
  ["failed", "lost", "lost"],
  ["failed", "poison", "poison"],
  ["failed", "refused: the signature is wrong", "refused"],
  ["failed", 'cannot start "bash" in /: ENOENT', "not_started"],
  ["failed", 'executor "sh" does not let the environment through: A', "not_started"],
  ["failed", 'unknown executor "x"; the runner has: sh', "not_started"],
  ["failed", "the job names no executor and the runner has several: a, b", "not_started"],
  ["failed", "result too large: 9 bytes, max_result_bytes is 1", "bad_result"],
  ["failed", "the result is not a regular file that can be read", "bad_result"],
  ["failed", "the runner stopped while it ran", "runner_stopped"],
  ["failed", "words of a runner of another make", "other"],
  ["failed", "", "other"],
  ["cancelled", "cancelled by alice", "asked"],
  ["cancelled", "cancelled", "asked"],
  ["cancelled", "revoked", "revoked"],
  ["cancelled", "runner removed", "runner_removed"],
  ["timeout", "timed out after 5 s", ""],
  ["completed", "", ""],
];

function wordsOf(state: JobState): readonly string[] {
  return state === "failed" || state === "cancelled" ? [...END_REASONS[state], "other"] : [""];
}

async function counted({ store }: Fixture): Promise<readonly string[]> {
  const counts = await store.jobs.count();
  return counts.filter(({ jobs }) => jobs > 0).map(({ state, reason, jobs }) => `${state} ${reason} ${jobs}`);
}

describe.each([1, 4])("Jobs counted by reason on %i shards", (shards) => {
  test("count under the word of the list that their reason means, and no more once they are deleted", async () => {
    const fixture = await startStore({ shards });
    const source = await fixture.source();
    const wanted = new Map<string, number>();
    const ids: string[] = [];
    for (const [status, reason, word] of WORDS) {
      const lease = await fixture.running(source);
      const said = reason === "" ? {} : { reason };
      await source.finish(lease, { status, code: 1, isRetryable: false, ...said });
      ids.push(lease.id);
      wanted.set(`${status} ${word}`, (wanted.get(`${status} ${word}`) ?? 0) + 1);
    }

    expect(new Set(await counted(fixture))).toEqual(new Set([...wanted].map(([name, jobs]) => `${name} ${jobs}`)));
    for (const words of Object.values(END_REASONS)) {
      for (const word of words) expect(WORDS.map(([, , known]) => known)).toContain(word);
    }
    await expectNoFaults(fixture);

    await expectDeletable(fixture, ids.slice(0, 5));
    await fixture.maintain({ maxAgeSeconds: 0 });
    expect(await counted(fixture)).toEqual([]);
    await expectNoFaults(fixture);
  });

  test("have a row for each state and word, even of none, and only the rest without a word", async () => {
    const fixture = await startStore({ shards });
    const rows = await fixture.store.jobs.count();

    expect(rows).toEqual(JOB_STATES.flatMap((state) => wordsOf(state).map((reason) => ({ state, reason, jobs: 0 }))));
  });
});

test("A count by reason that went wrong is put right once nothing is left", async () => {
  const fixture = await startStore();
  await fixture.client.hset(fixture.keys.of(0, "bytes"), "~cancelled:revoked", 7);
  const { id } = await fixture.admit();
  await fixture.store.jobs.cancel(id, {}, "cancelled by alice");
  expect(await counted(fixture)).toContain("cancelled revoked 7");

  await fixture.maintain({ maxAgeSeconds: 0 });

  expect(await counted(fixture)).toEqual([]);
});

test("A count by reason that is no number fails the look, and is not shown as one", async () => {
  const fixture = await startStore();
  await fixture.client.hset(fixture.keys.of(0, "bytes"), "~failed:lost", "many");

  await expect(fixture.store.jobs.count()).rejects.toThrow("a number");
});
